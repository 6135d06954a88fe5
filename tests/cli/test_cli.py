"""The command ``kit``: results on stdout, progress and errors on stderr, one message per error."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from kit.cli.main import PANELS, VERBS, app
from kit.storage.workspace import Workspace
from tests.conftest import run_kit, run_kit_json


@pytest.fixture
def cwd_workspace(trained_copy, monkeypatch) -> Workspace:
    """A copy of the trained workspace, which is the current folder."""
    monkeypatch.setenv(
        "COLUMNS", "200"
    )  # texts are on one line; tests/cli/test_width.py tests narrow terminals
    monkeypatch.chdir(trained_copy.root)
    return trained_copy


def test_help_lists_every_verb():
    text = run_kit("--help").stdout
    for verb in VERBS:
        assert verb in text
    for panel in PANELS:
        assert panel in text


def test_version_prints_the_version():
    assert run_kit("--version").stdout.startswith("kit 0.")


def test_init_prints_what_it_inferred_and_why(cwd_workspace):
    text = run_kit("init", "tiny", "--name", "again").stdout
    assert "class_folders" in text
    assert "one class per folder, in natural order" in text
    assert "configs/again.yaml written" in text
    assert "exists already, unchanged" in run_kit("init", "tiny", "--name", "again").stdout
    found = run_kit_json("init", "tiny", "--name", "again")
    assert found["config"] == "configs/again.yaml"
    assert all({"key", "value", "because"} == set(f) for f in found["findings"])


def test_init_prints_a_command_that_works_from_the_current_folder(trained_copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    data = trained_copy.root / "data" / "tiny"
    text = run_kit("init", data, "--name", "again", "--workspace", trained_copy.root).stdout
    program, verb, *arguments = text.rpartition("Next: ")[2].split()
    assert (program, verb) == ("kit", "run")
    run_kit("folds", *arguments)
    assert trained_copy.folds("again").exists()


def test_inspect_prints_the_audit_and_writes_a_page(cwd_workspace):
    assert "smallest class" in run_kit("inspect", "configs/a.yaml").stdout
    found = run_kit_json("inspect", "configs/a.yaml")
    assert (found["images"], found["unreadable"]) == (38, [])
    assert set(found["exact_duplicates"]) == {"within_class", "across_classes", "train_test", "test_test"}
    assert "data:image/jpeg;base64" in (cwd_workspace.root / found["page"]).read_text()


def test_folds_reports_the_file_and_refuses_other_settings(cwd_workspace):
    assert "folds/tiny.csv exists already, unchanged" in run_kit("folds", "configs/a.yaml").stdout
    found = run_kit_json("folds", "configs/a.yaml")
    assert (found["file"], found["count"], found["rows"]) == ("folds/tiny.csv", 2, 30)
    assert (found["largest_deviation"], found["invalid"]) == (0, [])
    refused = run_kit_json("folds", "configs/a.yaml", "--set", "folds.seed=1", code=1)["error"]
    assert refused["code"] == "folds_differ"
    forced = ["folds", "configs/a.yaml", "--set", "folds.seed=1", "--force"]
    run_kit("blend", "a", "b", "--name", "both")
    run_kit("blend", "both", "a", "--name", "top")
    lines = run_kit(*forced).stdout.splitlines()
    assert "folds/tiny.csv written" in "\n".join(lines)
    for name in ("a", "b"):
        assert f"kit train runs/tiny/{name}/config.yaml --fresh" in "\n".join(lines)
    for name in ("both", "top"):
        assert [line for line in lines if line.startswith(f"tiny/{name} ")]
    found = run_kit_json(*forced)
    assert found["invalid"] == ["tiny/a", "tiny/b"]
    assert found["invalid_blends"] == ["tiny/both", "tiny/top"]


def test_train_and_predict_report_finished_work(cwd_workspace):
    result = run_kit("train", "configs/a.yaml")
    assert "tiny/a: 2 of 2 folds trained" in result.stdout
    assert "fold 0 is already trained" in result.stderr
    assert len(run_kit_json("train", "configs/a.yaml")["folds"]) == 2
    assert "predicted already" in run_kit("predict", "a").stdout
    found = run_kit_json("predict", "tiny/a", "--tta", "identity", "--tta", "vflip")
    assert found["tta"] == ["identity", "vflip"]
    assert {"experiment", "metric", "cv", "folds"} <= set(found)


def test_evaluate_blend_and_leaderboard_print_scores(cwd_workspace):
    assert "predicted" in run_kit("evaluate", "a").stdout or "precision" in run_kit("evaluate", "a").stdout
    assert "nested" not in run_kit_json("evaluate", "a")
    blended = run_kit_json("blend", "a", "b", "--name", "both")
    assert blended["nested"] == blended["cv"]
    assert "tiny/both" in run_kit("blend", "a", "b", "--name", "both").stdout
    table = run_kit("leaderboard").stdout
    entries = run_kit_json("leaderboard")["entries"]
    assert {e["name"] for e in entries} == {"a", "b", "both"}
    assert [e["cv"] for e in entries] == sorted((e["cv"] for e in entries), reverse=True)
    assert all(e["name"] in table for e in entries)


def test_blend_prints_its_evaluation_and_the_next_command(cwd_workspace):
    text = run_kit(
        "blend", "a", "b", "--method", "hill_climb", "--option", "bags=2", "--name", "climbed"
    ).stdout
    for word in (
        "nested",
        "fitted",
        "best member",
        "loss without it",
        "different labels",
        "Next: kit submit tiny/",
    ):
        assert word in text, word
    evaluation = run_kit_json("blend", "a", "b", "--method", "weights", "--name", "weighed")["worth"]
    assert {"nested", "fitted", "best", "gain", "low", "high", "members", "pairs", "beats_best"} <= set(
        evaluation
    )
    assert "there is no blend method 'maen'" in run_kit("blend", "a", "b", "--method", "maen", code=1).stderr
    assert (
        "there is no option 'bag'"
        in run_kit("blend", "a", "b", "--method", "hill_climb", "--option", "bag=2", code=1).stderr
    )


def test_blend_takes_prediction_files_of_other_tools(cwd_workspace):
    for side in ("oof", "test"):
        frame = pd.read_parquet(cwd_workspace.run("tiny", "b").path / f"{side}.parquet")
        frame.to_csv(cwd_workspace.root / f"foreign-{side}.csv", index=False)
    files = ["--oof", "foreign-oof.csv", "--test", "foreign-test.csv"]
    found = run_kit_json("blend", "a", *files, "--name", "joined")
    assert [m["label"] for m in found["worth"]["members"]] == ["foreign-oof", "tiny/a"]
    assert "have 1 and 2 files" in run_kit("blend", "a", *files, "--test", "x.csv", code=1).stderr


def test_evaluate_takes_postprocessing_steps_by_name(cwd_workspace):
    found = run_kit_json("evaluate", "a", "--decide", "temperature", "--decide", "prior")
    assert [d["steps"] for d in found["decisions"]] == [["temperature", "prior"]]
    assert "divided by class frequency" in run_kit("evaluate", "a").stdout
    assert run_kit_json("submit", "a")["cv"] == found["cv"]
    assert run_kit_json("evaluate", "a", "--decide", "none")["decisions"] == []
    assert "did you mean" in run_kit("evaluate", "a", "--decide", "priors", code=1).stderr.lower()
    assert "--decide NAME" in run_kit("evaluate", "a", "--decide", "[", code=1).stderr


def test_evaluate_reports_tta_views(cwd_workspace):
    text = run_kit("evaluate", "a", "--tta-report").stdout
    for word in ("gain with identity", "reading the images takes", "Fastest within noise of the best"):
        assert word in text, word
    found = run_kit_json("evaluate", "a", "--tta-report")
    assert {"views", "path", "best", "cheapest", "nested", "configured"} <= set(found)


def test_leaderboard_without_runs_says_so(workspace):
    assert "No run has a score yet" in run_kit("leaderboard").stdout


def test_submit_writes_a_file_that_check_accepts(cwd_workspace):
    found = run_kit_json("submit", "a")
    assert (found["file"], found["rows"], found["problems"]) == ("submissions/tiny/a.csv", 8, [])
    assert found["mirror"] == found["cv"]
    assert "read back, score" in run_kit("submit", "a").stdout
    assert "ready to submit" in run_kit("check", found["file"], "configs/a.yaml").stdout
    sample = "data/tiny/sample_submission.csv"
    assert run_kit_json("check", found["file"], "--sample", sample) == {"ok": True, "problems": []}


def test_check_reports_all_problems_and_exits_with_1(cwd_workspace):
    (cwd_workspace.root / "bad.csv").write_text("id,Label\n0.png,x\n")
    result = run_kit("check", "bad.csv", "configs/a.yaml", code=1)
    for word in ("header_name", "missing_ids", "unknown_label", "do not submit it"):
        assert word in result.stdout
    found = run_kit_json("check", "bad.csv", "configs/a.yaml", code=1)
    assert not found["ok"]
    assert {p["code"] for p in found["problems"]} == {"header_name", "missing_ids", "unknown_label"}
    assert "a CONFIG or --sample" in run_kit("check", "bad.csv", code=1).stderr


def test_run_ends_with_a_checked_submission(cwd_workspace):
    result = run_kit("run", "configs/a.yaml")
    assert "submissions/tiny/a.csv  checked" in result.stdout
    assert run_kit_json("run", "configs/a.yaml")["submission"] == "submissions/tiny/a.csv"


def test_an_error_is_one_message_on_stderr_without_traceback(cwd_workspace):
    result = run_kit("train", "configs/a.yaml", "--set", "train.lrr=1", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("kit: configs/a.yaml: train.lrr: is not a key")
    assert "Traceback" not in result.stderr


def test_an_error_in_json_has_code_where_problem_rule_and_next(cwd_workspace):
    error = run_kit_json("evaluate", "nothing", code=1)["error"]
    assert set(error) == {"code", "where", "problem", "rule", "next"}


def test_debug_shows_the_traceback(cwd_workspace):
    result = CliRunner().invoke(app, ["--debug", "evaluate", "nothing"])
    assert type(result.exception).__name__ == "KitError"


def test_usage_errors_exit_with_2(cwd_workspace):
    assert "Missing argument" in run_kit("train", code=2).stderr
    assert "No such option" in run_kit("train", "configs/a.yaml", "--nope", code=2).stderr


def test_a_closed_pipe_ends_the_command_without_a_message(cwd_workspace):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "kit", "leaderboard", "--csv"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


PROGRAM = """
import atexit, sys, torch
from kit.cli.main import main

