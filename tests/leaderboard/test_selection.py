"""Two submissions are selected: the best CV, and of those as good within noise the one with other errors."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kit.leaderboard.entries import read_leaderboard
from kit.leaderboard.record import record
from kit.leaderboard.selection import error_correlation, oof_errors, select_submissions
from kit.predictions import load_predictions
from kit.storage.files import read_json, write_json
from tests.evaluation.made import made_run
from tests.leaderboard.made import experiment, submitted


def chosen(workspace):
    problems = []
    found = select_submissions(read_leaderboard(workspace).entries, workspace, problems)
    assert problems == []
    return found


@pytest.fixture
def three(workspace):
    """The best, one nearly as good that errs on the same images, and one that errs on others."""
    for name, wrong in (("best", range(10)), ("alike", range(11)), ("other", range(30, 42))):
        submitted(workspace, experiment(workspace, name, wrong=wrong))
    return workspace


def test_the_second_is_the_one_that_errs_elsewhere(three):
    (found,) = chosen(three)
    assert (found.first.experiment, found.second.experiment) == ("made/best", "made/other")
    assert found.first.submission == "submissions/made/best.csv"
    assert found.second.correlation == pytest.approx(
        np.corrcoef([1] * 10 + [0] * 50, [0] * 30 + [1] * 12 + [0] * 18)[0, 1]
    )
    for fact in ("made/best", "0.8333", "made/other", "0.8000", "-0.22"):
        assert fact in found.summary


def test_leaderboard_scores_choose_nothing(three):
    before = chosen(three)
    for name, score in (("best", 0.1), ("alike", 0.99), ("other", 0.2)):
        record(f"made/{name}", three, public=score, private=score)
    assert chosen(three) == before


def test_a_run_that_is_worse_beyond_noise_is_not_second_for_its_errors(workspace):
    for name, wrong in (("best", range(5)), ("next", range(25)), ("worse", range(30, 60))):
        submitted(workspace, experiment(workspace, name, wrong=wrong))
    (found,) = chosen(workspace)
    assert (found.second.experiment, found.second.correlation) == ("made/next", None)


def test_errors_that_are_alike_are_not_called_elsewhere(three):
    three.submission("made", "other").path.unlink()
    (found,) = chosen(three)
    assert found.second.experiment == "made/alike"
    assert "0.94" in found.summary


def test_lower_is_better(workspace):
    for name, wrong in (("best", range(10)), ("alike", range(11)), ("other", range(30, 42))):
        submitted(workspace, experiment(workspace, name, wrong=wrong, metric="log_loss"))
    (found,) = chosen(workspace)
    assert (found.first.experiment, found.second.experiment) == ("made/best", "made/other")


def test_only_what_can_be_handed_in_is_chosen(three):
    three.submission("made", "other").path.unlink()
    assert chosen(three)[0].second.experiment == "made/alike"
    three.submission("made", "best").path.unlink()
    assert chosen(three) == []


def test_what_the_run_is_no_more_is_not_chosen(three):
    trace = three.submission("made", "best").trace
    write_json(trace, read_json(trace) | {"predictions": "others"})
    (found,) = chosen(three)
    assert {found.first.experiment, found.second.experiment} == {"made/alike", "made/other"}


def test_predictions_that_cannot_be_joined_are_told_and_not_compared(three):
    run = three.run("made", "other")
    oof = load_predictions(run.oof)
    replace(oof, origin=replace(oof.origin, folds="others")).save(run.oof)
    problems = []
    (found,) = select_submissions(read_leaderboard(three).entries, three, problems)
    assert found.second.experiment == "made/alike"
    assert "made/x" in str(problems[0])


def test_errors_are_those_of_the_submitted_labels(workspace):
    run = experiment(workspace, "a", wrong=[3, 8])
    assert oof_errors(run, workspace)[lambda wrong: wrong].index.tolist() == ["id 0003", "id 0008"]
    steps = [{"name": "prior", "strength": 1.0, "shares": [1e-6, 1.0, 1.0]}]
    write_json(run.decision, read_json(run.decision) | {"steps": steps})
    first_class = [f"id {n:04d}" for n in range(0, 60, 3)]
    assert oof_errors(run, workspace)[first_class].sum() == 0
    assert oof_errors(run, workspace).sum() == 40


def test_of_several_labels_all_must_be_right(workspace):
    targets = np.array([[1, 0], [1, 1], [0, 1], [0, 0]] * 5)
    probs = np.where(targets == 1, 0.9, 0.1)
    probs[1, 0], probs[2] = 0.2, [0.8, 0.3]
    run = made_run(workspace, "multilabel", "f1_macro", targets, probs, ("x", "y"))
    assert oof_errors(run, workspace)[lambda wrong: wrong].index.tolist() == ["id 0001", "id 0002"]


def test_errors_meet_by_id():
    a = pd.Series([True, True, False, False], index=list("wxyz"))
    assert error_correlation(a, a[::-1]) == pytest.approx(1)
    assert error_correlation(a, ~a) == pytest.approx(-1)
    assert error_correlation(a, pd.Series([False, True], index=["y", "x"])) == pytest.approx(1)
    assert error_correlation(a, pd.Series(False, index=a.index)) is None
    assert error_correlation(a, pd.Series([True], index=["other"])) is None
