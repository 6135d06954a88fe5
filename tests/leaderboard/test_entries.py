"""Every experiment, blend and submission is one row, read from disk."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from kit.config import Component
from kit.evaluation.evaluate import evaluate
from kit.leaderboard import runs
from kit.leaderboard import submitted as submitted_files
from kit.leaderboard.entries import Entry, read_leaderboard
from kit.leaderboard.record import record
from kit.predictions import METADATA_KEY, MIXED_FOLDS, load_predictions
from kit.storage.files import read_json, write_json, write_text
from kit.storage.workspace import RunFolder
from tests.leaderboard.made import TARGETS, blend, experiment, other_test, probs_for, submitted


def rows(workspace) -> dict[str, Entry]:
    leaderboard = read_leaderboard(workspace)
    assert leaderboard.problems == []
    return {entry.name: entry for entry in leaderboard.entries}


def test_the_row_of_an_experiment(workspace):
    run = experiment(workspace, "a", wrong=range(12), day=3)
    (entry,) = read_leaderboard(workspace).entries
    scores = read_json(run.metrics)
    assert (entry.label, entry.kind, entry.metric) == ("made/a", "experiment", "accuracy")
    assert entry.cv == pytest.approx(0.8)
    assert (entry.low, entry.high, entry.sd) == (scores["low"], scores["high"], scores["sd"])
    assert (entry.nested, entry.folds) == (None, 5)
    assert (entry.device, entry.minutes, entry.date) == ("cpu", 2.5, "2026-11-03T08:00:00+00:00")
    assert entry.commit == "01234567"
    assert (entry.public, entry.submission, entry.parent, entry.changed) == (None, None, None, ())


def test_the_row_of_a_blend(workspace):
    blend(workspace, "both", made="2026-11-09T08:00:00+00:00")
    entry = rows(workspace)["both"]
    assert (entry.kind, entry.device, entry.minutes) == ("blend", None, None)
    assert entry.nested == entry.cv == pytest.approx(52 / 60)
    assert entry.date == "2026-11-09T08:00:00+00:00"
    assert entry.changed == ("weights of a, b",)


def test_a_blend_of_different_folds_is_there_without_a_score(workspace):
    run = blend(workspace, "mixed")
    oof = load_predictions(run.oof)
    replace(oof, origin=replace(oof.origin, folds=MIXED_FOLDS)).save(run.oof)
    write_json(run.blend, read_json(run.blend) | {"worth": None})
    run.metrics.unlink()
    entry = rows(workspace)["mixed"]
    assert (entry.kind, entry.cv, entry.metric, entry.higher_is_better) == ("blend", None, "accuracy", True)


def test_the_best_cv_is_first_and_none_last(workspace):
    for name, wrong in (("a", 12), ("b", 3), ("c", 6)):
        experiment(workspace, name, wrong=range(wrong))
    write_text(workspace.submission("made", "foreign").path, "id\n")
    assert [entry.name for entry in read_leaderboard(workspace).entries] == ["b", "c", "a", "foreign"]


def test_lower_is_first_where_lower_is_better(workspace):
    for name, wrong in (("a", 12), ("b", 3), ("c", 6)):
        experiment(workspace, name, wrong=range(wrong), metric="log_loss")
    assert [entry.name for entry in read_leaderboard(workspace).entries] == ["b", "c", "a"]


def test_a_submission_is_on_the_row_of_its_run(workspace):
    file = submitted(workspace, experiment(workspace, "a"))
    record("made/a", workspace, public=0.81)
    (entry,) = rows(workspace).values()
    assert (entry.kind, entry.submission, entry.public) == ("experiment", "submissions/made/a.csv", 0.81)
    assert entry.private is None
    assert workspace.shown(file.path) == entry.submission


def made_of_other_models(run: RunFolder, workspace) -> None:
    other_test(run, 1.0, models="others")


def with_other_predictions(run: RunFolder, workspace) -> None:
    other_test(run, 0.75)


def decided_otherwise(run: RunFolder, workspace) -> None:
    evaluate(run, workspace, [Component(name="prior")])


@pytest.mark.parametrize("change", [made_of_other_models, with_other_predictions, decided_otherwise])
def test_a_submission_of_what_the_run_was_has_a_row_of_its_own(workspace, change):
    run = experiment(workspace, "a")
    submitted(workspace, run, cv=0.5, sd=0.01)
    record("made/a", workspace, public=0.81)
    change(run, workspace)
    now, was = sorted(read_leaderboard(workspace).entries, key=lambda entry: entry.kind)
    assert (now.kind, now.public, now.submission) == ("experiment", None, None)
    assert (was.kind, was.public, was.submission) == ("submission", 0.81, "submissions/made/a.csv")
    assert (was.cv, was.sd, was.parent, was.commit) == (0.5, 0.01, "a", "fedcba98")


def test_another_cv_of_the_same_answers_is_the_same_submission(workspace):
    submitted(workspace, experiment(workspace, "a"), cv=0.123)
    assert rows(workspace)["a"].kind == "experiment"


def test_pooled_crops_are_compared_by_the_names_of_their_steps(workspace):
    run = experiment(workspace, "a")
    evaluate(run, workspace, [Component(name="prior")])
    pooled = {"config": {"submission": {"pool": {"by": "image"}}}}
    steps = [{"name": "prior", "strength": 0.123, "shares": [1, 1, 1]}]
    submitted(workspace, run, decision=steps, **pooled)
    assert [entry.kind for entry in read_leaderboard(workspace).entries] == ["experiment"]
    submitted(workspace, run, decision=[], **pooled)
    assert [entry.kind for entry in read_leaderboard(workspace).entries] == ["experiment", "submission"]


def test_a_submission_outlives_its_run(workspace):
    run = experiment(workspace, "a")
    submitted(workspace, run)
    record("made/a", workspace, public=0.81, private=0.8)
    shutil.rmtree(run.path)
    entry = rows(workspace)["a"]
    assert (entry.kind, entry.cv, entry.public) == ("submission", pytest.approx(50 / 60), 0.81)
    assert entry.higher_is_better


def test_a_submission_kept_under_another_name_is_still_of_its_run(workspace):
    run = blend(workspace, "a", members=("b", "c"))
    file = submitted(workspace, run)
    for old in (file.path, file.trace):
        old.rename(old.with_name(old.name.replace("a.", "a@0123abcd.")))
    entry = rows(workspace)["a@0123abcd"]
    assert (entry.kind, entry.parent, entry.nested) == ("submission", "a", entry.cv)


def test_a_file_that_kit_did_not_write_has_a_row(workspace):
    experiment(workspace, "a", metric="log_loss")
    write_text(workspace.submission("made", "theirs").path, "id,label\n")
    record("theirs", workspace, public=0.3)
    entry = rows(workspace)["theirs"]
    assert (entry.kind, entry.cv, entry.public, entry.parent) == ("submission", None, 0.3, None)
    assert (entry.metric, entry.higher_is_better) == ("log_loss", False)


def test_a_file_edited_since_kit_wrote_it_is_reported_and_has_no_cv(workspace):
    file = submitted(workspace, experiment(workspace, "a"))
    write_text(file.path, "ID,Label\n1,2\n")
    leaderboard = read_leaderboard(workspace)
    (problem,) = leaderboard.problems
    assert (problem.code, problem.where) == ("submission_changed", "submissions/made/a.csv")
    assert "kit submit made/a" in problem.next
    run, changed = sorted(leaderboard.entries, key=lambda entry: entry.kind)
    assert run.submission is None
    assert (changed.kind, changed.cv) == ("submission", None)


def test_a_score_belongs_to_the_bytes_that_were_scored(workspace):
    file = workspace.submission("made", "theirs")
    write_text(file.path, "id,label\n1,2\n")
    record("theirs", workspace, public=0.3)
    write_text(file.path, "id,label\n1,3\n")
    leaderboard = read_leaderboard(workspace)
    assert [entry.public for entry in leaderboard.entries] == [None]
    assert leaderboard.problems[0].code == "scores_of_other_file"


def test_nothing_is_kept_that_could_be_stale(workspace):
    kept = experiment(workspace, "a")
    gone = experiment(workspace, "b")
    before = read_leaderboard(workspace)
    shutil.rmtree(gone.path)
    assert [entry.name for entry in read_leaderboard(workspace).entries] == ["a"]
    experiment(workspace, "b")
    assert read_leaderboard(workspace) == before
    assert kept.path.exists()


def test_an_unfinished_run_has_no_row_and_no_problem(workspace):
    run = experiment(workspace, "a")
    run.metrics.unlink()
    run.oof.unlink()
    assert rows(workspace) == {}


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
    experiment(workspace, "fine", wrong=range(5))
    run = experiment(workspace, "cut")
    file = submitted(workspace, run)
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
    "values", [[], {"cv": 0.5}, {"metric": "x", "higher_is_better": True, "folds": [], "cv": "high"}]
)
def test_incomplete_scores_are_reported(workspace, values):
    run = experiment(workspace, "a")
    write_json(run.metrics, values)
    leaderboard = read_leaderboard(workspace)
    assert leaderboard.entries == []
    assert leaderboard.problems[0].code == "file_damaged"
    assert "kit evaluate made/a" in leaderboard.problems[0].next


def test_predictions_without_scores_are_reported(workspace):
    run = experiment(workspace, "a")
    run.metrics.unlink()
    (problem,) = read_leaderboard(workspace).problems
    assert problem.code == "scores_missing" and "kit evaluate made/a" in problem.next


def test_a_large_file_is_known_by_its_size(workspace, monkeypatch):
    file = submitted(workspace, experiment(workspace, "a"))
    monkeypatch.setattr(submitted_files, "MAX_HASHED_BYTES", 4)
    monkeypatch.setattr(submitted_files, "checksum", lambda path: pytest.fail("it was read"))
    assert rows(workspace)["a"].submission is not None
    write_text(file.path, "ID,Label\n1,red\n2,red\n")
    assert read_leaderboard(workspace).problems[0].code == "submission_changed"


def test_the_helper_decides_as_it_says():
    assert (probs_for([]).argmax(axis=1) == TARGETS).all()
    assert np.flatnonzero(probs_for([4, 7]).argmax(axis=1) != TARGETS).tolist() == [4, 7]


def test_a_digest_that_the_head_has_saves_reading_the_predictions(workspace, monkeypatch):
    run = experiment(workspace, "a")
    submitted(workspace, run, predictions="as noted")
    table = pq.read_table(run.test)
    note = json.loads(table.schema.metadata[METADATA_KEY]) | {"digest": "as noted"}
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(note)}), run.test)
    monkeypatch.setattr(runs, "load_predictions", lambda path: pytest.fail("it was read"))
    assert [entry.kind for entry in read_leaderboard(workspace).entries] == ["experiment"]


def test_a_file_that_is_moved_away_meanwhile_is_left_out(workspace, monkeypatch):
    submitted(workspace, experiment(workspace, "a"))
    there = workspace.submissions()
    there[0].path.unlink()
    monkeypatch.setattr(type(workspace), "submissions", lambda self: there)
    (entry,) = rows(workspace).values()
    assert entry.submission is None
