"""Select two submissions: the best CV, and the one with least correlated errors among those as good within noise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kit.leaderboard.entries import read_leaderboard
from kit.leaderboard.record import record
from kit.leaderboard.selection import error_correlation, oof_errors, select_submissions
from kit.predictions import load_oof
from kit.storage.files import read_json, write_json
from kit.storage.run_artifacts import read_postprocessing, write_postprocessing
from tests.evaluation.runs import write_run
from tests.leaderboard.runs import write_experiment, write_submission


def select(workspace):
    problems = []
    found = select_submissions(read_leaderboard(workspace).entries, workspace, problems)
    assert problems == []
    return found


@pytest.fixture
def three_runs(workspace):
    """The best run, a nearly as good one with errors on the same images, and one with errors on other images."""
    for name, wrong in (("best", range(10)), ("similar", range(11)), ("other", range(30, 42))):
        write_submission(workspace, write_experiment(workspace, name, wrong=wrong))
    return workspace


def test_the_second_has_its_errors_on_other_images(three_runs):
    (found,) = select(three_runs)
    assert (found.first.experiment, found.second.experiment) == ("made/best", "made/other")
    assert found.first.submission == "submissions/made/best.csv"
    assert found.second.correlation == pytest.approx(
        np.corrcoef([1] * 10 + [0] * 50, [0] * 30 + [1] * 12 + [0] * 18)[0, 1]
    )
    for fact in ("made/best", "0.8333", "made/other", "0.8000", "-0.22"):
        assert fact in found.summary


def test_leaderboard_scores_do_not_change_the_selection(three_runs):
    before = select(three_runs)
    for name, score in (("best", 0.1), ("similar", 0.99), ("other", 0.2)):
        record(f"made/{name}", three_runs, public=score, private=score)
    assert select(three_runs) == before


def test_a_clearly_worse_run_is_not_selected_for_its_different_errors(workspace):
    for name, wrong in (("best", range(5)), ("next", range(25)), ("worse", range(30, 60))):
        write_submission(workspace, write_experiment(workspace, name, wrong=wrong))
    (found,) = select(workspace)
    assert (found.second.experiment, found.second.correlation) == ("made/next", None)


def test_the_summary_shows_the_correlation_of_similar_errors(three_runs):
    three_runs.submission("made", "other").path.unlink()
    (found,) = select(three_runs)
    assert found.second.experiment == "made/similar"
    assert "0.94" in found.summary


def test_selection_works_for_metrics_where_lower_is_better(workspace):
    for name, wrong in (("best", range(10)), ("similar", range(11)), ("other", range(30, 42))):
        write_submission(workspace, write_experiment(workspace, name, wrong=wrong, metric="log_loss"))
    (found,) = select(workspace)
    assert (found.first.experiment, found.second.experiment) == ("made/best", "made/other")


def test_only_runs_with_a_submission_file_are_selected(three_runs):
    three_runs.submission("made", "other").path.unlink()
    assert select(three_runs)[0].second.experiment == "made/similar"
    three_runs.submission("made", "best").path.unlink()
    assert select(three_runs) == []


def test_submissions_of_an_earlier_state_of_the_run_are_not_selected(three_runs):
    trace = three_runs.submission("made", "best").trace
    write_json(trace, read_json(trace) | {"predictions": "others"})
    (found,) = select(three_runs)
    assert {found.first.experiment, found.second.experiment} == {"made/similar", "made/other"}


def test_predictions_on_other_folds_are_reported_and_not_compared(three_runs):
    run = three_runs.run("made", "other")
    oof = load_oof(run)
    replace(oof, origin=replace(oof.origin, folds="others")).save(run.oof)
    problems = []
    (found,) = select_submissions(read_leaderboard(three_runs).entries, three_runs, problems)
    assert found.second.experiment == "made/similar"
    assert "made/other" in str(problems[0])


def test_errors_are_those_of_the_submitted_labels(workspace):
    run = write_experiment(workspace, "a", wrong=[3, 8])
    assert oof_errors(run, workspace)[lambda wrong: wrong].index.tolist() == ["id 0003", "id 0008"]
    steps = [{"name": "prior", "strength": 1.0, "shares": [1e-6, 1.0, 1.0]}]
    write_postprocessing(run, read_postprocessing(run)[0] | {"steps": steps}, {})
    first_class = [f"id {n:04d}" for n in range(0, 60, 3)]
    assert oof_errors(run, workspace)[first_class].sum() == 0
    assert oof_errors(run, workspace).sum() == 40


def test_a_multilabel_image_is_an_error_if_any_label_is_wrong(workspace):
    targets = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 5)
    probs = np.where(targets == 1, 0.9, 0.1)
    probs[1, 0], probs[2] = 0.2, [0.8, 0.3]
    run = write_run(workspace, "multilabel", "f1_macro", targets, probs, ("x", "y"))
    assert oof_errors(run, workspace)[lambda wrong: wrong].index.tolist() == ["id 0001", "id 0002"]


def test_errors_are_joined_by_id():
    a = pd.Series([True, True, False, False], index=list("wxyz"))
    assert error_correlation(a, a[::-1]) == pytest.approx(1)
    assert error_correlation(a, ~a) == pytest.approx(-1)
    assert error_correlation(a, pd.Series([False, True], index=["y", "x"])) == pytest.approx(1)
    assert error_correlation(a, pd.Series(False, index=a.index)) is None
    assert error_correlation(a, pd.Series([True], index=["other"])) is None
