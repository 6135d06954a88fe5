"""Evaluate a blend: the nested score is honest, the score on the fitted rows is optimistic."""

import numpy as np
import pytest

from kit.config import Component
from kit.ensemble import evaluate_blend as module
from kit.ensemble.blend_data import BlendData
from kit.ensemble.evaluate_blend import (
    FittedBlend,
    NestedScorer,
    evaluate_blend,
    fit_blend,
    fit_nested,
    nested_probs,
)
from kit.ensemble.methods import blend_methods
from kit.ensemble.methods.registry import BoundMethod
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics import get_metric
from kit.predictions import Origin, Predictions
from kit.tasks import tasks
from tests.conftest import raises_kit_error
from tests.ensemble.test_methods import blend_data

MULTI = tasks.get("multiclass")


def random_members(number=20, rows=300, classes=2, seed=0) -> BlendData:
    """Return members with random probabilities."""
    rng = np.random.default_rng(seed)
    members = rng.dirichlet(np.ones(classes), (number, rows)).astype(np.float32)
    return BlendData(members, rng.integers(0, classes, rows), MULTI, get_metric("accuracy", MULTI))


def probs_of(fit, data, split):
    return nested_probs(data, fit_nested(fit, data, split))


def split_rows(rows, number=5):
    return np.arange(rows) % number


def method(name, **options):
    return BoundMethod(blend_methods.get(name), options)


def scorer_of(data, *steps):
    """Return a scorer of these rows that fits the postprocessing steps."""
    num_rows, num_classes = data.members.shape[1:]
    names = tuple("abcdefgh"[:num_classes])
    origin = Origin("oof", data.task.name, "c/x", "f", (), "m", "i")
    oof = Predictions(tuple(f"{n}" for n in range(num_rows)), names, data.members[0], origin)
    truth = LabeledPredictions(oof, [], data.targets, split_rows(num_rows), None, data.task, data.metric)
    return NestedScorer(truth, [Component(name=name) for name in steps or ("none",)])


def evaluate(name, data, decide=(), **options):
    fit = method(name, **options)
    labels = [f"m{j}" for j in range(len(data.members))]
    fitted = fit_blend(fit, data, split_rows(len(data.targets)))
    return evaluate_blend(fitted, fit, data, scorer_of(data, *decide), labels)


@pytest.mark.parametrize(
    ("name", "options"),
    [("hill_climb", {"bags": 1, "share": 1.0, "steps": 30}), ("stack", {}), ("weights", {})],
)
def test_the_nested_score_of_random_members_is_chance_and_the_fitted_one_is_higher(name, options):
    results = []
    for seed in range(3):
        data = random_members(8, seed=seed)
        fit = method(name, **options)
        result = fit_blend(fit, data, split_rows(300))
        score = lambda probs, data=data: data.metric(data.targets, probs, MULTI)  # noqa: E731
        results.append((score(MULTI.normalized(result.final(data.members))), score(result.nested)))
    fitted, nested = np.mean(results, axis=0)
    assert fitted > 0.55
    assert abs(nested - 0.5) < 0.04


def test_labels_of_a_part_do_not_change_its_own_nested_probs():
    """Changed labels of one part change the nested probabilities of the other parts only."""
    data = blend_data()
    split = split_rows(400)
    fit = method("stack")
    before = probs_of(fit, data, split)
    targets = data.targets.copy()
    targets[split == 2] = (targets[split == 2] + 1) % 4
    after = probs_of(fit, BlendData(data.members, targets, MULTI, data.metric), split)
    np.testing.assert_array_equal(before[split == 2], after[split == 2])
    assert (before[split != 2] != after[split != 2]).any()


