"""The round-trip check reads a submission back and compares its rows and its score with the predictions."""

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
from tests.submission.text_order import TextOrderKind
from tests.submission_format.public import predictions

CLASSES = ("2", "10", "red")
IDS = tuple(str(number) for number in range(50))


def make_format(kind="label", columns=("Label",), classes=CLASSES, **more) -> SubmissionFormat:
    return SubmissionFormat(
        ("ID", *columns), "ID", submission_kinds.get(kind), text_column(["x"]), tuple(classes), **more
    )


def labeled_predictions(
    metric="accuracy", task="multiclass", classes=CLASSES, targets=None, **options
) -> LabeledPredictions:
    oof, kind = predictions(IDS, classes, task), tasks.get(task)
    drawn = np.random.default_rng(1).integers(0, len(classes), len(IDS)) if targets is None else targets
    parts = np.arange(len(IDS)) % 2
    chosen = get_metric(metric, kind)
    return LabeledPredictions(
        oof, [parts == 0, parts == 1], drawn, parts, None, kind, replace(chosen, **options)
    )


def check_round_trip(labeled: LabeledPredictions, submission_format, postprocessing=None, cv=None):
    final = (postprocessing or Postprocessing()).apply(labeled.oof.probs, labeled.task)
    written = final_for_format(submission_format, final, postprocessing or Postprocessing(), labeled.oof)
    score = labeled.metric(labeled.targets, final.probs, labeled.task, written.decided) if cv is None else cv
    return round_trip(labeled, written, submission_format, score, "submissions/c/a.csv")


@pytest.mark.parametrize(
    ("metric", "submission_format"),
    [
        ("accuracy", make_format()),
        ("accuracy", make_format(dialect=CsvDialect(newline="\r\n", quoted=frozenset({1})))),
        ("log_loss", make_format("probabilities", ("red", "2", "10"))),
        ("map_at_k", make_format("top_k", most=3)),
        ("accuracy", make_format("top_k", most=1)),
        ("f1_macro", make_format("flags", ("10", "red", "2"), words=("no", "yes"))),
    ],
)
def test_the_round_trip_reproduces_the_cv_score(metric, submission_format):
    labeled = labeled_predictions(metric)
    if metric == "map_at_k":
        labeled = replace(labeled, metric=replace(labeled.metric, options={"k": 3}))
    assert check_round_trip(labeled, submission_format).score == pytest.approx(labeled.score(), abs=1e-12)


def test_a_format_with_too_little_information_for_the_metric_gives_no_score():
    assert check_round_trip(labeled_predictions("log_loss"), make_format()).score is None
    # map_at_k reads five classes by default, the file has two.
    assert check_round_trip(labeled_predictions("map_at_k"), make_format("top_k", most=2)).score is None


def test_a_score_that_differs_from_cv_is_refused():
    with raises_kit_error("round_trip_score", where="submissions/c/a.csv") as caught:
        check_round_trip(labeled_predictions(), make_format(), cv=0.123)
    assert "accuracy 0.123000" in caught.value.problem


def test_columns_are_joined_by_class_name():
    """The format may list the classes in another order than the predictions do."""
    labeled = labeled_predictions()
    for submission_format in (
        make_format(classes=("red", "2", "10")),
        make_format("probabilities", CLASSES, ("10", "red", "2")),
    ):
        assert check_round_trip(labeled, submission_format).score == pytest.approx(labeled.score(), abs=1e-12)


def test_changed_rows_are_reported_with_their_ids(monkeypatch):
    monkeypatch.setitem(submission_kinds._entries, "label", TextOrderKind(submission_kinds.get("label")))
    labeled = labeled_predictions()
    with raises_kit_error("round_trip_rows") as caught:
        check_round_trip(labeled, make_format())
    predicted = labeled.task.decide(labeled.oof.probs)
    changed = [i for i in sorted(IDS) if predicted[int(i)] != 2]  # only 2 and 10 change places
    assert f"{len(changed)} of 50" in caught.value.problem
    assert ", ".join(changed[:3]) in caught.value.problem


def test_class_spellings_of_the_sample_are_read_back_as_the_right_classes():
    labeled = labeled_predictions(task="binary", classes=("0", "1"), targets=np.arange(50) % 2)
    spelled = make_format(classes=("0", "1"), spelled=("False", "True"))
    assert check_round_trip(labeled, spelled).score == labeled.score()
    with raises_kit_error("round_trip_rows"):
        check_round_trip(labeled, replace(spelled, spelled=("True", "False")))


def test_kind_score_keeps_the_log_loss_of_two_classes():
    rng, binary = np.random.default_rng(3), tasks.get("binary")
    for confidence in (0.01, 1.0):
        raw = rng.dirichlet([confidence, confidence], 50)
        labeled = labeled_predictions("log_loss", "binary", ("no", "yes"), np.arange(50) % 2)
        labeled = replace(labeled, oof=replace(labeled.oof, probs=binary.normalized(raw)))
        submission_format = make_format("score", ("has",), ("no", "yes"))
        assert check_round_trip(labeled, submission_format).score == pytest.approx(labeled.score(), abs=1e-12)


