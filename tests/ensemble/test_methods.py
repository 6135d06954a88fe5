"""Blend methods agree with hand computation and scikit-learn, and share common properties."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import log_loss

from kit.ensemble.blend_data import BlendData, weighted_mean
from kit.ensemble.likelihood import likelihoods, mean_log
from kit.ensemble.methods import blend_methods, parse_method
from kit.ensemble.methods.hill_climb import climbed_weights
from kit.ensemble.methods.registry import check_suits
from kit.ensemble.methods.weights import least_squares_weights, max_likelihood_weights, simplex_weights
from kit.metrics import get_metric
from kit.tasks import tasks
from tests.conftest import raises_kit_error

PREDICTION_METHODS = [name for name in blend_methods if not blend_methods.get(name).blends_weights]
NUMBER_METHODS = [name for name in PREDICTION_METHODS if blend_methods.get(name).number]
MULTI, BINARY, SOFT, LABELS, NUMBERS = (
    tasks.get(name) for name in ("multiclass", "binary", "soft", "multilabel", "regression")
)


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def blend_data(
    metric="log_loss", skills=(1.0, 1.5, 0.3), rows=400, classes=4, task=MULTI, seed=0
) -> BlendData:
    """Return random labels and members of different skill with independent errors."""
    rng = np.random.default_rng(seed)
    if task.soft:
        targets = truth = rng.dirichlet(np.full(classes, 0.4), rows)
        make = softmax
    elif task.exclusive:
        targets = rng.integers(0, classes, rows)
        truth = np.eye(classes)[targets]
        make = softmax
    else:
        targets = truth = (rng.random((rows, classes)) < 0.4).astype(np.float32)
        make = lambda logits: 1 / (1 + np.exp(-logits))  # noqa: E731
    members = [make(3 * skill * (truth - 0.5) + 2 * rng.normal(size=truth.shape)) for skill in skills]
    return BlendData(np.stack(members).astype(np.float32), targets, task, get_metric(metric, task))


def number_data(metric="rmse", rows=400, offset=50.0, noises=(4.0, 6.0, 20.0), seed=0) -> BlendData:
    """Return random numbers and members with independent errors of different size."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(offset, 12, (rows, 1))
    members = [targets + rng.normal(0, noise, targets.shape) for noise in noises]
    return BlendData(np.stack(members).astype(np.float32), targets, NUMBERS, get_metric(metric, NUMBERS))


def blend_probs(name, data, **options):
    return data.task.normalized(blend_methods.get(name).function(data, **options)(data.members))


@pytest.mark.parametrize("name", PREDICTION_METHODS)
@pytest.mark.parametrize("task", [MULTI, BINARY, LABELS], ids=lambda task: task.name)
def test_every_method_returns_probs_that_do_not_depend_on_member_order(name, task):
    classes = 2 if task is BINARY else 4
    data = blend_data(task=task, classes=classes)
    probs = blend_probs(name, data)
    assert probs.shape == data.members.shape[1:]
    assert (probs >= 0).all()
    assert (probs <= 1).all()
    if task.exclusive:
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    reversed_members = replace(data, members=data.members[::-1])
    np.testing.assert_allclose(probs, blend_probs(name, reversed_members), atol=1e-4)


@pytest.mark.parametrize("name", ["mean", "gmean", "power", "weights", "hill_climb"])
def test_blending_identical_members_returns_their_probs(name):
    data = blend_data(skills=(1.0,))
    twins = replace(data, members=np.repeat(data.members, 3, axis=0))
    np.testing.assert_allclose(blend_probs(name, twins), data.members[0], atol=1e-5)


