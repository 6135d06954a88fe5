"""Postprocessing steps are fitted on OOF rows, evaluated by nested cross-validation and kept if they help."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score

from kit.config import Component
from kit.metrics import get_metric
from kit.postprocess.nested_cv import fit_and_evaluate, nested_predictions, plain, suggested
from kit.postprocess.postprocessing import Postprocessing, check_steps, fit_steps
from kit.postprocess.step import LabeledProbs, step_types
from kit.postprocess.steps.cut_points import CutPoints
from kit.postprocess.steps.prior import Prior
from kit.postprocess.steps.temperature import Temperature
from kit.postprocess.steps.thresholds import Thresholds
from kit.tasks import tasks
from tests.conftest import raises_kit_error

MULTICLASS, BINARY, ORDINAL, MULTILABEL, REGRESSION = (
    tasks.get(n) for n in ("multiclass", "binary", "ordinal", "multilabel", "regression")
)


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def multilabel_rows(metric="f1_macro", number=600, seed=0) -> LabeledProbs:
    """Return multilabel rows whose probabilities are all too low."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((number, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.float32)
    logits = 3 * targets - 3.5 + rng.normal(size=targets.shape)
    probs = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return LabeledProbs(targets, probs, ("a", "b", "c", "d"), MULTILABEL, get_metric(metric, MULTILABEL))


def exclusive_rows(
    metric, task=MULTICLASS, number=1000, classes=3, sharpness=1.0, skew=(0.7, 0.2, 0.1), seed=0
) -> LabeledProbs:
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, number, p=skew)
    logits = 2 * np.eye(classes)[targets] + rng.normal(size=(number, classes)) + np.log(skew)
    names = tuple("abcdefgh"[:classes])
    return LabeledProbs(targets, softmax(sharpness * logits), names, task, get_metric(metric, task))


def ordinal_rows(number=800, seed=0) -> LabeledProbs:
    rng = np.random.default_rng(seed)
    grades = np.clip(rng.normal(1.2, 1.1, number).round(), 0, 4).astype(np.int64)
    # Biased to the middle, as predictions of a network are.
    seen = 0.6 * grades + 0.9 + 0.4 * rng.normal(size=number)
    probs = softmax(-((np.arange(5) - seen[:, None]) ** 2))
    return LabeledProbs(grades, probs, tuple("01234"), ORDINAL, get_metric("quadratic_kappa", ORDINAL))


def regression_rows(number=400, seed=0) -> LabeledProbs:
    rng = np.random.default_rng(seed)
    targets = rng.uniform(0, 10, (number, 1))
    predicted = (targets + rng.normal(0, 3, (number, 1))).astype(np.float32)  # many outside 0..10
    return LabeledProbs(targets, predicted, ("value",), REGRESSION, get_metric("rmse", REGRESSION))


def split_rows(rows, number=5):
    return np.arange(len(rows.targets)) % number


def steps_of(*steps):
    return [Component.model_validate(each) for each in steps]


def score_with(rows, postprocessing):
    final = postprocessing.apply(rows.probs, rows.task)
    return rows.value(final.probs, final.decided)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("temperature", exclusive_rows("log_loss", sharpness=3.0)),
        ("temperature", replace(multilabel_rows("log_loss"))),
        ("prior", exclusive_rows("balanced_accuracy")),
        ("thresholds", multilabel_rows()),
        ("thresholds", multilabel_rows("f1_micro")),
        ("thresholds", multilabel_rows("exact_match")),
        ("thresholds", exclusive_rows("f1_macro", BINARY, classes=2, skew=(0.9, 0.1))),
        ("cut_points", ordinal_rows()),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.task.name} {value.metric.name}",
)
def test_each_step_improves_its_metric_also_on_rows_left_out(name, rows):
    postprocessing = fit_steps(steps_of(name), rows)
    assert score_with(rows, postprocessing) > rows.value(rows.probs)
    nested = nested_predictions(steps_of(name), rows, split_rows(rows))
    assert rows.value(nested.probs, nested.decided) > rows.value(rows.probs)
    assert [step["name"] for step in postprocessing.as_list()] == [name]
    assert name in suggested(rows)


