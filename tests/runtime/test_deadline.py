import os
import signal
import subprocess
import sys

import pytest

from kit.errors import Interrupted
from kit.runtime.deadline import Deadline, duration, parse_time_limit
from tests.conftest import raises_kit_error


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8h30m", 30600), ("90m", 5400), ("45s", 45), ("1d", 86400), ("1.5h", 5400), ("1h 5m", 3900)],
)
def test_durations_are_parsed(text, seconds):
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize("text", ["8", "8h30", "h", "", "-5m", "8 hours", "5m!"])
def test_other_texts_are_refused(text):
    with raises_kit_error("time_limit_invalid", where=f"--time-limit {text}"):
        parse_time_limit(text)


def test_no_time_is_refused():
    with raises_kit_error("time_limit_invalid", where="--time-limit 0s"):
        parse_time_limit("0s")


def test_work_begins_only_where_there_is_time_for_it():
    unlimited, short = Deadline(), Deadline(60)
    unlimited.begin("a year", 3e7)
    short.begin("half a minute", 30)
    with pytest.raises(Interrupted, match=r"two minutes.*\([01]:\d\d left\)"):
        short.begin("two minutes", 120)


def test_durations_are_shown():
    assert [duration(s) for s in (0.4, 59.6, 3725, 360000)] == ["0:00", "1:00", "1:02:05", "100:00:00"]


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_becomes_a_reason_to_stop_and_the_second_stops_at_once(number, name):
    deadline = Deadline()
    before = signal.getsignal(number)
    with deadline.deferring_signals():
        os.kill(os.getpid(), number)
        assert deadline.reason_to_stop(0) == name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_in_other_threads_signals_keep_their_handlers():
    code = (
        "import threading, kit.runtime.deadline as a, signal\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "def work():\n"
        "    with a.Deadline().deferring_signals():\n"
        "        assert signal.getsignal(signal.SIGTERM) is before; print('left')\n"
        "t = threading.Thread(target=work); t.start(); t.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "left", done.stderr