def test_fixed_methods_by_hand():
    members = np.array([[[0.9, 0.1]], [[0.4, 0.6]]], dtype=np.float32)
    data = BlendData(members, np.array([0]), MULTI, get_metric("accuracy", MULTI))
    assert blend_methods.get("mean").function(data)(members)[0] == pytest.approx([0.65, 0.35])
    assert blend_methods.get("gmean").function(data)(members)[0] == pytest.approx([0.6, np.sqrt(0.06)])
    power = blend_methods.get("power").function(data, exponent=2.0)(members)[0]
    assert power == pytest.approx([np.sqrt((0.81 + 0.16) / 2), np.sqrt((0.01 + 0.36) / 2)])


def test_the_rank_method_depends_on_ranks_only():
    data = blend_data(task=LABELS, metric="roc_auc")
    stretched = replace(data, members=data.members**3)
    np.testing.assert_allclose(blend_probs("rank", data), blend_probs("rank", stretched))
    one = blend_methods.get("rank").function(data)(data.members[:1])
    np.testing.assert_allclose(one, (rankdata(data.members[0], axis=0) - 0.5) / len(data.targets))


def test_mean_log_agrees_with_numpy_for_any_number_of_values():
    rng = np.random.default_rng(0)
    for number in (1, 2, 3, 4, 5, 31, 32, 33, 1000):
        values = np.clip(rng.random(number) ** 20, 1e-7, 1).astype(np.float32)
        assert mean_log(values) == pytest.approx(np.log(values.astype(np.float64)).mean(), rel=1e-5)
    assert mean_log(np.full(10_000, 1e-7, dtype=np.float32)) == pytest.approx(np.log(1e-7), rel=1e-6)


@pytest.mark.parametrize("task", [MULTI, LABELS], ids=lambda task: task.name)
def test_likelihoods_of_a_mixture_give_its_log_loss(task):
    data = blend_data(task=task)
    likely = likelihoods(data.members, data.targets, task)
    weights = np.array([0.2, 0.5, 0.3])
    mixed = weighted_mean(weights)(data.members)
    expected = data.metric(data.targets, task.normalized(mixed), task)
    assert -mean_log((weights @ likely).astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_max_likelihood_weights_are_on_the_simplex_and_beat_random_weights():
    data = blend_data()
    likely = likelihoods(data.members, data.targets, MULTI)
    best = max_likelihood_weights(likely)
    assert best.sum() == pytest.approx(1)
    assert (best >= 0).all()
    value = np.log(best @ likely).mean()
    others = np.random.default_rng(1).dirichlet(np.ones(3), 500)
    assert value >= np.log(others @ likely).mean(axis=1).max() - 1e-6


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "roc_auc", "brier"])
def test_weights_for_metrics_without_gradient_are_at_least_as_good_as_their_start_points(metric):
    data = blend_data(metric)
    value = data.value(blend_probs("weights", data))
    assert value >= data.value(data.members.mean(axis=0))
    assert value >= max(data.value(member) for member in data.members)


def test_a_hill_climb_by_hand():
    # Each member is confident and right on half of the rows, and slightly wrong or right on the others.
    members = np.array([[[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2, [[0.4, 0.6]] * 2 + [[0.1, 0.9]] * 2])
    targets = np.array([0, 0, 1, 1])
    data = BlendData(members.astype(np.float32), targets, MULTI, get_metric("accuracy", MULTI))
    weights = climbed_weights(data, steps=10, bags=1, share=1.0, warm=1, negative=False)
    assert weights == pytest.approx([0.5, 0.5])
    assert data.value(weighted_mean(weights)(data.members)) == 1.0


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "roc_auc"])
def test_a_hill_climb_is_at_least_as_good_as_its_best_member(metric):
    data = blend_data(metric)
    value = data.value(blend_probs("hill_climb", data, bags=1, share=1.0))
    assert value >= max(data.value(member) for member in data.members) - 1e-9


