"""Every verb ends with the next step: a complete command, with real names, that works as it is."""

import os
import shlex

import pytest

from kit.cli.main import PANELS
from kit.storage.workspace import Workspace
from tests.conftest import run_kit

# A list has no next step; tests/test_quickstart.py and tests/platforms/test_kaggle.py run the others.
LISTS = {"components", "quickstart", "kaggle", "app"}
STEPS = {
    "init tiny --name again": "run configs/again.yaml",
    "inspect configs/a.yaml": "folds configs/a.yaml",
    "folds configs/a.yaml --set folds.count=2": "train configs/a.yaml --set folds.count=2",
    "correct configs/a.yaml 2/0.png red": "train configs/a.yaml --set competition.corrections=",
    "augment configs/a.yaml --set image.size=16": "train configs/a.yaml --set image.size=16",
    "bench configs/a.yaml --steps 2 --no-settings": "train configs/a.yaml",
    "probe configs/a.yaml --models simple_cnn": "train configs/a.yaml",
    "train configs/a.yaml": "predict tiny/a",
    "train configs/a.yaml --dry-run": "train configs/a.yaml",
    "predict a": "submit tiny/a",
    "predict a --images data/tiny/test --out new.csv": "bundle tiny/a --out bundle",
    "bundle a --out bundle": "status tiny/a",
    "evaluate a": "submit tiny/a",
    "evaluate a b": "blend tiny/",
    "explain a --class red": "evaluate tiny/a",
    "evaluate a --tta-report": "submit tiny/a",
    "blend a b": "submit tiny/",
    "submit a": "leaderboard record submissions/tiny/a.csv --public SCORE",
    "run configs/a.yaml": "leaderboard record submissions/tiny/a.csv --public SCORE",
    "auto configs/a.yaml --time-limit 9m --models simple_cnn --dry-run": (
        "auto configs/a.yaml --time-limit 9m --models simple_cnn"
    ),
    "sweep configs/a.yaml --set train.epochs=1 --grid train.lr=0.01,0.02": "submit tiny/a-s0",
    "check submissions/tiny/a.csv configs/a.yaml": "leaderboard record submissions/tiny/a.csv --public SCORE",
    "leaderboard": "blend tiny/",
    "leaderboard record tiny/a --public 0.5": "leaderboard --competition tiny",
    "leaderboard --kind blend": "leaderboard",
    "status": "leaderboard",
    "status a": "leaderboard",
    "clean --dry-run tiny": "clean tiny",
    "clean": "status",
}


@pytest.fixture
def here(trained_copy, monkeypatch) -> Workspace:
    """A copy of the trained workspace, which is the current folder."""
    monkeypatch.chdir(trained_copy.root)
    return trained_copy


def last_line(*arguments, code=0) -> str:
    return run_kit(*arguments, code=code).stdout.splitlines()[-1]


@pytest.mark.parametrize("command", STEPS)
def test_a_verb_ends_with_the_next_step(here, command):
    line = last_line(*shlex.split(command))
    assert line.startswith(f"Next: kit {STEPS[command]}")


def test_check_names_itself_after_a_bad_file_and_the_place_of_a_good_one(here):
    (here.root / "bad.csv").write_text("id,Label\n0.png,x\n")
    judge = ["configs/a.yaml", "--set", "image.size=16"]
    assert last_line("check", "bad.csv", *judge, code=1) == "Next: kit check bad.csv " + " ".join(judge)
    (here.root / "good.csv").write_bytes(here.submission("tiny", "a").path.read_bytes())
    assert last_line("check", "good.csv", *judge).startswith(
        "Next: kit leaderboard record submissions/tiny/good.csv"
    )


def test_every_verb_is_tested():
    verbs = {verb for names in PANELS.values() for verb in names}
    assert {command.split()[0] for command in STEPS} == verbs - LISTS


def test_the_next_step_names_the_workspace_and_the_data_if_the_current_folder_is_another(
    trained_copy, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = trained_copy.root / "data"
    moved = tmp_path / "moved data"
    data.rename(moved)
    config, folders = trained_copy.config("a"), ("--workspace", trained_copy.root, "--data-root", moved)
    step = shlex.split(last_line("train", config, *folders))
    assert step == ["Next:", "kit", "predict", "tiny/a", *map(str, folders)]
    for verb in ("predict", "submit"):
        assert step[2] == verb
        step = shlex.split(last_line(*step[2:]))
    assert step[2:] == [
        "leaderboard",
        "record",
        "submissions/tiny/a.csv",
        "--public",
        "SCORE",
        *map(str, folders[:2]),
    ]


def test_the_next_step_is_one_line_in_a_narrow_terminal(here, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "40")
    overrides = [part for seed in range(5) for part in ("--set", f"folds.seed={seed}")]
    line = last_line("train", "configs/a.yaml", "--dry-run", *overrides)
    assert line == shlex.join(["Next:", "kit", "train", "configs/a.yaml", *overrides])


def test_json_output_has_no_next_step(here):
    assert "Next:" not in run_kit("predict", "a", "--json").stdout
