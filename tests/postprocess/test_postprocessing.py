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

MULTI, BINARY, ORDINAL, LABELS = (tasks.get(n) for n in ("multiclass", "binary", "ordinal", "multilabel"))


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def label_rows(metric="f1_macro", number=600, seed=0) -> LabeledProbs:
    """Labels whose probabilities are all too low."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((number, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.float32)
    logits = 3 * targets - 3.5 + rng.normal(size=targets.shape)
    probs = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return LabeledProbs(targets, probs, ("a", "b", "c", "d"), LABELS, get_metric(metric, LABELS))


def class_rows(
    metric, task=MULTI, number=1000, classes=3, sharpness=1.0, skew=(0.7, 0.2, 0.1), seed=0
) -> LabeledProbs:
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, number, p=skew)
    logits = 2 * np.eye(classes)[targets] + rng.normal(size=(number, classes)) + np.log(skew)
    names = tuple("abcdefgh"[:classes])
    return LabeledProbs(targets, softmax(sharpness * logits), names, task, get_metric(metric, task))


def ordinal_rows(number=800, seed=0) -> LabeledProbs:
    rng = np.random.default_rng(seed)
    grades = np.clip(rng.normal(1.2, 1.1, number).round(), 0, 4).astype(np.int64)
    seen = 0.6 * grades + 0.9 + 0.4 * rng.normal(size=number)  # drawn to the middle, as a network's are
    probs = softmax(-((np.arange(5) - seen[:, None]) ** 2))
    return LabeledProbs(grades, probs, tuple("01234"), ORDINAL, get_metric("quadratic_kappa", ORDINAL))


def parts(rows, number=5):
    return np.arange(len(rows.targets)) % number


def named(*asked):
    return [Component.model_validate(each) for each in asked]


def value_with(rows, postprocessing):
    answers = postprocessing.apply(rows.probs, rows.task)
    return rows.value(answers.probs, answers.decided)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("temperature", class_rows("log_loss", sharpness=3.0)),
        ("temperature", replace(label_rows("log_loss"))),
        ("prior", class_rows("balanced_accuracy")),
        ("thresholds", label_rows()),
        ("thresholds", label_rows("f1_micro")),
        ("thresholds", label_rows("exact_match")),
        ("thresholds", class_rows("f1_macro", BINARY, classes=2, skew=(0.9, 0.1))),
        ("cut_points", ordinal_rows()),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.task.name} {value.metric.name}",
)
def test_what_is_learned_helps_its_metric_also_on_rows_left_out(name, rows):
    postprocessing = fit_steps(named(name), rows)
    assert value_with(rows, postprocessing) > rows.value(rows.probs)
    nested = nested_predictions(named(name), rows, parts(rows))
    assert rows.value(nested.probs, nested.decided) > rows.value(rows.probs)
    assert [step["name"] for step in postprocessing.as_list()] == [name]
    assert name in suggested(rows)


def test_temperature_undoes_a_sharpening():
    rows = class_rows("log_loss", sharpness=1.0)
    calm = fit_steps(named("temperature"), rows).steps[0]
    sharp = fit_steps(named("temperature"), class_rows("log_loss", sharpness=3.0)).steps[0]
    assert isinstance(calm, Temperature)
    assert isinstance(sharp, Temperature)
    assert sharp.value / calm.value == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(Temperature(1.0).adjust(rows.probs, MULTI), rows.probs, atol=1e-6)
    labels = label_rows()
    np.testing.assert_allclose(Temperature(1.0).adjust(labels.probs, LABELS), labels.probs, atol=1e-6)


def test_temperature_does_not_change_who_is_first():
    rows = class_rows("accuracy")
    cooled = Temperature(2.5).adjust(rows.probs, MULTI)
    assert (cooled.argmax(axis=1) == rows.probs.argmax(axis=1)).all()
    np.testing.assert_allclose(cooled.sum(axis=1), 1, atol=1e-6)


def test_the_prior_is_divided_out():
    adjusted = Prior(1.0, (0.8, 0.2)).adjust(np.array([[0.8, 0.2], [0.5, 0.5]]), MULTI)
    np.testing.assert_allclose(adjusted, [[0.5, 0.5], [0.2, 0.8]], atol=1e-6)
    rows = class_rows("balanced_accuracy")
    step = fit_steps(named("prior"), rows).steps[0]
    reached = balanced_accuracy_score(rows.targets, step.adjust(rows.probs, MULTI).argmax(axis=1))
    assert reached > balanced_accuracy_score(rows.targets, rows.probs.argmax(axis=1)) + 0.05
    assert 0.5 < step.strength <= 1.5


def test_rules_beside_thresholds():
    probs = np.array([[0.9, 0.8, 0.7, 0.1], [0.1, 0.4, 0.2, 0.3], [0.1, 0.2, 0.6, 0.55]])
    plainly = Thresholds((0.5,) * 4)
    assert plainly.predict_labels(probs, LABELS).tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    at_least = Thresholds((0.5,) * 4, at_least_one=True)
    assert at_least.predict_labels(probs, LABELS)[1].tolist() == [0, 1, 0, 0]
    nearest = Thresholds((0.5, 0.9, 0.5, 0.31), at_least_one=True)
    assert nearest.predict_labels(probs, LABELS)[1].tolist() == [0, 0, 0, 1]
    at_most = Thresholds((0.5,) * 4, at_most=1)
    assert at_most.predict_labels(probs, LABELS).sum(axis=1).tolist() == [1, 0, 1]
    assert at_most.predict_labels(probs, LABELS)[2].tolist() == [0, 0, 1, 0]
    fallback = Thresholds((0.5,) * 4, fallback=3)
    assert fallback.predict_labels(probs, LABELS)[1].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("asked", [{"at_least_one": True}, {"at_most": 1}, {"fallback": "a"}, {"per": "all"}])
def test_thresholds_with_rules_are_learned_under_the_rules(asked):
    rows = label_rows("f1_samples")
    postprocessing = fit_steps(named({"name": "thresholds", **asked}), rows)
    given = postprocessing.apply(rows.probs, LABELS).decided
    if "at_least_one" in asked or "fallback" in asked:
        assert (given.sum(axis=1) >= 1).all()
    if "at_most" in asked:
        assert (given.sum(axis=1) <= 1).all()
    if "per" in asked:
        assert len(set(postprocessing.steps[0].values)) == 1
    rules = replace(postprocessing.steps[0], values=(0.5,) * 4)
    assert value_with(rows, postprocessing) >= rows.value(
        rows.probs, rules.predict_labels(rows.probs, LABELS)
    )


def test_thresholds_for_f1_agree_with_scikit_learn():
    rows = label_rows()
    postprocessing = fit_steps(named("thresholds"), rows)
    given = postprocessing.apply(rows.probs, LABELS).decided
    reached = f1_score(rows.targets, given, average="macro")
    grid = [
        max(
            f1_score(rows.targets[:, c], rows.probs[:, c] >= t, zero_division=0)
            for t in np.linspace(0, 1, 201)
        )
        for c in range(4)
    ]
    assert reached >= np.mean(grid) - 1e-9


def test_cut_points_agree_with_a_search_over_a_grid():
    rows = ordinal_rows(300)
    step = fit_steps(named("cut_points"), rows).steps[0]
    assert isinstance(step, CutPoints)
    assert list(step.values) == sorted(step.values)
    reached = cohen_kappa_score(rows.targets, step.predict_labels(rows.probs, ORDINAL), weights="quadratic")
    rng = np.random.default_rng(0)
    tried = [
        CutPoints(tuple(np.sort(rng.uniform(0.5, 3.5, 4)))).predict_labels(rows.probs, ORDINAL)
        for _ in range(300)
    ]
    assert reached >= max(cohen_kappa_score(rows.targets, t, weights="quadratic") for t in tried)


def test_steps_follow_one_another():
    rows = label_rows()
    both = fit_steps(named("temperature", "thresholds"), rows)
    cooled = both.steps[0].adjust(rows.probs, LABELS)
    alone = fit_steps(named("thresholds"), replace(rows, probs=cooled))
    assert both.steps[1] == alone.steps[0]


def test_auto_keeps_what_helps_beyond_noise_and_nothing_else():
    helped = fit_and_evaluate(named("auto"), label_rows(), parts(label_rows()), None)
    assert [step.name for step in helped.postprocessing.steps] == ["thresholds"]
    assert helped.tried[0].shipped
    assert helped.tried[0].interval.is_above_zero
    rng = np.random.default_rng(0)
    noise = replace(label_rows("label_accuracy"), probs=rng.random((600, 4)).astype(np.float32) * 0.4)
    useless = fit_and_evaluate(named("auto"), noise, parts(noise), None)
    assert not useless.tried[0].shipped
    assert [worth.steps for worth in useless.tried] == [["thresholds"]]
    assert useless.postprocessing == Postprocessing()
    np.testing.assert_array_equal(useless.nested.decided, plain(noise).decided)
    nothing = class_rows("accuracy")
    assert fit_and_evaluate(named("auto"), nothing, parts(nothing), None).tried == []


def test_what_is_named_is_shipped_and_its_worth_told_whatever_it_is():
    rng = np.random.default_rng(0)
    rows = replace(label_rows(), probs=rng.random((600, 4)).astype(np.float32))
    outcome = fit_and_evaluate(named("thresholds"), rows, parts(rows), None)
    [worth] = outcome.tried
    assert worth.shipped
    assert worth.fitted > worth.score
    assert worth.interval.low <= worth.gain <= worth.interval.high


def test_of_noise_the_fitted_score_is_optimistic_and_the_nested_one_is_not():
    gaps = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        targets = (rng.random((60, 8)) < 0.3).astype(np.float32)
        rows = LabeledProbs(
            targets,
            rng.random((60, 8)).astype(np.float32),
            tuple("abcdefgh"),
            LABELS,
            get_metric("matthews", LABELS),
        )
        worth = fit_and_evaluate(named("thresholds"), rows, parts(rows), None).tried[0]
        gaps.append((worth.fitted, worth.score))
    shown, honest = np.mean(gaps, axis=0)
    assert shown > 0.15
    assert abs(honest) < 0.08


def test_labels_of_a_part_do_not_reach_its_own_answers():
    rows = label_rows()
    split = parts(rows)
    before = nested_predictions(named("thresholds"), rows, split)
    targets = rows.targets.copy()
    targets[split == 1] = 1 - targets[split == 1]
    after = nested_predictions(named("thresholds"), replace(rows, targets=targets), split)
    np.testing.assert_array_equal(before.decided[split == 1], after.decided[split == 1])
    assert (before.decided != after.decided).any()


def test_what_cannot_be_learned_is_refused():
    with raises_kit_error("unknown_name"):
        check_steps(named("treshold"), LABELS, 4)
    with raises_kit_error("unknown_option", where="decide.thresholds.pr"):
        check_steps(named({"name": "thresholds", "pr": "all"}), LABELS, 4)
    with raises_kit_error("step_unsuitable"):
        check_steps(named("cut_points"), LABELS, 4)
    with raises_kit_error("unknown_class"):
        fit_steps(named({"name": "thresholds", "fallback": "z"}), label_rows())
    with raises_kit_error("options_conflict"):
        fit_steps(named({"name": "thresholds", "fallback": "a", "at_least_one": True}), label_rows())


@pytest.mark.parametrize("name", list(step_types))
def test_every_decision_suits_some_task_and_tells_what_it_learned(name):
    rows = {
        "temperature": class_rows("log_loss"),
        "prior": class_rows("balanced_accuracy"),
        "thresholds": label_rows(),
        "cut_points": ordinal_rows(),
    }[name]
    step = fit_steps(named(name), rows).steps[0]
    assert any(character.isdigit() for character in step.describe(rows.classes))


def test_a_step_decides_on_probabilities_as_they_are_at_its_turn():
    rows = label_rows()
    alone = fit_steps(named("thresholds"), rows).apply(rows.probs, LABELS)
    followed = fit_steps(named("thresholds", "temperature"), rows).apply(rows.probs, LABELS)
    np.testing.assert_array_equal(alone.decided, followed.decided)
    assert (alone.probs != followed.probs).any()


def test_a_gain_is_positive_where_a_loss_falls():
    rows = class_rows("log_loss", sharpness=3.0)
    [worth] = fit_and_evaluate(named("temperature"), rows, parts(rows), None).tried
    before = rows.metric(rows.targets, rows.probs, MULTI)
    assert worth.score < before
    assert worth.gain == pytest.approx(before - worth.score)
    assert 0 < worth.interval.low <= worth.gain <= worth.interval.high


def test_of_equal_strengths_the_one_that_changes_least_is_taken():
    rows = class_rows("balanced_accuracy")
    sure = replace(rows, probs=(np.eye(3)[rows.targets] * 0.998 + 0.0006).astype(np.float32))
    assert fit_steps(named("prior"), sure).steps[0].strength == pytest.approx(0)


def test_a_class_that_occurs_nowhere_does_not_spoil_the_prior():
    rows = class_rows("balanced_accuracy")
    wide = np.concatenate([rows.probs * 0.999, np.full((1000, 1), 0.001)], axis=1).astype(np.float32)
    gain = [
        value_with(each, fit_steps(named("prior"), each)) - each.value(each.probs)
        for each in (rows, replace(rows, probs=wide, classes=(*rows.classes, "rare")))
    ]
    assert gain[1] == pytest.approx(gain[0], abs=0.01)


def test_neighbouring_probabilities_are_told_apart_by_a_threshold_between_them():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    probs = np.array([[1 - low, low], [1 - high, high]], dtype=np.float32)
    between = (float(low) + float(high)) / 2
    assert Thresholds((1 - between, between)).predict_labels(probs, BINARY).tolist() == [0, 1]


def test_where_no_row_can_be_left_out_nothing_is_learned():
    rows = label_rows()
    together = np.zeros(600, dtype=int)
    assert fit_and_evaluate(named("auto"), rows, together, None).tried == []
    assert fit_and_evaluate(named("thresholds"), rows, together, None).postprocessing == Postprocessing()


def test_too_few_groups_prove_nothing():
    rows = label_rows()
    units = np.arange(600) % 3
    [worth] = fit_and_evaluate(named("auto"), rows, parts(rows), units).tried
    assert not worth.shipped
    assert worth.interval.text() == "none: too few rows or groups"


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
        check_steps(named(*steps), LABELS, 4)


def test_rules_for_several_labels_are_refused_where_classes_exclude_each_other():
    rows = class_rows("f1", BINARY, classes=2, skew=(0.9, 0.1))
    with raises_kit_error("option_unsuitable"):
        fit_steps(named({"name": "thresholds", "at_most": 1}), rows)


def test_steps_come_back_from_json_as_they_were():
    steps = (
        Temperature(1.5),
        Prior(0.5, (0.1, 0.9)),
        Thresholds((0.2, 0.8), at_most=3, fallback=1),
        CutPoints((0.5, 1.25)),
    )
    given = Postprocessing(steps)
    assert Postprocessing.from_list(json.loads(json.dumps(given.as_list()))) == given
