"""SIGTERM ends every long command with exit code 130 and the command that resumes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit.storage.locks import waiting_lock
from kit.storage.workspace import SubmissionFile
from tests.conftest import kit, wait_for


def catches_sigterm(process) -> bool:
    """Return whether a process has a handler of SIGTERM, as Linux tells."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


def assert_stops(process, *command):
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert f"Resume with: kit {' '.join(command)} --workspace" in " ".join(stderr.split())


@pytest.mark.parametrize("command", [("evaluate", "tiny/a"), ("blend", "tiny/a", "tiny/b")])
def test_sigterm_stops_a_command_and_the_message_has_the_resume_command(trained_copy, command):
    process = kit(trained_copy, *command)
    wait_for(lambda: catches_sigterm(process))
    assert_stops(process, *command)


def test_sigterm_stops_submit_and_leaves_no_draft(trained_copy):
    file = SubmissionFile(trained_copy.submission("tiny", "a").path)
    with waiting_lock(file.lock):
        process = kit(trained_copy, "submit", "tiny/a")
        wait_for(lambda: catches_sigterm(process))
        assert_stops(process, "submit", "tiny/a")
    assert not list(file.path.parent.glob(".*.tmp"))


def test_sigterm_stops_predict_while_it_predicts(trained_copy):
    run = trained_copy.run("tiny", "a")
    process = kit(trained_copy, "predict", "tiny/a", "--tta", "{name: random, times: 60}")
    wait_for(run.lock("predict").with_suffix(".holder").exists)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Resume with: kit predict tiny/a --tta" in " ".join(stderr.split())
    assert not run.lock("predict").with_suffix(".holder").exists()


DROPS_AN_INTERRUPT = """
import os, signal, threading
from kit.runtime.process import interrupt_on_sigterm

class Drops:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100_000):
            pass

if IGNORED:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell script
interrupt_on_sigterm()
Drops()
try:
    threading.Event().wait(60)
    print("waited")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_an_interrupt_that_a_callback_drops_is_sent_again(ignored):
    program = f"IGNORED = {ignored}\n{DROPS_AN_INTERRUPT}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90)
    assert (done.stdout.strip(), done.stderr) == ("interrupted", "")
