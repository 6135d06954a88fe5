"""The round-trip check: a written submission says what the model predicts, and scores the same."""

from dataclasses import replace

import numpy as np
import pytest

from kit.errors import KitError
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics import get_metric
from kit.postprocess.postprocessing import Postprocessing
from kit.postprocess.steps.thresholds import Thresholds
from kit.predictions import FinalPredictions
from kit.submission.round_trip import final_for_format, in_format_order, round_trip
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.spec import CsvDialect, SubmissionFormat, text_column
from kit.tasks import tasks
from tests.conftest import raises_kit_error
from tests.submission.permuted import Permuted
from tests.submission_format.public import predictions

CLASSES = ("2", "10", "red")
IDS = tuple(str(number) for number in range(50))


def form(kind="label", columns=("Label",), classes=CLASSES, **more) -> SubmissionFormat:
    return SubmissionFormat(
        ("ID", *columns), "ID", submission_kinds.get(kind), text_column(["x"]), tuple(classes), **more
    )


def scored(
    metric="accuracy", task="multiclass", classes=CLASSES, targets=None, **options
) -> LabeledPredictions:
    oof, kind = predictions(IDS, classes, task), tasks.get(task)
    drawn = np.random.default_rng(1).integers(0, len(classes), len(IDS)) if targets is None else targets
    parts = np.arange(len(IDS)) % 2
    chosen = get_metric(metric, kind)
    return LabeledPredictions(
        oof, [parts == 0, parts == 1], drawn, parts, None, kind, replace(chosen, **options)
    )


def trip(given: LabeledPredictions, wanted, decision=None, cv=None):
    answers = (decision or Postprocessing()).apply(given.oof.probs, given.task)
    held = final_for_format(wanted, answers, decision or Postprocessing(), given.oof)
    score = given.metric(given.targets, answers.probs, given.task, held.decided) if cv is None else cv
    return round_trip(given, held, wanted, score, "submissions/c/a.csv")


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("accuracy", form()),
        ("accuracy", form(dialect=CsvDialect(newline="\r\n", quoted=frozenset({1})))),
        ("log_loss", form("probabilities", ("red", "2", "10"))),
        ("map_at_k", form("top_k", most=3)),
        ("accuracy", form("top_k", most=1)),
        ("f1_macro", form("flags", ("10", "red", "2"), words=("no", "yes"))),
    ],
)
def test_the_round_trip_reproduces_the_cv_score(metric, wanted):
    given = scored(metric)
    if metric == "map_at_k":
        given = replace(given, metric=replace(given.metric, options={"k": 3}))
    assert trip(given, wanted).score == pytest.approx(given.score(), abs=1e-12)


def test_a_form_that_keeps_less_than_the_metric_needs_has_no_score():
    assert trip(scored("log_loss"), form()).score is None
    assert trip(scored("map_at_k"), form("top_k", most=2)).score is None  # of five


def test_another_score_is_refused():
    with raises_kit_error("round_trip_score", where="submissions/c/a.csv") as caught:
        trip(scored(), form(), cv=0.123)
    assert "accuracy 0.123000" in caught.value.problem


def test_predictions_meet_the_form_by_class_name():
    """The form's classes may stand in another order than those of the predictions."""
    given = scored()
    for wanted in (form(classes=("red", "2", "10")), form("probabilities", CLASSES, ("10", "red", "2"))):
        assert trip(given, wanted).score == pytest.approx(given.score(), abs=1e-12)


def test_rows_that_differ_are_named(monkeypatch):
    monkeypatch.setitem(submission_kinds._entries, "label", Permuted(submission_kinds.get("label")))
    given = scored()
    with raises_kit_error("round_trip_rows") as caught:
        trip(given, form())
    decided = given.task.decide(given.oof.probs)
    changed = [i for i in sorted(IDS) if decided[int(i)] != 2]  # red stays where it is, 2 and 10 do not
    assert f"{len(changed)} of 50" in caught.value.problem
    assert ", ".join(changed[:3]) in caught.value.problem