def test_temperature_undoes_sharpened_probs():
    rows = exclusive_rows("log_loss", sharpness=1.0)
    unchanged = fit_steps(steps_of("temperature"), rows).steps[0]
    sharpened = fit_steps(steps_of("temperature"), exclusive_rows("log_loss", sharpness=3.0)).steps[0]
    assert isinstance(unchanged, Temperature)
    assert isinstance(sharpened, Temperature)
    assert sharpened.value / unchanged.value == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(Temperature(1.0).adjust(rows.probs, MULTICLASS), rows.probs, atol=1e-6)
    labels = multilabel_rows()
    np.testing.assert_allclose(Temperature(1.0).adjust(labels.probs, MULTILABEL), labels.probs, atol=1e-6)


def test_temperature_does_not_change_the_predicted_class():
    rows = exclusive_rows("accuracy")
    adjusted = Temperature(2.5).adjust(rows.probs, MULTICLASS)
    assert (adjusted.argmax(axis=1) == rows.probs.argmax(axis=1)).all()
    np.testing.assert_allclose(adjusted.sum(axis=1), 1, atol=1e-6)


def test_prior_divides_probs_by_class_frequency():
    adjusted = Prior(1.0, (0.8, 0.2)).adjust(np.array([[0.8, 0.2], [0.5, 0.5]]), MULTICLASS)
    np.testing.assert_allclose(adjusted, [[0.5, 0.5], [0.2, 0.8]], atol=1e-6)
    rows = exclusive_rows("balanced_accuracy")
    step = fit_steps(steps_of("prior"), rows).steps[0]
    score = balanced_accuracy_score(rows.targets, step.adjust(rows.probs, MULTICLASS).argmax(axis=1))
    assert score > balanced_accuracy_score(rows.targets, rows.probs.argmax(axis=1)) + 0.05
    assert 0.5 < step.strength <= 1.5


def test_thresholds_with_at_least_one_at_most_and_fallback():
    probs = np.array([[0.9, 0.8, 0.7, 0.1], [0.1, 0.4, 0.2, 0.3], [0.1, 0.2, 0.6, 0.55]])
    no_rules = Thresholds((0.5,) * 4)
    assert no_rules.predict_labels(probs, MULTILABEL).tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    at_least = Thresholds((0.5,) * 4, at_least_one=True)
    assert at_least.predict_labels(probs, MULTILABEL)[1].tolist() == [0, 1, 0, 0]
    nearest = Thresholds((0.5, 0.9, 0.5, 0.31), at_least_one=True)
    assert nearest.predict_labels(probs, MULTILABEL)[1].tolist() == [0, 0, 0, 1]
    at_most = Thresholds((0.5,) * 4, at_most=1)
    assert at_most.predict_labels(probs, MULTILABEL).sum(axis=1).tolist() == [1, 0, 1]
    assert at_most.predict_labels(probs, MULTILABEL)[2].tolist() == [0, 0, 1, 0]
    fallback = Thresholds((0.5,) * 4, fallback=3)
    assert fallback.predict_labels(probs, MULTILABEL)[1].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "options", [{"at_least_one": True}, {"at_most": 1}, {"fallback": "a"}, {"per": "all"}]
)
def test_thresholds_are_fitted_with_their_rules_applied(options):
    rows = multilabel_rows("f1_samples")
    postprocessing = fit_steps(steps_of({"name": "thresholds", **options}), rows)
    predicted = postprocessing.apply(rows.probs, MULTILABEL).decided
    if "at_least_one" in options or "fallback" in options:
        assert (predicted.sum(axis=1) >= 1).all()
    if "at_most" in options:
        assert (predicted.sum(axis=1) <= 1).all()
    if "per" in options:
        assert len(set(postprocessing.steps[0].values)) == 1
    rules = replace(postprocessing.steps[0], values=(0.5,) * 4)
    assert score_with(rows, postprocessing) >= rows.value(
        rows.probs, rules.predict_labels(rows.probs, MULTILABEL)
    )