def test_the_fast_log_loss_path_selects_the_same_members_as_greedy_selection_by_scikit_learn():
    """The reference is a plain greedy selection scored by scikit-learn."""
    data = blend_data(skills=(1.0, 1.5, 0.3, 0.8), rows=200)

    def score(probs):
        probs = probs.astype(float)
        return log_loss(data.targets, probs / probs.sum(axis=1, keepdims=True))

    total, counts, path = np.zeros(data.members.shape[1:]), np.zeros(4), []
    for step in range(1, 13):
        losses = [score((total + member) / step) for member in data.members]
        chosen = int(np.argmin(losses))
        total, counts = total + data.members[chosen], counts + np.eye(4)[chosen]
        path.append((min(losses), counts / counts.sum()))
    expected = min(path, key=lambda entry: entry[0])[1]
    weights = climbed_weights(data, steps=11, bags=1, share=1.0, warm=1, negative=False)
    assert weights == pytest.approx(expected)


def test_hill_climb_breaks_ties_of_the_metric_by_likelihood():
    targets = np.array([0, 1] * 20)
    truth = np.eye(2)[targets]
    members = np.stack(
        [0.2 * truth + 0.4, 0.9 * truth + 0.05]
    )  # both right in every row, with low and with high confidence
    data = BlendData(members.astype(np.float32), targets, MULTI, get_metric("accuracy", MULTI))
    weights = climbed_weights(data, steps=5, bags=1, share=1.0, warm=1, negative=False)
    assert weights == pytest.approx([0, 1])


def test_weights_are_negative_only_with_the_option_negative():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 2000)
    truth, shared = np.eye(2)[targets], rng.normal(size=(2000, 2))
    good, only_noise = softmax(2 * truth + 2 * shared), softmax(2 * shared)
    data = BlendData(
        np.stack([good, only_noise]).astype(np.float32), targets, MULTI, get_metric("log_loss", MULTI)
    )
    assert (climbed_weights(data, 50, 1, 1.0, 1, negative=False) >= 0).all()
    signed = climbed_weights(data, 50, 1, 1.0, 1, negative=True)
    assert signed.min() < 0
    assert signed.sum() == pytest.approx(1)
    plain = data.value(data.members[0])
    assert data.value(weighted_mean(signed)(data.members)) > plain


def test_bagged_weights_are_reproducible_and_sum_to_1():
    data = blend_data(skills=(1.0, 1.1, 1.2, 0.9, 0.8, 1.3))
    first = climbed_weights(data, 20, 5, 0.5, 2, False)
    assert (first == climbed_weights(data, 20, 5, 0.5, 2, False)).all()
    assert first.sum() == pytest.approx(1)
    assert (first != climbed_weights(replace(data, seed=1), 20, 5, 0.5, 2, False)).any()


@pytest.mark.parametrize("model", ["logistic", "boosting"])
@pytest.mark.parametrize("task", [MULTI, LABELS], ids=lambda task: task.name)
def test_a_stack_learns_a_permutation_of_classes_and_a_mean_does_not(model, task):
    """The only member predicts well, but with its class columns rotated."""
    data = blend_data(task=task, skills=(2.0,), rows=800)
    rotated = replace(data, members=np.roll(data.members, 1, axis=2))
    half = np.arange(800) < 400
    learned = blend_methods.get("stack").function(rotated.only(half), model=model)
    unseen = rotated.only(~half)
    probs = task.normalized(learned(unseen.members))
    assert -unseen.value(probs) < 0.7 * -unseen.value(unseen.members[0])


def test_a_stack_can_be_fitted_with_a_missing_class_or_a_single_class():
    data = blend_data(rows=200)
    three = blend_methods.get("stack").function(data.only(data.targets != 3))(data.members)
    assert three.shape == (200, 4)
    assert (three[:, 3] < 1e-5).all()
    one = blend_methods.get("stack").function(data.only(data.targets == 2))(data.members)
    assert (one.argmax(axis=1) == 2).all()


