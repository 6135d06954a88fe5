"""The leaderboard has one row per experiment, blend and submission, read from disk."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from kit.config import Component
from kit.evaluation.evaluate import evaluate
from kit.leaderboard import submitted as submitted_files
from kit.leaderboard.entries import Entry, read_leaderboard
from kit.leaderboard.record import record
from kit.predictions import MIXED_FOLDS, load_oof
from kit.storage.files import read_json, write_text
from kit.storage.run_artifacts import read_blend, write_scores
from kit.storage.run_artifacts import write_blend as write_blend_values
from kit.storage.workspace import RunFolder
from tests.leaderboard.runs import (
    TARGETS,
    probs_with_errors,
    write_blend,
    write_experiment,
    write_submission,
    write_test_probs,
)


def entries_by_name(workspace) -> dict[str, Entry]:
    leaderboard = read_leaderboard(workspace)
    assert leaderboard.problems == []
    return {entry.name: entry for entry in leaderboard.entries}


def test_the_row_of_an_experiment_has_its_scores_date_and_commit(workspace):
    run = write_experiment(workspace, "a", wrong=range(12), day=3)
    (entry,) = read_leaderboard(workspace).entries
    scores = read_json(run.metrics)
    assert (entry.label, entry.kind, entry.metric) == ("made/a", "experiment", "accuracy")
    assert entry.cv == pytest.approx(0.8)
    assert (entry.low, entry.high, entry.sd) == (scores["low"], scores["high"], scores["sd"])
    assert (entry.nested, entry.folds) == (None, 5)
    assert (entry.device, entry.minutes, entry.date) == ("cpu", 2.5, "2026-11-03T08:00:00+00:00")
    assert entry.commit == "01234567"
    assert (entry.public, entry.submission, entry.parent, entry.changed) == (None, None, None, ())


def test_the_row_of_a_blend_names_its_method_and_members(workspace):
    write_blend(workspace, "both", made="2026-11-09T08:00:00+00:00")
    entry = entries_by_name(workspace)["both"]
    assert (entry.kind, entry.device, entry.minutes) == ("blend", None, None)
    assert entry.nested == entry.cv == pytest.approx(52 / 60)
    assert entry.date == "2026-11-09T08:00:00+00:00"
    assert entry.changed == ("weights of a, b",)


def test_a_blend_of_different_folds_has_a_row_without_a_score(workspace):
    run = write_blend(workspace, "mixed")
    oof = load_oof(run)
    replace(oof, origin=replace(oof.origin, folds=MIXED_FOLDS)).save(run.oof)
    values, provenance = read_blend(run)
    write_blend_values(run, values | {"worth": None}, provenance.inputs)
    run.metrics.unlink()
    entry = entries_by_name(workspace)["mixed"]
    assert (entry.kind, entry.cv, entry.metric, entry.higher_is_better) == ("blend", None, "accuracy", True)


def test_the_best_cv_is_first_and_rows_without_cv_are_last(workspace):
    for name, wrong in (("a", 12), ("b", 3), ("c", 6)):
        write_experiment(workspace, name, wrong=range(wrong))
    write_text(workspace.submission("made", "foreign").path, "id\n")
    assert [entry.name for entry in read_leaderboard(workspace).entries] == ["b", "c", "a", "foreign"]


def test_the_lowest_cv_is_first_where_lower_is_better(workspace):
    for name, wrong in (("a", 12), ("b", 3), ("c", 6)):
        write_experiment(workspace, name, wrong=range(wrong), metric="log_loss")
    assert [entry.name for entry in read_leaderboard(workspace).entries] == ["b", "c", "a"]


def test_a_submission_is_shown_in_the_row_of_its_run(workspace):
    file = write_submission(workspace, write_experiment(workspace, "a"))
    record("made/a", workspace, public=0.81)
    (entry,) = entries_by_name(workspace).values()
    assert (entry.kind, entry.submission, entry.public) == ("experiment", "submissions/made/a.csv", 0.81)
    assert entry.private is None
    assert workspace.shown(file.path) == entry.submission


def replace_models(run: RunFolder, workspace) -> None:
    write_test_probs(run, 1.0, models="others")


def replace_test_probs(run: RunFolder, workspace) -> None:
    write_test_probs(run, 0.75)


def change_postprocessing(run: RunFolder, workspace) -> None:
    evaluate(run, workspace, [Component(name="prior")])


@pytest.mark.parametrize("change", [replace_models, replace_test_probs, change_postprocessing])
def test_a_submission_of_an_earlier_state_of_the_run_has_its_own_row(workspace, change):
    run = write_experiment(workspace, "a")
    write_submission(workspace, run, cv=0.5, sd=0.01)
    record("made/a", workspace, public=0.81)
    change(run, workspace)
    current, earlier = sorted(read_leaderboard(workspace).entries, key=lambda entry: entry.kind)
    assert (current.kind, current.public, current.submission) == ("experiment", None, None)
    assert (earlier.kind, earlier.public, earlier.submission) == (
        "submission",
        0.81,
        "submissions/made/a.csv",
    )
    assert (earlier.cv, earlier.sd, earlier.parent, earlier.commit) == (0.5, 0.01, "a", "fedcba98")


def test_a_submission_of_the_same_predictions_matches_its_run_whatever_its_cv(workspace):
    write_submission(workspace, write_experiment(workspace, "a"), cv=0.123)
    assert entries_by_name(workspace)["a"].kind == "experiment"


def test_submissions_of_pooled_crops_match_their_run_by_the_names_of_their_steps(workspace):
    run = write_experiment(workspace, "a")
    evaluate(run, workspace, [Component(name="prior")])
    pooled = {"config": {"submission": {"pool": {"by": "image"}}}}
    steps = [{"name": "prior", "strength": 0.123, "shares": [1, 1, 1]}]
    write_submission(workspace, run, decision=steps, **pooled)
    assert [entry.kind for entry in read_leaderboard(workspace).entries] == ["experiment"]
    write_submission(workspace, run, decision=[], **pooled)
    assert [entry.kind for entry in read_leaderboard(workspace).entries] == ["experiment", "submission"]


def test_a_submission_of_a_deleted_run_has_a_row(workspace):
    run = write_experiment(workspace, "a")
    write_submission(workspace, run)
    record("made/a", workspace, public=0.81, private=0.8)
    shutil.rmtree(run.path)
    entry = entries_by_name(workspace)["a"]
    assert (entry.kind, entry.cv, entry.public) == ("submission", pytest.approx(50 / 60), 0.81)
    assert entry.higher_is_better


def test_a_submission_kept_under_another_name_has_its_run_as_parent(workspace):
    run = write_blend(workspace, "a", members=("b", "c"))
    file = write_submission(workspace, run)
    for old in (file.path, file.trace):
        old.rename(old.with_name(old.name.replace("a.", "a@0123abcd.")))
    entry = entries_by_name(workspace)["a@0123abcd"]
    assert (entry.kind, entry.parent, entry.nested) == ("submission", "a", entry.cv)


def test_a_file_that_kit_did_not_write_has_a_row(workspace):
    write_experiment(workspace, "a", metric="log_loss")
    write_text(workspace.submission("made", "theirs").path, "id,label\n")
    record("theirs", workspace, public=0.3)
    entry = entries_by_name(workspace)["theirs"]
    assert (entry.kind, entry.cv, entry.public, entry.parent) == ("submission", None, 0.3, None)
    assert (entry.metric, entry.higher_is_better) == ("log_loss", False)


def test_a_file_edited_since_kit_wrote_it_is_reported_and_has_no_cv(workspace):
    file = write_submission(workspace, write_experiment(workspace, "a"))
    write_text(file.path, "ID,Label\n1,2\n")
    leaderboard = read_leaderboard(workspace)
    (problem,) = leaderboard.problems
    assert (problem.code, problem.where) == ("submission_changed", "submissions/made/a.csv")
    assert "kit submit made/a" in problem.next
    run, changed = sorted(leaderboard.entries, key=lambda entry: entry.kind)
    assert run.submission is None
    assert (changed.kind, changed.cv) == ("submission", None)


def test_scores_of_a_changed_file_are_reported_and_not_shown(workspace):
    file = workspace.submission("made", "theirs")
    write_text(file.path, "id,label\n1,2\n")
    record("theirs", workspace, public=0.3)
    write_text(file.path, "id,label\n1,3\n")
    leaderboard = read_leaderboard(workspace)
    assert [entry.public for entry in leaderboard.entries] == [None]
    assert leaderboard.problems[0].code == "scores_of_other_file"


def test_the_leaderboard_is_read_from_disk_each_time(workspace):
    run_a = write_experiment(workspace, "a")
    run_b = write_experiment(workspace, "b")
    before = read_leaderboard(workspace)
    shutil.rmtree(run_b.path)
    assert [entry.name for entry in read_leaderboard(workspace).entries] == ["a"]
    write_experiment(workspace, "b")
    assert read_leaderboard(workspace) == before
    assert run_a.path.exists()


def test_an_unfinished_run_has_no_row_and_no_problem(workspace):
    run = write_experiment(workspace, "a")
    run.metrics.unlink()
    run.oof.unlink()
    assert entries_by_name(workspace) == {}


DAMAGE = {
    "metrics": lambda run, file: run.metrics,
    "environment": lambda run, file: run.environment,
    "config": lambda run, file: run.config,
    "done": lambda run, file: run.fold(2).done,
    "decision": lambda run, file: run.decision,
    "test": lambda run, file: run.test,
    "trace": lambda run, file: file.trace,
    "scores": lambda run, file: file.scores,
}


@pytest.mark.parametrize("artifact", DAMAGE)
def test_one_damaged_artifact_hides_no_other_row(workspace, artifact):
    write_experiment(workspace, "fine", wrong=range(5))
    run = write_experiment(workspace, "cut")
    file = write_submission(workspace, run)
    record("made/cut", workspace, public=0.81)
    path = DAMAGE[artifact](run, file)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    leaderboard = read_leaderboard(workspace)
    assert "fine" in [entry.name for entry in leaderboard.entries]
    (problem,) = leaderboard.problems
    assert str(path) in str(problem)
    assert artifact in ("config",) or problem.next
    runs = [entry.name for entry in leaderboard.entries if entry.kind == "experiment"]
    assert runs == (["fine"] if artifact == "metrics" else ["fine", "cut"])


@pytest.mark.parametrize(
    "values", [{}, {"cv": 0.5}, {"metric": "x", "higher_is_better": True, "folds": [], "cv": "high"}]
)
def test_incomplete_scores_are_reported(workspace, values):
    run = write_experiment(workspace, "a")
    write_scores(run, values, {})
    leaderboard = read_leaderboard(workspace)
    assert leaderboard.entries == []
    assert leaderboard.problems[0].code == "file_damaged"
    assert "kit evaluate made/a" in leaderboard.problems[0].next


def test_predictions_without_scores_are_reported(workspace):
    run = write_experiment(workspace, "a")
    run.metrics.unlink()
    (problem,) = read_leaderboard(workspace).problems
    assert problem.code == "scores_missing" and "kit evaluate made/a" in problem.next


def test_a_large_submission_is_compared_by_size_not_checksum(workspace, monkeypatch):
    file = write_submission(workspace, write_experiment(workspace, "a"))
    monkeypatch.setattr(submitted_files, "MAX_HASHED_BYTES", 4)
    monkeypatch.setattr(submitted_files, "checksum", lambda path: pytest.fail("the file was read"))
    assert entries_by_name(workspace)["a"].submission is not None
    write_text(file.path, "ID,Label\n1,red\n2,red\n")
    assert read_leaderboard(workspace).problems[0].code == "submission_changed"


def test_the_test_helper_is_wrong_in_the_given_rows_only():
    assert (probs_with_errors([]).argmax(axis=1) == TARGETS).all()
    assert np.flatnonzero(probs_with_errors([4, 7]).argmax(axis=1) != TARGETS).tolist() == [4, 7]


def test_a_file_deleted_while_the_leaderboard_is_read_is_left_out(workspace, monkeypatch):
    write_submission(workspace, write_experiment(workspace, "a"))
    there = workspace.submissions()
    there[0].path.unlink()
    monkeypatch.setattr(type(workspace), "submissions", lambda self: there)
    (entry,) = entries_by_name(workspace).values()
    assert entry.submission is None