def test_thresholds_for_f1_are_as_good_as_a_grid_search_by_scikit_learn():
    rows = multilabel_rows()
    postprocessing = fit_steps(steps_of("thresholds"), rows)
    predicted = postprocessing.apply(rows.probs, MULTILABEL).decided
    score = f1_score(rows.targets, predicted, average="macro")
    grid = [
        max(
            f1_score(rows.targets[:, c], rows.probs[:, c] >= t, zero_division=0)
            for t in np.linspace(0, 1, 101)
        )
        for c in range(4)
    ]
    assert score >= np.mean(grid) - 1e-9


def test_cut_points_are_as_good_as_a_random_search():
    rows = ordinal_rows(300)
    step = fit_steps(steps_of("cut_points"), rows).steps[0]
    assert isinstance(step, CutPoints)
    assert list(step.values) == sorted(step.values)
    score = cohen_kappa_score(rows.targets, step.predict_labels(rows.probs, ORDINAL), weights="quadratic")
    rng = np.random.default_rng(0)
    tried = [
        CutPoints(tuple(np.sort(rng.uniform(0.5, 3.5, 4)))).predict_labels(rows.probs, ORDINAL)
        for _ in range(300)
    ]
    assert score >= max(cohen_kappa_score(rows.targets, t, weights="quadratic") for t in tried)


def test_a_step_is_fitted_on_the_probs_of_the_previous_step():
    rows = multilabel_rows()
    both = fit_steps(steps_of("temperature", "thresholds"), rows)
    adjusted = both.steps[0].adjust(rows.probs, MULTILABEL)
    alone = fit_steps(steps_of("thresholds"), replace(rows, probs=adjusted))
    assert both.steps[1] == alone.steps[0]


def test_auto_ships_only_steps_that_help_beyond_noise():
    helped = fit_and_evaluate(steps_of("auto"), multilabel_rows(), split_rows(multilabel_rows()), None)
    assert [step.name for step in helped.postprocessing.steps] == ["thresholds"]
    assert helped.tried[0].shipped
    assert helped.tried[0].interval.is_above_zero
    rng = np.random.default_rng(0)
    noise = replace(multilabel_rows("label_accuracy"), probs=rng.random((600, 4)).astype(np.float32) * 0.4)
    useless = fit_and_evaluate(steps_of("auto"), noise, split_rows(noise), None)
    assert not useless.tried[0].shipped
    assert [trial.steps for trial in useless.tried] == [["thresholds"]]
    assert useless.postprocessing == Postprocessing()
    np.testing.assert_array_equal(useless.nested.decided, plain(noise).decided)
    nothing = exclusive_rows("accuracy")
    assert fit_and_evaluate(steps_of("auto"), nothing, split_rows(nothing), None).tried == []


def test_named_steps_are_shipped_whatever_their_gain():
    rng = np.random.default_rng(0)
    rows = replace(multilabel_rows(), probs=rng.random((600, 4)).astype(np.float32))
    outcome = fit_and_evaluate(steps_of("thresholds"), rows, split_rows(rows), None)
    [trial] = outcome.tried
    assert trial.shipped
    assert trial.fitted > trial.score
    assert trial.interval.low <= trial.gain <= trial.interval.high


def test_on_random_probs_the_fitted_score_is_optimistic_and_the_nested_score_is_not():
    gaps = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        targets = (rng.random((60, 8)) < 0.3).astype(np.float32)
        rows = LabeledProbs(
            targets,
            rng.random((60, 8)).astype(np.float32),
            tuple("abcdefgh"),
            MULTILABEL,
            get_metric("matthews", MULTILABEL),
        )
        trial = fit_and_evaluate(steps_of("thresholds"), rows, split_rows(rows), None).tried[0]
        gaps.append((trial.fitted, trial.score))
    fitted, nested = np.mean(gaps, axis=0)
    assert fitted > 0.15
    assert abs(nested) < 0.08


def test_labels_of_a_part_do_not_change_its_own_nested_predictions():
    rows = multilabel_rows()
    split = split_rows(rows)
    before = nested_predictions(steps_of("thresholds"), rows, split)
    targets = rows.targets.copy()
    targets[split == 1] = 1 - targets[split == 1]
    after = nested_predictions(steps_of("thresholds"), replace(rows, targets=targets), split)
    np.testing.assert_array_equal(before.decided[split == 1], after.decided[split == 1])
    assert (before.decided != after.decided).any()