class Global:
    def __del__(self):
        print("deleted")

def at_exit(where):
    sys.stdout = open(where, "w") if where else sys.stdout
    print("at exit")

kept, (_, where, *arguments) = Global(), sys.argv
atexit.register(at_exit, where)
sys.argv = ["kit", *arguments]
main()
"""


def run_program(*arguments, late_output=""):
    """Run a command in a program that prints at exit, to stdout or to the file ``late_output``."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", PROGRAM, late_output, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=buffered)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, "kit 0."),
        (["evaluate", "nothing"], 1, "no such experiment"),
        (["x"], 2, "Usage: kit"),
    ],
)
def test_a_command_runs_exit_handlers_but_skips_deleting_objects(cwd_workspace, arguments, code, text):
    done = run_program(*arguments)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
    assert done.stdout.endswith("at exit\n")


def test_output_that_cannot_be_written_at_exit_is_an_error():
    done = run_program("--version", late_output="/dev/full")
    assert done.returncode != 0
    assert "No space left" in done.stderr


def test_an_os_error_is_one_message(cwd_workspace):
    shutil.rmtree(cwd_workspace.root / "submissions")
    (cwd_workspace.root / "submissions").write_text("not a folder")
    result = run_kit("submit", "a", code=1)
    assert "not a directory" in result.stderr
    assert "Traceback" not in result.stderr
