"""Artifacts edited by hand are one message and never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kit import pipeline
from kit.errors import KitError
from kit.storage.provenance import KEY
from kit.storage.workspace import Workspace
from tests.conftest import run_kit

ARTIFACTS = {
    "blend": "runs/tiny/both/blend.json",
    "training data": "runs/tiny/a/training_data.json",
    "fold": "runs/tiny/a/fold-0/done.json",
    "scores": "runs/tiny/a/metrics.json",
    "postprocessing": "runs/tiny/a/decision.json",
    "submission": "submissions/tiny/a.json",
}
CODES = {"artifact_changed", "provenance_missing", "file_damaged", "artifact_stale", "artifact_misplaced"}


@pytest.fixture(scope="module")
def finished(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a blend; tests change one file and restore it."""
    root = tmp_path_factory.mktemp("edited") / "w"
    shutil.copytree(trained.root, root)
    pipeline.blend(["tiny/a", "tiny/b"], name="both", workspace=root)
    return Workspace.open(root)


def use(workspace: Workspace) -> list[KitError]:
    """Run every verb that reads artifacts, and return the errors; another exception fails the test."""
    root, errors = workspace.root, []
    for links in (run.links for run in pipeline.status(workspace=root)):
        assert json.dumps([link.as_dict() for link in links])
        errors += [link.problem for link in links if link.problem]
    errors += pipeline.leaderboard(workspace=root, advice=False).problems
    for verb in (
        lambda: pipeline.submit("tiny/both", workspace=root),
        lambda: pipeline.submit("tiny/a", workspace=root),
        lambda: pipeline.resubmit(root / "submissions/tiny/a.json", workspace=root),
        lambda: pipeline.evaluate("tiny/a", workspace=root),
    ):
        try:
            verb()
        except KitError as error:
            errors.append(error)
    return errors


def use_edited(workspace: Workspace, path: Path, values: object) -> set[str]:
    """Return the codes of the errors with this content of a file; restore the workspace afterwards."""
    kept = workspace.root.with_name("kept")
    shutil.copytree(workspace.root, kept)
    try:
        path.write_text(json.dumps(values), encoding="utf-8")
        return {error.code for error in use(workspace)}
    finally:
        shutil.rmtree(workspace.root)
        kept.rename(workspace.root)


@pytest.mark.slow
@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_an_artifact_without_its_values_is_reported(finished, artifact):
    path = finished.root / ARTIFACTS[artifact]
    values = json.loads(path.read_text())
    without = {key: value for key, value in values.items() if key != KEY}
    for broken in (None, [], without, values | {KEY: None}, values | {"\ud800": 1}, values | {"new": 1}):
        assert use_edited(finished, path, broken) & CODES


@pytest.mark.slow
@pytest.mark.parametrize("identity", [{"kind": None}, {"kind": []}, {"run": None}, {"other": 1}], ids=str)
def test_an_edited_identity_is_reported(finished, identity):
    path = finished.root / ARTIFACTS["training data"]
    values = json.loads(path.read_text())
    own = values[KEY]["identity"] | identity
    assert use_edited(finished, path, values | {KEY: values[KEY] | {"identity": own}}) & CODES


@pytest.mark.slow
@pytest.mark.parametrize("artifact", ["training data", "fold"])
def test_removed_inputs_are_reported(finished, artifact):
    path = finished.root / ARTIFACTS[artifact]
    values = json.loads(path.read_text())
    assert use_edited(finished, path, values | {KEY: values[KEY] | {"inputs": {}}}) & CODES


def test_status_prints_damaged_artifacts_as_json(trained_copy):
    (trained_copy.root / ARTIFACTS["scores"]).write_text("null")
    output = run_kit("status", "a", "--json", "--workspace", trained_copy.root).stdout
    states = {link["artifact"]: link["state"] for link in json.loads(output)["runs"][0]["artifacts"]}
    assert states["scores"] == "damaged"