def test_unknown_or_unsuitable_steps_and_options_are_refused():
    with raises_kit_error("unknown_name"):
        check_steps(steps_of("treshold"), MULTILABEL, 4)
    with raises_kit_error("unknown_option", where="decide.thresholds.pr"):
        check_steps(steps_of({"name": "thresholds", "pr": "all"}), MULTILABEL, 4)
    with raises_kit_error("step_unsuitable"):
        check_steps(steps_of("cut_points"), MULTILABEL, 4)
    with raises_kit_error("unknown_class"):
        fit_steps(steps_of({"name": "thresholds", "fallback": "z"}), multilabel_rows())
    with raises_kit_error("options_conflict"):
        fit_steps(steps_of({"name": "thresholds", "fallback": "a", "at_least_one": True}), multilabel_rows())


def test_clip_keeps_numbers_within_the_range_of_the_other_rows_and_suits_numbers_only():
    rows = regression_rows()
    assert suggested(rows) == ["clip"]
    before = rows.probs.copy()
    fitted = fit_and_evaluate(steps_of("auto"), rows, split_rows(rows), None)
    assert [step.name for step in fitted.postprocessing.steps] == ["clip"]
    assert fitted.tried[0].score < fitted.tried[0].score + fitted.tried[0].gain
    for part in range(5):
        own = split_rows(rows) == part
        low, high = rows.targets[~own].min(), rows.targets[~own].max()
        np.testing.assert_array_equal(
            fitted.nested.probs[own], np.clip(rows.probs[own], np.float32(low), np.float32(high))
        )
    np.testing.assert_array_equal(rows.probs, before)
    with raises_kit_error("step_unsuitable"):
        check_steps(steps_of("temperature"), REGRESSION, 1)
    with raises_kit_error("step_unsuitable"):
        check_steps(steps_of("clip"), MULTICLASS, 3)


@pytest.mark.parametrize("name", list(step_types))
def test_every_step_describes_its_fitted_values(name):
    rows = {
        "temperature": exclusive_rows("log_loss"),
        "prior": exclusive_rows("balanced_accuracy"),
        "thresholds": multilabel_rows(),
        "cut_points": ordinal_rows(),
        "clip": regression_rows(),
        "new_class": exclusive_rows("map_at_k"),
    }[name]
    options = {"label": "c"} if name == "new_class" else {}
    step = fit_steps([Component(name=name, **options)], rows).steps[0]
    assert any(character.isdigit() for character in step.describe(rows.classes))