def test_classes_spelled_as_in_the_sample_mean_the_same_and_no_other():
    given = scored(task="binary", classes=("0", "1"), targets=np.arange(50) % 2)
    spelled = form(classes=("0", "1"), spelled=("False", "True"))
    assert trip(given, spelled).score == given.score()
    with raises_kit_error("round_trip_rows"):
        trip(given, replace(spelled, spelled=("True", "False")))


def test_a_score_of_two_classes_loses_nothing_even_for_log_loss():
    rng, binary = np.random.default_rng(3), tasks.get("binary")
    for confidence in (0.01, 1.0):
        raw = rng.dirichlet([confidence, confidence], 50)
        given = scored("log_loss", "binary", ("no", "yes"), np.arange(50) % 2)
        given = replace(given, oof=replace(given.oof, probs=binary.normalized(raw)))
        wanted = form("score", ("has",), ("no", "yes"))
        assert trip(given, wanted).score == pytest.approx(given.score(), abs=1e-12)


def test_the_round_trip_uses_the_learned_decision():
    """A threshold other than one half changes the labels of the file, and so the score that it gives."""
    given = scored("f1", "binary", ("no", "yes"), np.arange(50) % 2)
    truth = (given.oof.probs[:, 1] > 0.2).astype(int)
    given = replace(given, targets=truth)
    low = Postprocessing((Thresholds((0.8, 0.2)),))
    assert trip(given, form(classes=("no", "yes")), low).score == 1.0
    assert trip(given, form(classes=("no", "yes"))).score < 0.95
    numbers = form("score", ("yes",), ("no", "yes"))
    assert trip(given, numbers, low).score == 1.0
    answers = low.apply(given.oof.probs, given.task)
    assert set(final_for_format(numbers, answers, low, given.oof).probs[:, 1]) == {0.0, 1.0}
    assert final_for_format(numbers, answers, Postprocessing(), given.oof) is answers


def test_decimals_may_cost_a_little_and_that_is_told():
    given = scored("log_loss", targets=predictions(IDS, CLASSES, "multiclass").probs.argmax(axis=1))
    exact = trip(given, form("probabilities", CLASSES))
    rounded = trip(given, form("probabilities", CLASSES, decimals=1))
    assert exact.lost == 0.0
    assert rounded.score - given.score() == pytest.approx(rounded.lost, abs=1e-12)
    assert abs(rounded.lost) > 1e-4


def test_an_image_without_a_class_gets_the_fallback():
    truth = np.zeros((50, 3), dtype=np.float32)
    truth[:, 2] = 1
    given = scored("f1_samples", "multilabel", targets=truth)
    given = replace(given, oof=replace(given.oof, probs=np.full((50, 3), 0.1, np.float32)))
    assert trip(given, form("labels", exclusive=False, blank=True)).score == 0.0
    assert trip(given, form("labels", exclusive=False, fallback="red")).score == 1.0
    assert trip(given, form("labels", exclusive=False, fallback="nothing at all")).score == 0.0
    sure = replace(given, oof=replace(given.oof, probs=np.full((50, 3), [0.9, 0.1, 0.1], np.float32)))
    assert trip(sure, form("labels", exclusive=False, fallback="red")).score == 0.0


def test_expected_grades_score_as_they_are_written():
    grades = tuple(str(number) for number in range(1, 8))
    given = scored("rmse", "ordinal", grades)
    wanted = form("value", ("grade",), grades, low=1.0, high=7.0)
    assert trip(given, wanted).score == pytest.approx(given.score(), rel=1e-6)


def test_an_image_without_a_prediction_is_refused():
    given = predictions(["b"], CLASSES, "multiclass")
    wanted = replace(form(), ids=text_column(["a", "b"]))
    with pytest.raises(KitError) as caught:
        in_format_order(FinalPredictions(given.probs, np.array([0])), given, wanted)
    assert "1 ids (a)" in caught.value.problem
