"""The command as users meet it: results on stdout, everything else on stderr, one message for a mistake."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from kit.cli.main import PANELS, VERBS, app
from kit.storage.workspace import Workspace


@pytest.fixture
def home(trained, tmp_path, monkeypatch) -> Workspace:
    """A copy of the trained workspace, and the current folder."""
    shutil.copytree(trained.root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Workspace.open(tmp_path / "copy")


def kit(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def kit_json(*arguments, code=0) -> dict:
    return json.loads(kit(*arguments, "--json", code=code).stdout)


def test_help_lists_every_verb():
    text = kit("--help").stdout
    for verb in VERBS:
        assert verb in text
    for panel in PANELS:
        assert panel in text


def test_version():
    assert kit("--version").stdout.startswith("kit 0.")


def test_init_says_what_it_inferred_from_what(home):
    text = kit("init", "tiny", "--name", "again").stdout
    assert "class_folders" in text
    assert "one class per folder, in natural order" in text
    assert "configs/again.yaml written" in text
    assert "exists already, unchanged" in kit("init", "tiny", "--name", "again").stdout
    found = kit_json("init", "tiny", "--name", "again")
    assert found["config"] == "configs/again.yaml"
    assert all({"key", "value", "because"} == set(f) for f in found["findings"])


def test_inspect(home):
    assert "smallest class" in kit("inspect", "configs/a.yaml").stdout
    found = kit_json("inspect", "configs/a.yaml")
    assert (found["images"], found["unreadable"]) == (38, [])
    assert set(found["exact_duplicates"]) == {"within_class", "across_classes", "train_test", "test_test"}
    assert "data:image/jpeg;base64" in (home.root / found["page"]).read_text()


def test_folds(home):
    assert "folds/tiny.csv exists already, unchanged" in kit("folds", "configs/a.yaml").stdout
    found = kit_json("folds", "configs/a.yaml")
    assert (found["file"], found["count"], found["rows"]) == ("folds/tiny.csv", 2, 30)
    assert found["largest_deviation"] == 0
    refused = kit_json("folds", "configs/a.yaml", "--set", "folds.seed=1", code=1)["error"]
    assert refused["code"] == "folds_differ"
    assert "written" in kit("folds", "configs/a.yaml", "--set", "folds.seed=1", "--force").stdout


def test_train_and_predict_what_is_done_already(home):
    result = kit("train", "configs/a.yaml")
    assert "tiny/a: 2 of 2 folds trained" in result.stdout
    assert "fold 0 is already trained" in result.stderr
    assert len(kit_json("train", "configs/a.yaml")["folds"]) == 2
    assert "predicted already" in kit("predict", "a").stdout
    found = kit_json("predict", "tiny/a", "--tta", "identity", "--tta", "vflip")
    assert found["tta"] == ["identity", "vflip"]
    assert {"experiment", "metric", "cv", "folds"} <= set(found)


def test_evaluate_blend_and_leaderboard(home):
    assert "predicted" in kit("evaluate", "a").stdout or "precision" in kit("evaluate", "a").stdout
    assert "nested" not in kit_json("evaluate", "a")
    blended = kit_json("blend", "a", "b", "--name", "both")
    assert blended["nested"] == blended["cv"]
    assert "tiny/both" in kit("blend", "a", "b", "--name", "both").stdout
    table = kit("leaderboard").stdout
    entries = kit_json("leaderboard")["entries"]
    assert {e["name"] for e in entries} == {"a", "b", "both"}
    assert [e["cv"] for e in entries] == sorted((e["cv"] for e in entries), reverse=True)
    assert all(e["name"] in table for e in entries)


def test_a_blend_says_what_it_is_worth_and_what_to_submit(home):
    text = kit("blend", "a", "b", "--method", "hill_climb", "--option", "bags=2", "--name", "climbed").stdout
    for word in (
        "nested",
        "fitted",
        "best member",
        "loss without it",
        "different labels",
        "Next: kit submit tiny/",
    ):
        assert word in text, word
    worth = kit_json("blend", "a", "b", "--method", "weights", "--name", "weighed")["worth"]
    assert {"nested", "fitted", "best", "gain", "low", "high", "members", "pairs", "beats_best"} <= set(worth)
    assert "there is no blend method 'maen'" in kit("blend", "a", "b", "--method", "maen", code=1).stderr
    assert (
        "there is no option 'bag'"
        in kit("blend", "a", "b", "--method", "hill_climb", "--option", "bag=2", code=1).stderr
    )


def test_other_peoples_predictions_join(home):
    for side in ("oof", "test"):
        frame = pd.read_parquet(home.run("tiny", "b").path / f"{side}.parquet")
        frame.to_csv(home.root / f"theirs-{side}.csv", index=False)
    files = ["--oof", "theirs-oof.csv", "--test", "theirs-test.csv"]
    found = kit_json("blend", "a", *files, "--name", "joined")
    assert [m["label"] for m in found["worth"]["members"]] == ["theirs-oof", "tiny/a"]
    assert "have 1 and 2 files" in kit("blend", "a", *files, "--test", "x.csv", code=1).stderr


def test_decisions_are_asked_for_by_name_or_with_options(home):
    found = kit_json("evaluate", "a", "--decide", "temperature", "--decide", "prior")
    assert [d["steps"] for d in found["decisions"]] == [["temperature", "prior"]]
    assert "divided by class frequency" in kit("evaluate", "a").stdout
    assert kit_json("submit", "a")["cv"] == found["cv"]
    assert kit_json("evaluate", "a", "--decide", "none")["decisions"] == []
    assert "did you mean" in kit("evaluate", "a", "--decide", "priors", code=1).stderr.lower()
    assert "--decide NAME" in kit("evaluate", "a", "--decide", "[", code=1).stderr


def test_views_are_measured(home):
    text = kit("evaluate", "a", "--tta-report").stdout
    for word in ("gain with identity", "reading the images takes", "Fastest within noise of the best"):
        assert word in text, word
    found = kit_json("evaluate", "a", "--tta-report")
    assert {"views", "path", "best", "cheapest", "nested", "configured"} <= set(found)


def test_leaderboard_of_nothing(workspace):
    assert "No run has a score yet" in kit("leaderboard").stdout


def test_submit_and_check(home):
    found = kit_json("submit", "a")
    assert (found["file"], found["rows"], found["problems"]) == ("submissions/tiny/a.csv", 8, [])
    assert found["mirror"] == found["cv"]
    assert "read back, score" in kit("submit", "a").stdout
    assert "ready to submit" in kit("check", found["file"], "configs/a.yaml").stdout
    sample = "data/tiny/sample_submission.csv"
    assert kit_json("check", found["file"], "--sample", sample) == {"ok": True, "problems": []}


def test_check_says_everything_at_once_and_exits_1(home):
    (home.root / "bad.csv").write_text("id,Label\n0.png,x\n")
    result = kit("check", "bad.csv", "configs/a.yaml", code=1)
    for word in ("header_name", "missing_ids", "unknown_label", "do not submit it"):
        assert word in result.stdout
    found = kit_json("check", "bad.csv", "configs/a.yaml", code=1)
    assert not found["ok"]
    assert {p["code"] for p in found["problems"]} == {"header_name", "missing_ids", "unknown_label"}
    assert "a CONFIG or --sample" in kit("check", "bad.csv", code=1).stderr


def test_run(home):
    result = kit("run", "configs/a.yaml")
    assert "submissions/tiny/a.csv  checked" in result.stdout
    assert kit_json("run", "configs/a.yaml")["submission"] == "submissions/tiny/a.csv"


def test_a_mistake_is_one_message_on_stderr_without_traceback(home):
    result = kit("train", "configs/a.yaml", "--set", "train.lrr=1", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("kit: configs/a.yaml: train.lrr: is not a key")
    assert "Traceback" not in result.stderr


def test_a_mistake_in_json_has_the_four_keys(home):
    error = kit_json("evaluate", "nothing", code=1)["error"]
    assert set(error) == {"code", "where", "problem", "rule", "next"}


def test_debug_shows_the_traceback(home):
    result = CliRunner().invoke(app, ["--debug", "evaluate", "nothing"])
    assert type(result.exception).__name__ == "KitError"


def test_usage_errors_exit_2(home):
    assert "Missing argument" in kit("train", code=2).stderr
    assert "No such option" in kit("train", "configs/a.yaml", "--nope", code=2).stderr


def test_a_reader_that_leaves_is_no_error_to_tell(home):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "kit", "leaderboard", "--csv"]
    left = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (left.returncode, left.stderr) == (1, b"")


LEFT = """
import atexit, sys, torch
from kit.cli.main import main

class Global:
    def __del__(self):
        print("taken apart")

def put_away(where):
    sys.stdout = open(where, "w") if where else sys.stdout
    print("put away")

kept, (_, where, *arguments) = Global(), sys.argv
atexit.register(put_away, where)
sys.argv = ["kit", *arguments]
main()
"""


def left(*arguments, late_words_to=""):
    """Return what became of a command after which something is still to be said."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", LEFT, late_words_to, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=buffered)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, "kit 0."),
        (["evaluate", "nothing"], 1, "no such experiment"),
        (["x"], 2, "Usage: kit"),
    ],
)
def test_a_command_ends_with_all_said_and_put_away_but_torch_is_not_taken_apart(home, arguments, code, said):
    done = left(*arguments)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert done.stdout.endswith("put away\n")


def test_what_could_not_be_said_at_the_end_is_an_error():
    done = left("--version", late_words_to="/dev/full")
    assert done.returncode != 0
    assert "No space left" in done.stderr


def test_what_the_system_refuses_is_one_message(home):
    shutil.rmtree(home.root / "submissions")
    (home.root / "submissions").write_text("a file in the way")
    result = kit("submit", "a", code=1)
    assert "not a directory" in result.stderr
    assert "Traceback" not in result.stderr