@pytest.mark.parametrize("name", PREDICTION_METHODS)
def test_a_constant_member_does_not_make_a_blend_worse(name):
    data = blend_data()
    constant = np.full_like(data.members[:1], 0.25)
    worse = replace(data, members=np.concatenate([data.members, constant]))
    assert np.isfinite(blend_probs(name, worse)).all()
    if blend_methods.get(name).learns:
        assert data.value(blend_probs(name, worse)) >= data.value(blend_probs("mean", worse)) - 1e-6


@pytest.mark.parametrize("name", [n for n in PREDICTION_METHODS if blend_methods.get(n).learns])
def test_random_members_get_low_weights(name):
    rng = np.random.default_rng(5)
    data = blend_data(skills=(2.0,))
    noise = rng.dirichlet(np.ones(4), (3, 400)).astype(np.float32)
    with_noise = replace(data, members=np.concatenate([data.members, noise]))
    weights = blend_methods.get(name).function(with_noise).weights
    if weights is not None:
        assert weights[0] > 0.8


def test_options_are_read_as_yaml_and_checked():
    method = parse_method("hill_climb", ["steps=50", "negative=true"])
    assert method.options == {"steps": 50, "negative": True}
    for odd in ("steps", "=3", "name=mean", "steps=["):
        with raises_kit_error("option_invalid", where=f"--option {odd}"):
            parse_method("hill_climb", [odd])


def test_simplex_weights_are_the_best_for_their_own_metric():
    """One member is right more often, the other is never confident when wrong: metrics rank them differently."""
    rng = np.random.default_rng(2)
    targets = rng.integers(0, 2, 1000)
    truth = np.eye(2)[targets]
    confident = np.where(rng.random(1000) < 0.8, 0.999, 0.001)[:, None]
    cautious = np.where(rng.random(1000) < 0.7, 0.6, 0.4)[:, None]
    members = np.stack([truth * p + (1 - truth) * (1 - p) for p in (confident, cautious)]).astype(np.float32)
    by = {
        m: BlendData(members, targets, MULTI, get_metric(m, MULTI)) for m in ("log_loss", "brier", "accuracy")
    }
    found = {m: simplex_weights(data) for m, data in by.items()}
    for m, data in by.items():
        values = {other: data.value(weighted_mean(weights)(members)) for other, weights in found.items()}
        assert values[m] == max(values.values()), m
    assert (found["log_loss"] != found["accuracy"]).any()


def test_weights_for_f1_usually_improve_on_all_start_points():
    improved = 0
    for seed in range(4):
        data = blend_data("f1_macro", skills=(1.4, 1.2, 0.9, 0.5), seed=seed)
        likely = max_likelihood_weights(likelihoods(data.members, data.targets, MULTI))
        starts = [np.full(4, 0.25), likely, *np.eye(4)]
        start_value = max(data.value(weighted_mean(w)(data.members).astype(np.float32)) for w in starts)
        improved += data.value(blend_probs("weights", data)) > start_value + 1e-6
    assert improved >= 3


def test_weights_for_kl_divergence_are_near_the_best_on_a_grid():
    data = blend_data("kl_divergence", skills=(1.6, 1.2), task=LABELS)
    tried = [data.value(weighted_mean(np.array([w, 1 - w]))(data.members)) for w in np.linspace(0, 1, 41)]
    assert data.value(blend_probs("weights", data)) >= max(tried) - 1e-4


@pytest.mark.parametrize("metric", ["kl_divergence", "log_loss"])
@pytest.mark.parametrize("name", ["weights", "hill_climb"])
def test_weights_for_distributions_are_near_the_best_on_a_grid(name, metric):
    data = blend_data(metric, skills=(0.8, 0.6), task=SOFT)
    tried = [data.value(weighted_mean(np.array([w, 1 - w]))(data.members)) for w in np.linspace(0, 1, 41)]
    options = {"bags": 1} if name == "hill_climb" else {}
    assert np.argmax(tried) not in (0, 40)
    assert data.value(blend_probs(name, data, **options)) >= max(tried) - 1e-4


