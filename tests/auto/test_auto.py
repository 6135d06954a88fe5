"""``kit auto``: a checked submission by a deadline, continued by the next run, never with old data."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from kit import pipeline
from kit.auto import auto, dry_run
from kit.auto.journal import Journal
from kit.config.load import load_config
from kit.runtime.deadline import Deadline
from tests.conftest import (
    RecordedProgress,
    draw_class_folders,
    kit,
    raises_kit_error,
    run_kit,
    wait_for,
    write_config,
)

LIMIT = 25  # seconds; the machine that runs the tests may be slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The result of one run, its workspace, and how many seconds were left at its end."""
    from kit.storage.workspace import Workspace

    root = tmp_path_factory.mktemp("auto")
    workspace = Workspace.open(root)
    draw_class_folders(root / "data" / "tiny", per_class=12)
    config = write_config(workspace)
    deadline = Deadline(LIMIT)
    result = auto(config, time_limit=deadline, workspace=workspace)
    return result, workspace, deadline.left


def journal(workspace):
    return json.loads(workspace.auto("tiny").read_text())


def test_it_ends_before_the_limit_with_a_submission_that_passes_the_check(finished):
    result, workspace, left = finished
    assert left > 0
    file = workspace.root / result.submission
    assert pipeline.check(file, workspace.config("tiny-cnn"), workspace=workspace).problems == []
    assert len(pd.read_csv(file)) == 8


def test_the_submission_is_that_of_the_best_score(finished):
    result, workspace, _ = finished
    assert result.best.cv == max(each.cv for each in result.scored)
    trace = json.loads((workspace.root / result.submission).with_suffix(".json").read_text())
    assert f"tiny/{result.best.name}" in json.dumps(trace)


def test_every_trial_and_experiment_is_an_ordinary_experiment(finished):
    result, workspace, _ = finished
    names = {run.name for run in workspace.runs()}
    assert names >= {each.name for each in result.scored}
    assert names >= {trial["name"] for trial in journal(workspace)["trials"]}
    assert result.best.name in {entry.name for entry in pipeline.leaderboard(workspace=workspace).entries}


def test_the_score_to_expect_is_shown_first_and_is_not_above_the_best_score(finished):
    result, _, _ = finished
    assert result.corrected is not None
    assert result.corrected.interval.low <= result.corrected.score <= result.corrected.interval.high
    assert result.corrected.score <= result.corrected.raw + 1e-9


def test_the_next_run_continues_and_repeats_nothing(finished, tmp_path):
    result, workspace, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workspace.root, copy)
    first = next(copy.glob("runs/tiny/auto-whole-1/fold-0/done.json")).stat().st_mtime_ns
    again = auto(copy / "configs" / "tiny-cnn.yaml", time_limit="10s", workspace=copy)
    assert next(copy.glob("runs/tiny/auto-whole-1/fold-0/done.json")).stat().st_mtime_ns == first
    assert len(again.scored) >= len(result.scored)
    assert again.best.cv >= result.best.cv


@pytest.mark.slow
def test_with_other_labels_nothing_old_is_used(finished, tmp_path):
    _, workspace, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workspace.root, copy)
    (copy / "data" / "tiny" / "train" / "2" / "0.png").rename(
        copy / "data" / "tiny" / "train" / "10" / "new.png"
    )
    (copy / "folds" / "tiny.csv").unlink()
    progress = RecordedProgress()
    auto(copy / "configs" / "tiny-cnn.yaml", time_limit=f"{LIMIT}s", workspace=copy, progress=progress)
    assert "is not continued" in progress
    assert journal_key(copy) != journal(workspace)["key"]


def journal_key(root):
    return json.loads((root / "runs" / "tiny" / "auto" / "journal.json").read_text())["key"]


def test_a_damaged_journal_is_told_and_begun_anew(tmp_path):
    path = tmp_path / "journal.json"
    path.write_text("{")
    opened, why = Journal.open(path, "key")
    assert why
    assert opened.scored == []


def test_a_limit_that_no_network_can_meet_is_refused_with_what_would_fit(tiny):
    with raises_kit_error("time_limit_too_short"):
        auto(write_config(tiny), time_limit=Deadline(0.01), workspace=tiny)


