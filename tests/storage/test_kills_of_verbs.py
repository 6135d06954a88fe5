"""Stopped before any change of a file, blend, submit and predict leave whole files, and end as if uninterrupted."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit import pipeline
from kit.cli.main import INTERRUPTED
from kit.predictions import prediction_digests
from kit.storage.workspace import Workspace

DRIVER = Path(__file__).with_name("kill_driver.py")
REPOSITORY = Path(__file__).parents[2]
STOPS = 20  # of each verb
EXIT_CODES = {"SIGKILL": -signal.SIGKILL, "SIGTERM": INTERRUPTED}


def blend(workspace: Workspace) -> object:
    return pipeline.blend(["tiny/a", "tiny/b"], name="a-and-b", workspace=workspace)


def submit(workspace: Workspace) -> object:
    return pipeline.submit("tiny/a", workspace=workspace)


def predict(workspace: Workspace) -> object:
    views = [pipeline_view("identity"), pipeline_view("hflip")]
    return pipeline.predict("tiny/a", tta=views, workspace=workspace)


def pipeline_view(name: str) -> object:
    from kit.config import Component

    return Component(name=name)


VERBS = {
    "blend": (["blend", "a", "b", "--name", "a-and-b"], blend, "a-and-b"),
    "submit": (["submit", "a"], submit, "a"),
    "predict": (["predict", "a", "--tta", "identity", "--tta", "hflip"], predict, "a"),
}


def outcome(workspace: Workspace, name: str) -> tuple[object, bytes]:
    """Return the digests of a run's predictions and the bytes of its submission."""
    file = workspace.submission("tiny", name).path
    return prediction_digests(workspace.run("tiny", name)), file.read_bytes() if file.exists() else b""


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_stopped_before_any_change_of_a_file_ends_as_if_uninterrupted(trained, tmp_path, verb):
    words, again, name = VERBS[verb]
    template = tmp_path / "template"
    shutil.copytree(trained.root, template)
    if verb == "submit":
        pipeline.record("tiny/a", public=0.5, workspace=template)
    driver = [sys.executable, str(DRIVER), str(template), str(tmp_path / "stopped"), str(STOPS), *words]
    done = subprocess.run(driver, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    first, *stops = done.stdout.splitlines()
    assert first == "whole 0 0"
    assert len(stops) == STOPS
    expected = outcome(Workspace.open(tmp_path / "stopped" / "whole"), name)
    for number, stop in enumerate(stops):
        sent, _, code = stop.split()
        assert int(code) == EXIT_CODES[sent], stop
        stopped = Workspace.open(tmp_path / "stopped" / str(number))
        assert_whole(stopped)
        again(stopped)
        assert outcome(stopped, name) == expected, (stop, stopped.root)


def assert_whole(workspace: Workspace) -> None:
    """Check that no file is damaged or half written."""
    for run in pipeline.status(workspace=workspace):
        assert [link for link in run.links if link.state == "damaged"] == []
    for path in workspace.root.glob("*/tiny/**/*.json"):
        json.loads(path.read_text())


def test_a_second_process_that_writes_the_same_blend_or_submission_is_told(trained_copy):
    from kit.storage.locks import exclusive_lock
    from tests.conftest import raises_kit_error

    for lock, write in (
        (trained_copy.run("tiny", "a-and-b").blend_lock, blend),
        (trained_copy.run("tiny", "a").lock("submit"), submit),
    ):
        with exclusive_lock(lock, "writing"), raises_kit_error("locked"):
            write(trained_copy)
        write(trained_copy)
