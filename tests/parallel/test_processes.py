"""Folds trained at the same time equal folds trained one after the other; failures cost one fold's progress."""

import os
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kit.parallel.devices import find_devices
from kit.parallel.work import Sender
from kit.runtime.cores import usable_cores
from tests.conftest import kit, raises_kit_error, wait_for, write_config

NEEDS_CORES = pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")


def start(workspace, config, *arguments, cores=2):
    """Start a kit command that may use some cores only, with a thread for each."""
    chosen = usable_cores()[:cores]
    before = usable_cores()
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    os.sched_setaffinity(0, chosen)
    try:
        return kit(workspace, *arguments[:1], str(config), *arguments[1:], env=environment)
    finally:
        os.sched_setaffinity(0, before)


def finished(process, status=0):
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, err
    return out, err


def children(process):
    """Return the process ids of the running children that train."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@NEEDS_CORES
def test_models_equal_those_of_one_process_to_the_bit(tiny):
    one, two = (write_config(tiny, name=name, train__epochs=3) for name in ("one", "two"))
    finished(start(tiny, one, "train", cores=1))
    _, err = finished(start(tiny, two, "train", "--devices", "cpu:2"))
    assert "CPU part 0, CPU part 1" in " ".join(err.split())
    for k in range(2):
        alone, together = (load_file(tiny.run("tiny", name).fold(k).model) for name in ("one", "two"))
        assert alone.keys() == together.keys()
        assert all(alone[name].equal(together[name]) for name in alone)


@NEEDS_CORES
@pytest.mark.slow
def test_the_other_device_finishes_what_a_failed_one_has_begun(tiny):
    process = start(tiny, write_config(tiny, train__epochs=60), "train", "--devices", "cpu:2")
    run = tiny.run("tiny", "tiny-cnn")
    wait_for(lambda: run.fold(1).history.exists() and len(children(process)) == 2, 120)
    os.kill(children(process)[0], signal.SIGKILL)
    _, err = finished(process)
    assert "failed in fold" in err
    assert all(run.fold(k).done.exists() for k in range(2))


@NEEDS_CORES
@pytest.mark.slow
def test_ctrl_c_stops_all_processes_and_the_same_command_resumes(tiny):
    config = write_config(tiny, train__epochs=60)
    process = start(tiny, config, "train", "--devices", "cpu:2")
    run = tiny.run("tiny", "tiny-cnn")
    wait_for(lambda: all(run.fold(k).history.exists() for k in range(2)), 120)
    started = children(process)
    process.send_signal(signal.SIGINT)
    finished(process, 130)
    assert not any(map(is_alive, started))
    _, err = finished(start(tiny, config, "train", "--devices", "cpu:2"))
    assert "resumes after epoch" in err


@NEEDS_CORES
@pytest.mark.slow
def test_no_process_outlives_a_killed_command(tiny):
    process = start(tiny, write_config(tiny, train__epochs=500), "train", "--devices", "cpu:2")
    wait_for(lambda: len(children(process)) == 2, 120)
    started = children(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(is_alive, started)), 30)
    assert not any(map(is_alive, started))


@NEEDS_CORES
@pytest.mark.slow
def test_a_mistake_in_one_fold_stops_all_with_its_message(tiny):
    changes = {"train__optimizer": "sgd", "train__lr": 1e30, "train__schedule": {"name": "constant"}}
    process = start(tiny, write_config(tiny, **changes), "train", "--devices", "cpu:2", "--json")
    out, _ = finished(process, 1)
    assert '"loss_not_finite"' in out


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("cpu:0", "devices_invalid"),
        ("cpu:9999", "devices_invalid"),
        ("gpu", "devices_invalid"),
        ("0;1", "devices_invalid"),
        ("99", "devices_missing"),
    ],
)
def test_devices_that_do_not_exist_are_refused(wanted, code):
    with raises_kit_error(code):
        find_devices(wanted)


def test_parts_of_the_processor_share_no_core_and_leave_none_out():
    count = len(usable_cores())
    parts = find_devices(f"cpu:{count}")
    assert sorted(core for part in parts for core in part.cores) == usable_cores()


def test_states_of_folds_trained_at_the_same_time_are_sent_as_lines():
    sent = []
    Sender(sent.append).update("fold 1 epoch 2/3", "0:05 left")
    assert sent == [("note", ("fold 1 epoch 2/3  0:05 left",))]