def new_class_rows(number=600, seed=0) -> LabeledProbs:
    """Return rows of four classes, the last of unknown objects, to which the model gives no probability."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(4, number)
    logits = rng.normal(size=(number, 4)) + 5 * np.eye(4)[targets] * (targets < 3)[:, None]
    logits[:, 3] = -20
    metric = get_metric(Component(name="map_at_k", k=2), MULTICLASS)
    return LabeledProbs(targets, softmax(logits), tuple("abcd"), MULTICLASS, metric)


def test_the_class_of_unknown_objects_is_ranked_by_a_threshold():
    rows = new_class_rows()
    steps = fit_steps([Component(name="new_class", label="d")], rows)
    final = steps.apply(rows.probs, MULTICLASS)
    assert rows.value(final.probs) > rows.value(rows.probs) + 0.1
    threshold = steps.steps[0].threshold
    known = rows.probs[:, :3].max(axis=1)
    np.testing.assert_array_equal(final.decided == 3, known < threshold)
    order = np.argsort(-rows.probs[:, :3], axis=1, kind="stable")
    np.testing.assert_array_equal(np.argsort(-final.probs[:, :3], axis=1, kind="stable"), order)
    assert Postprocessing.from_list(json.loads(json.dumps(steps.as_list()))) == steps


def test_a_class_without_images_ranks_last_unless_the_threshold_is_fixed():
    rows = new_class_rows()
    without = rows.subset(rows.targets != 3)
    last = fit_steps([Component(name="new_class", label="d")], without)
    assert (last.apply(rows.probs, MULTICLASS).decided != 3).all()
    assert "set a threshold" in last.steps[0].describe(rows.classes)
    fixed = fit_steps([Component(name="new_class", label="d", threshold=0.4)], without)
    assert fixed.steps[0].threshold == 0.4
    with raises_kit_error("unknown_name"):
        fit_steps([Component(name="new_class", label="e")], rows)


def test_a_later_step_does_not_change_labels_predicted_by_an_earlier_one():
    rows = multilabel_rows()
    alone = fit_steps(steps_of("thresholds"), rows).apply(rows.probs, MULTILABEL)
    followed = fit_steps(steps_of("thresholds", "temperature"), rows).apply(rows.probs, MULTILABEL)
    np.testing.assert_array_equal(alone.decided, followed.decided)
    assert (alone.probs != followed.probs).any()


def test_the_gain_is_positive_if_a_loss_decreases():
    rows = exclusive_rows("log_loss", sharpness=3.0)
    [trial] = fit_and_evaluate(steps_of("temperature"), rows, split_rows(rows), None).tried
    before = rows.metric(rows.targets, rows.probs, MULTICLASS)
    assert trial.score < before
    assert trial.gain == pytest.approx(before - trial.score)
    assert 0 < trial.interval.low <= trial.gain <= trial.interval.high


def test_with_equal_scores_the_prior_with_the_smallest_strength_is_chosen():
    rows = exclusive_rows("balanced_accuracy")
    confident = replace(rows, probs=(np.eye(3)[rows.targets] * 0.998 + 0.0006).astype(np.float32))
    assert fit_steps(steps_of("prior"), confident).steps[0].strength == pytest.approx(0)


def test_a_class_without_rows_does_not_change_the_gain_of_the_prior():
    rows = exclusive_rows("balanced_accuracy")
    wide = np.concatenate([rows.probs * 0.999, np.full((1000, 1), 0.001)], axis=1).astype(np.float32)
    gain = [
        score_with(each, fit_steps(steps_of("prior"), each)) - each.value(each.probs)
        for each in (rows, replace(rows, probs=wide, classes=(*rows.classes, "rare")))
    ]
    assert gain[1] == pytest.approx(gain[0], abs=0.01)


def test_a_threshold_separates_adjacent_float32_probs():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    probs = np.array([[1 - low, low], [1 - high, high]], dtype=np.float32)
    between = (float(low) + float(high)) / 2
    assert Thresholds((1 - between, between)).predict_labels(probs, BINARY).tolist() == [0, 1]


def test_with_a_single_part_nothing_is_fitted():
    rows = multilabel_rows()
    single_part = np.zeros(600, dtype=int)
    assert fit_and_evaluate(steps_of("auto"), rows, single_part, None).tried == []
    assert (
        fit_and_evaluate(steps_of("thresholds"), rows, single_part, None).postprocessing == Postprocessing()
    )


def test_with_too_few_groups_auto_ships_nothing():
    rows = multilabel_rows()
    units = np.arange(600) % 3
    [trial] = fit_and_evaluate(steps_of("auto"), rows, split_rows(rows), units).tried
    assert not trial.shipped
    assert trial.interval.text() == "none: too few rows or groups"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        (["auto", "prior"], "step_not_alone"),
        ([{"name": "none", "strength": 3}], "step_not_alone"),
        (["thresholds", "thresholds"], "duplicate_step"),
    ],
)
def test_contradictory_steps_are_refused(steps, code):
    with raises_kit_error(code):
        check_steps(steps_of(*steps), MULTILABEL, 4)


def test_multilabel_rules_are_refused_for_exclusive_classes():
    rows = exclusive_rows("f1", BINARY, classes=2, skew=(0.9, 0.1))
    with raises_kit_error("option_unsuitable"):
        fit_steps(steps_of({"name": "thresholds", "at_most": 1}), rows)


def test_steps_are_restored_from_json():
    steps = (
        Temperature(1.5),
        Prior(0.5, (0.1, 0.9)),
        Thresholds((0.2, 0.8), at_most=3, fallback=1),
        CutPoints((0.5, 1.25)),
    )
    predicted = Postprocessing(steps)
    assert Postprocessing.from_list(json.loads(json.dumps(predicted.as_list()))) == predicted
