import os
import subprocess
import sys

import pytest

from kit.storage.locks import exclusive_lock
from tests.conftest import raises_kit_error

HOLD = """
import os, sys, time
from pathlib import Path
from kit.storage.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "training fold 0"):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "fold-0.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_a_held_lock_is_an_error_with_the_holder_and_the_next_step(tmp_path, holder):
    with raises_kit_error("locked") as caught, exclusive_lock(tmp_path / "fold-0.lock", "training fold 0"):
        pass
    assert "training fold 0" in caught.value.problem
    assert f"(process {holder.pid} on " in caught.value.problem


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path, holder):
    holder.kill()
    holder.wait()
    with exclusive_lock(tmp_path / "fold-0.lock", "training fold 0"):
        assert f"process {os.getpid()} on" in (tmp_path / "fold-0.holder").read_text()


def test_locks_of_other_work_and_one_after_the_other_are_no_matter(tmp_path, holder):
    for _ in range(2):
        with exclusive_lock(tmp_path / "fold-1.lock", "training fold 1"):
            assert (tmp_path / "fold-1.holder").exists()
        assert not (tmp_path / "fold-1.holder").exists()
