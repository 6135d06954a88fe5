"""The quickstart on the bundled digits competition, end to end."""

import json
from pathlib import Path

import pandas as pd
import pytest

from kit.competition.digits import write_digits
from kit.quickstart import EXPERIMENTS
from kit.storage.workspace import Workspace
from tests.conftest import raises_kit_error, run_kit

REPOSITORY = Path(__file__).parents[1]


def test_write_digits_writes_a_complete_competition_once(tmp_path):
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
def quickstarted(tmp_path_factory):
    """The JSON output, the workspace and the stderr of the first quickstart."""
    root = tmp_path_factory.mktemp("quickstart")
    result = run_kit("quickstart", "--json", "--workspace", root)
    return json.loads(result.stdout), Workspace.open(root), result.stderr


def test_the_quickstart_reaches_its_scores(quickstarted):
    values, _, _ = quickstarted
    assert values["blend"]["held_out"] >= 0.985
    assert values["blend"]["nested"] == values["blend"]["cv"]
    assert [e["name"] for e in values["experiments"]] == list(EXPERIMENTS)
    assert all(e["cv"] > 0.95 and e["held_out"] > 0.95 for e in values["experiments"])


def test_the_quickstart_prints_every_stage(quickstarted):
    _, _, stderr = quickstarted
    stages = [line.split()[0] for line in stderr.splitlines() if line and not line.startswith(" ")]
    assert stages == ["init", "inspect", "folds", "train", "predict", "train", "predict", "blend", "submit"]


def test_the_configs_and_folds_of_the_quickstart_are_committed(quickstarted):
    _, workspace, _ = quickstarted
    for name in ("digits", *(f"digits-{e}" for e in EXPERIMENTS)):
        committed = REPOSITORY / "configs" / f"{name}.yaml"
        assert workspace.config(name).read_text() == committed.read_text()
    assert workspace.folds("digits").read_bytes() == (REPOSITORY / "folds" / "digits.csv").read_bytes()


def test_a_second_quickstart_reports_finished_stages_and_gives_the_same_result(quickstarted):
    values, workspace, _ = quickstarted
    result = run_kit("quickstart", "--json", "--workspace", workspace.root)
    again = json.loads(result.stdout)
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in values.items() if k != "seconds"
    }
    for words in ("exists already", "is already trained", "predicted already"):
        assert words in result.stderr


def test_the_table_shows_held_out_scores_and_the_submission(quickstarted):
    _, workspace, _ = quickstarted
    result = run_kit("quickstart", "--workspace", workspace.root)
    assert "held-out accuracy" in result.stdout
    assert "submissions/digits/blend.csv  checked, ready to submit" in result.stdout