def test_an_unknown_network_is_refused_before_anything_is_measured(tiny):
    with raises_kit_error("unknown_name"):
        auto(write_config(tiny), time_limit="1m", models=["simple_cn"], workspace=tiny)


def test_a_dry_run_measures_and_trains_nothing(tiny):
    plan = dry_run(write_config(tiny), time_limit="10m", models=["simple_cnn"], workspace=tiny)
    assert list(plan.networks) == ["simple_cnn"]
    assert plan.first.seconds > 0
    assert tiny.runs() == []


@pytest.mark.slow
def test_a_folder_without_a_config_gets_one(tiny):
    result = run_kit("auto", tiny.root / "data" / "tiny", "--time-limit", "30s", "--models", "simple_cnn")
    assert (tiny.root / "configs" / "tiny.yaml").exists()
    assert "submissions/tiny/" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Next: kit leaderboard record")


def test_export_writes_a_config_that_trains_the_best_experiment(finished, tmp_path):
    _, workspace, _ = finished
    run_kit(
        "auto",
        workspace.config("tiny-cnn"),
        "--time-limit",
        "6s",
        "--export",
        tmp_path / "best.yaml",
        "--workspace",
        workspace.root,
    )
    config = load_config(tmp_path / "best.yaml")
    assert config.name == "best"
    assert config.model.name in {"simple_cnn", "residual_cnn"}


def test_an_export_overwrites_no_file_and_says_so_before_any_work(tiny, tmp_path):
    (tmp_path / "mine.yaml").write_text("x: 1")
    with raises_kit_error("export_exists"):
        auto(write_config(tiny), time_limit="1m", export=tmp_path / "mine.yaml", workspace=tiny)
    assert (tmp_path / "mine.yaml").read_text() == "x: 1"


@pytest.mark.slow
def test_an_experiment_that_was_removed_is_forgotten_and_told(finished, tmp_path):
    _, workspace, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workspace.root, copy)
    shutil.rmtree(copy / "runs" / "tiny" / "auto-whole-1")
    kept = {path: path.read_bytes() for path in copy.glob("runs/tiny/auto-whole-*/oof.parquet")}
    progress = RecordedProgress()
    result = auto(
        copy / "configs" / "tiny-cnn.yaml", time_limit=Deadline(LIMIT), workspace=copy, progress=progress
    )
    assert "auto-whole-1" in progress
    assert {path: path.read_bytes() for path in kept} == kept
    assert all((copy / "runs" / "tiny" / each.name / "oof.parquet").exists() for each in result.scored)


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["terminate", "kill"])
def test_a_stopped_run_continues_with_the_same_command(tiny, signal):
    config = write_config(tiny)
    arguments = ("auto", str(config), "--time-limit", "90s")
    process = kit(tiny, *arguments)
    wait_for(lambda: tiny.auto("tiny").exists() and len(journal(tiny)["scored"]) >= 1, 90)
    getattr(process, signal)()
    process.communicate(timeout=60)
    assert process.returncode == (130 if signal == "terminate" else -9)
    before = journal(tiny)["scored"][0]
    again = kit(tiny, "auto", str(config), "--time-limit", "30s")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert journal(tiny)["scored"][0] == before


def test_the_live_view_shows_time_best_score_plan_and_what_runs(finished, capsys):
    from rich.console import Console

    from kit.cli.auto_view import AutoView

    result, workspace, _ = finished
    seen = []
    auto(workspace.config("tiny-cnn"), time_limit="6s", workspace=workspace, watch=seen.append)
    view = AutoView()
    view.watch(replace(seen[-1], plan="3 trials", doing="trial 7", learned=("one", "two", "three", "four")))
    for _ in view.track(range(3), 3, "epoch"):
        pass
    Console(width=80).print(view.view())
    shown = capsys.readouterr().out
    for part in (result.best.name, f"{result.best.cv:.4f}", "submissions/", "3 trials", "trial 7", "of 0:06"):
        assert part in shown
    assert "one" not in shown  # the latest findings only
    assert max(map(len, shown.splitlines())) <= 80