def test_the_round_trip_uses_the_learned_thresholds():
    """A threshold other than one half changes the labels in the file, and so the score of the file."""
    labeled = labeled_predictions("f1", "binary", ("no", "yes"), np.arange(50) % 2)
    truth = (labeled.oof.probs[:, 1] > 0.2).astype(int)
    labeled = replace(labeled, targets=truth)
    low = Postprocessing((Thresholds((0.8, 0.2)),))
    assert check_round_trip(labeled, make_format(classes=("no", "yes")), low).score == 1.0
    assert check_round_trip(labeled, make_format(classes=("no", "yes"))).score < 0.95
    numbers = make_format("score", ("yes",), ("no", "yes"))
    assert check_round_trip(labeled, numbers, low).score == 1.0
    final = low.apply(labeled.oof.probs, labeled.task)
    assert set(final_for_format(numbers, final, low, labeled.oof).probs[:, 1]) == {0.0, 1.0}
    assert final_for_format(numbers, final, Postprocessing(), labeled.oof) is final


def test_the_score_lost_to_rounding_is_reported():
    labeled = labeled_predictions(
        "log_loss", targets=predictions(IDS, CLASSES, "multiclass").probs.argmax(axis=1)
    )
    exact = check_round_trip(labeled, make_format("probabilities", CLASSES))
    rounded = check_round_trip(labeled, make_format("probabilities", CLASSES, decimals=1))
    assert exact.lost == 0.0
    assert rounded.score - labeled.score() == pytest.approx(rounded.lost, abs=1e-12)
    assert abs(rounded.lost) > 1e-4


def test_an_image_without_a_class_gets_the_fallback():
    truth = np.zeros((50, 3), dtype=np.float32)
    truth[:, 2] = 1
    labeled = labeled_predictions("f1_samples", "multilabel", targets=truth)
    labeled = replace(labeled, oof=replace(labeled.oof, probs=np.full((50, 3), 0.1, np.float32)))
    assert check_round_trip(labeled, make_format("labels", exclusive=False, blank=True)).score == 0.0
    assert check_round_trip(labeled, make_format("labels", exclusive=False, fallback="red")).score == 1.0
    assert (
        check_round_trip(labeled, make_format("labels", exclusive=False, fallback="nothing at all")).score
        == 0.0
    )
    confident = replace(
        labeled, oof=replace(labeled.oof, probs=np.full((50, 3), [0.9, 0.1, 0.1], np.float32))
    )
    assert check_round_trip(confident, make_format("labels", exclusive=False, fallback="red")).score == 0.0


def test_kind_value_keeps_the_rmse_of_expected_grades():
    grades = tuple(str(number) for number in range(1, 8))
    labeled = labeled_predictions("rmse", "ordinal", grades)
    submission_format = make_format("value", ("grade",), grades, low=1.0, high=7.0)
    assert check_round_trip(labeled, submission_format).score == pytest.approx(labeled.score(), rel=1e-6)


def labeled_numbers(metric="rmse", offset=0.0):
    task, rng = tasks.get("regression"), np.random.default_rng(2)
    targets = offset + rng.gamma(2.0, 20.0, (len(IDS), 1))
    numbers = (targets + rng.normal(0, 15, targets.shape)).astype(np.float32)
    labeled = labeled_predictions()
    oof = replace(labeled.oof, classes=("value",), probs=numbers)
    return replace(labeled, oof=oof, targets=targets, task=task, metric=get_metric(metric, task))


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2", "spearman"])
@pytest.mark.parametrize("mark", [".", ","])
def test_kind_value_keeps_the_score_of_numbers(metric, mark):
    dialect = CsvDialect(delimiter=";", decimal_mark=mark)
    form = make_format("value", ("age",), ("value",), exclusive=False, low=-np.inf, high=np.inf)
    labeled = labeled_numbers(metric, offset=-30.0)
    found = check_round_trip(labeled, replace(form, dialect=dialect))
    assert (found.score, found.lost) == (pytest.approx(labeled.score(), rel=1e-12), 0.0)
    rounded = check_round_trip(labeled, replace(form, decimals=1, dialect=dialect))
    assert rounded.score == pytest.approx(labeled.score(), abs=0.05)


def test_large_errors_are_compared_relative_to_their_size():
    labeled = labeled_numbers(offset=1e12)
    form = make_format("value", ("age",), ("value",), exclusive=False, low=-np.inf, high=np.inf)
    assert check_round_trip(labeled, form, cv=labeled.score() * (1 + 1e-11)).lost == 0.0
    with raises_kit_error("round_trip_score"):
        check_round_trip(labeled, form, cv=labeled.score() * (1 + 1e-8))


def test_numbers_below_the_lowest_that_the_metric_scores_are_written_as_it_which_is_told():
    labeled = labeled_numbers("rmsle")
    form = make_format("value", ("age",), ("value",), exclusive=False, low=0.0, high=np.inf)
    below = int((labeled.oof.probs < 0).sum())
    assert below > 0
    assert check_round_trip(labeled, form).score == pytest.approx(labeled.score(), abs=1e-12)
    final = Postprocessing().apply(labeled.oof.probs, labeled.task)
    (told,) = form.kind.changes(final, form)
    assert told.startswith(f"{below} numbers below 0")
    assert form.kind.changes(final, replace(form, low=-np.inf)) == []


def test_an_image_without_a_prediction_is_refused():
    predicted = predictions(["b"], CLASSES, "multiclass")
    submission_format = replace(make_format(), ids=text_column(["a", "b"]))
    with pytest.raises(KitError) as caught:
        in_format_order(FinalPredictions(predicted.probs, np.array([0])), predicted, submission_format)
    assert "1 id (a)" in caught.value.problem
