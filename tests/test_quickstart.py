"""The bundled competition, end to end. Its time is measured by hand: no test here times anything."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from kit.cli.main import app
from kit.competition.digits import write_digits
from kit.quickstart import EXPERIMENTS
from kit.storage.workspace import Workspace
from tests.conftest import raises_kit_error

REPOSITORY = Path(__file__).parents[1]


def test_digits_are_a_whole_competition_and_written_once(tmp_path):
    folder = tmp_path / "digits"
    assert write_digits(folder)
    assert not write_digits(folder)
    train, solution, sample = (
        pd.read_csv(folder / f"{name}.csv", dtype=str) for name in ("train", "solution", "sample_submission")
    )
    assert len(train) + len(solution) == 1797
    assert sample["id"].tolist() == solution["id"].tolist()
    assert not set(train["id"]) & set(solution["id"])
    assert {p.stem for p in (folder / "test").iterdir()} == set(sample["id"])
    assert {p.stem for p in (folder / "train").iterdir()} == set(train["id"])
    assert set(sample["label"]) == {"0"}


def test_a_file_in_place_of_the_digits_folder_is_refused(tmp_path):
    (tmp_path / "digits").touch()
    with raises_kit_error("folder_exists"):
        write_digits(tmp_path / "digits")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The quickstart's own JSON and its workspace, after the first run."""
    root = tmp_path_factory.mktemp("quickstart")
    result = CliRunner().invoke(app, ["quickstart", "--json", "--workspace", str(root)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), Workspace.open(root), result.stderr


def test_it_reaches_its_score(started):
    values, _, _ = started
    assert values["blend"]["held_out"] >= 0.985
    assert values["blend"]["nested"] == values["blend"]["cv"]
    assert [e["name"] for e in values["experiments"]] == list(EXPERIMENTS)
    assert all(e["cv"] > 0.95 and e["held_out"] > 0.95 for e in values["experiments"])


def test_it_says_every_stage(started):
    _, _, stderr = started
    stages = [line.split()[0] for line in stderr.splitlines() if line and not line.startswith(" ")]
    assert stages == ["init", "inspect", "folds", "train", "predict", "train", "predict", "blend", "submit"]


def test_its_configs_and_folds_are_the_committed_ones(started):
    _, workspace, _ = started
    for name in ("digits", *(f"digits-{e}" for e in EXPERIMENTS)):
        committed = REPOSITORY / "configs" / f"{name}.yaml"
        assert workspace.config(name).read_text() == committed.read_text()
    assert workspace.folds("digits").read_bytes() == (REPOSITORY / "folds" / "digits.csv").read_bytes()


def test_a_second_quickstart_reports_finished_stages_and_gives_the_same_result(started):
    values, workspace, _ = started
    result = CliRunner().invoke(app, ["quickstart", "--json", "--workspace", str(workspace.root)])
    again = json.loads(result.stdout)
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in values.items() if k != "seconds"
    }
    for words in ("exists already", "is already trained", "predicted already"):
        assert words in result.stderr


def test_the_table_shows_both_scores(started):
    _, workspace, _ = started
    result = CliRunner().invoke(app, ["quickstart", "--workspace", str(workspace.root)])
    assert "held-out accuracy" in result.stdout
    assert "submissions/digits/blend.csv  checked, ready to submit" in result.stdout
