"""Finding the device changes nothing; a command sets up its process once."""

import subprocess
import sys

import pytest


def outcome(program: str) -> tuple[list[str], str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split(), done.stderr


def test_finding_the_device_does_not_change_the_process():
    program = (
        "import gc; before = gc.get_freeze_count(); import kit.engine.device.device as device;"
        "device.find_device(); print(gc.get_freeze_count() - before)"
    )
    assert outcome(program)[0] == ["0"]


def test_a_library_user_keeps_the_settings_of_the_process():
    program = (
        "import gc; before = gc.get_freeze_count(); import kit.engine.device.device as device;"
        "device.prepare_process(); print(gc.get_freeze_count() - before)"
    )
    assert outcome(program)[0] == ["0"]


@pytest.mark.slow
def test_a_command_freezes_imported_objects_and_libraries_report_no_leak():
    program = (
        "import gc, kit.engine.models.build, kit.engine.device.device as device, kit.runtime.process as process;"
        "process.claim_process(); device.prepare_process();"
        "print(gc.get_freeze_count(), len(gc.get_objects()))"
    )
    (frozen, tracked), stderr = outcome(program)
    assert int(tracked) < int(frozen) / 100
    assert "leaked" not in stderr