@pytest.mark.parametrize("model", ["logistic", "boosting"])
def test_stacking_of_distributions_learns_the_shares(model):
    data = blend_data("kl_divergence", skills=(0.8, 0.6), task=SOFT)
    stacked = blend_probs("stack", data, model=model)
    hard = replace(
        data, task=MULTI, targets=SOFT.majority(data.targets), metric=get_metric("log_loss", MULTI)
    )
    of_majority = blend_probs("stack", hard, model=model)
    assert data.value(stacked) > max(data.value(of_majority), *map(data.value, data.members))


@pytest.mark.parametrize("name", NUMBER_METHODS)
def test_every_method_for_numbers_keeps_their_units_and_does_not_depend_on_member_order(name):
    data = number_data(offset=80.0)
    blended = blend_probs(name, data)
    assert blended.shape == (400, 1)
    assert abs(blended.mean() - data.targets.mean()) < 2
    np.testing.assert_allclose(
        blended, blend_probs(name, replace(data, members=data.members[::-1])), rtol=1e-4
    )


@pytest.mark.parametrize("name", ["weights", "hill_climb", "stack"])
@pytest.mark.parametrize("metric", ["rmse", "mae", "spearman"])
def test_methods_that_learn_weights_beat_the_best_member_of_numbers(name, metric):
    data = number_data(metric)
    best = max(data.value(member) for member in data.members)
    assert data.value(blend_probs(name, data)) > best


def test_weights_of_numbers_have_the_smallest_squared_error():
    data = number_data()
    weights = simplex_weights(data)
    inverse = 1 / np.array([16.0, 36.0, 400.0])  # of independent errors: by inverse variance
    np.testing.assert_allclose(weights, inverse / inverse.sum(), atol=0.06)
    exact = least_squares_weights(data.members[:, :, 0].astype(np.float64), data.targets[:, 0])
    assert data.value(weighted_mean(weights, True)(data.members)) == pytest.approx(
        data.value(weighted_mean(exact, True)(data.members)), abs=1e-3
    )


def test_subtracted_members_of_numbers_are_not_clipped_to_probabilities():
    data = number_data(offset=-500.0)
    mixed = weighted_mean(np.array([1.5, -0.5, 0.0]), numeric=True)(data.members)
    np.testing.assert_allclose(mixed, 1.5 * data.members[0] - 0.5 * data.members[1], rtol=1e-6)
    assert blend_probs("hill_climb", data, negative=True).max() < -300


def test_stacked_numbers_tend_to_the_mean_and_survive_a_member_that_is_constant_on_the_fitted_rows():
    data = number_data(noises=(4.0, 4.0))
    strong = blend_probs("stack", data, strength=1e6)
    np.testing.assert_allclose(strong, data.members.mean(axis=0), atol=1)  # the intercept is free
    boosted = data.value(blend_probs("stack", data, model="boosting"))
    assert boosted > data.value(strong) - 0.5
    fitted = replace(data, members=np.stack([data.members[0], np.full_like(data.members[0], 50.0)]))
    later = np.stack([data.members[0], data.members[0] * 0 + 60])  # another fold's constant
    combined = blend_methods.get("stack").function(fitted)(later)
    assert data.value(combined.astype(np.float32)) > data.value(data.members[0]) - 6


@pytest.mark.parametrize("name", ["gmean", "power"])
def test_means_of_powers_refuse_numbers_below_0(name):
    with raises_kit_error("numbers_too_low"):
        blend_probs(name, number_data(offset=0.0))


def test_methods_and_models_that_do_not_suit_the_task_are_refused():
    with raises_kit_error("method_unsuitable"):
        check_suits(blend_methods.get("rank"), NUMBERS)
    for data, model in ((number_data(), "logistic"), (blend_data(), "ridge")):
        with raises_kit_error("option_invalid"):
            blend_probs("stack", data, model=model)