def test_the_evaluation_has_member_scores_weights_costs_and_pairs():
    data = blend_data(skills=(0.5, 2.0, 0.5))
    found = evaluate("weights", data)
    assert found.best.label == "m1"
    assert found.best.score == max((m.score for m in found.members), key=lambda s: -s)  # log loss: the lowest
    assert sum(m.weight for m in found.members) == pytest.approx(1)
    assert max(found.members, key=lambda m: m.cost_of_dropping).label == "m1"
    assert len(found.pairs) == 3
    flat = data.members.reshape(3, -1)
    assert found.pairs[0].correlation == pytest.approx(np.corrcoef(flat[0], flat[1])[0, 1])
    decided = data.members.argmax(axis=2)
    assert found.pairs[2].disagreement == pytest.approx((decided[1] != decided[2]).mean())


def test_the_verdict_names_the_run_to_submit():
    better = evaluate("mean", blend_data(skills=(1.0, 1.0, 1.0), rows=3000))
    assert better.beats_best and better.interval.is_above_zero
    assert better.verdict("c/blend").endswith("submit c/blend")
    same = evaluate("weights", blend_data(skills=(2.0, -0.5), rows=300))
    assert not same.beats_best and not same.interval.is_below_zero
    assert same.verdict("c/blend").endswith("submit m0")
    doubtful = evaluate("mean", blend_data(skills=(1.6, 1.2), rows=60))
    assert doubtful.interval.low < 0 < doubtful.interval.high
    assert doubtful.to_submit("c/blend") == doubtful.best.label
    worse = evaluate("mean", blend_data(skills=(2.5, -2.0, -2.0), rows=1000))
    assert worse.interval.is_below_zero
    assert worse.to_submit("c/blend") == "m0"


def test_the_gain_is_positive_where_the_blend_is_better_for_both_directions():
    for metric in ("log_loss", "accuracy"):
        data = blend_data(metric)
        found = evaluate("mean", data)
        sign = 1 if data.metric.higher_is_better else -1
        assert found.gain == pytest.approx(sign * (found.nested - found.best.score))
        assert found.interval.low <= found.gain <= found.interval.high


def test_a_constant_member_has_no_correlation():
    data = blend_data()
    constant = np.full_like(data.members[:1], 0.25)
    found = evaluate(
        "mean", BlendData(np.concatenate([data.members[:1], constant]), data.targets, MULTI, data.metric)
    )
    assert found.pairs[0].correlation is None


def test_nested_and_shipped_probs_of_a_fixed_method_are_equal():
    data = blend_data()
    fit = method("mean")
    result = fit_blend(fit, data, split_rows(400))
    assert isinstance(result, FittedBlend)
    np.testing.assert_allclose(result.nested, MULTI.normalized(result.final(data.members)), atol=1e-7)


def test_the_cost_of_dropping_is_similar_with_refitted_and_with_kept_weights(monkeypatch):
    data = blend_data(skills=(0.5, 2.0, 1.9, 0.1), rows=2000)
    refitted = evaluate("weights", data)
    monkeypatch.setattr(module, "MAX_REFITTED", 2)
    kept = evaluate("weights", data)
    for a, b in zip(refitted.members, kept.members, strict=True):
        assert b.cost_of_dropping == pytest.approx(a.cost_of_dropping, abs=0.01)
    assert max(m.cost_of_dropping for m in kept.members) > 0.02


def test_members_and_blend_are_compared_after_postprocessing():
    """All probabilities are low, so that without fitted thresholds no label is predicted."""
    data = blend_data("f1_macro", task=tasks.get("multilabel"))
    low = BlendData(data.members * 0.3, data.targets, data.task, data.metric)
    plain, decided = evaluate("mean", low), evaluate("mean", low, decide=("thresholds",))
    assert plain.nested < 0.1
    assert decided.nested > 0.4
    assert min(member.score for member in decided.members) > 0.4
    assert decided.best.score == max(member.score for member in decided.members)
    assert decided.gain == pytest.approx(decided.nested - decided.best.score)


def test_fitted_methods_are_refused_for_a_single_part_and_fixed_ones_are_not():
    data = blend_data()
    one_part = np.zeros(400, dtype=int)
    with raises_kit_error("one_part", where="--method"):
        fit_nested(method("stack"), data, one_part)
    np.testing.assert_allclose(
        nested_probs(data, fit_nested(method("mean"), data, one_part)),
        data.members.mean(axis=0),
        atol=1e-6,
    )
