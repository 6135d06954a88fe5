import numpy as np
import pytest

from kit.config import Component
from kit.engine.data.sampling import balances, plan_epochs
from tests.conftest import raises_kit_error

COUNTS = [80, 20, 4]
ONE_EACH = np.eye(3)[np.repeat([0, 1, 2], COUNTS)]
SEVERAL = np.array([[1, 0, 0]] * 60 + [[1, 1, 0]] * 20 + [[1, 0, 1]] * 6 + [[0, 0, 0]] * 10, dtype=float)


def plan(name, truth=ONE_EACH, seed=0, **options):
    return plan_epochs(Component(name=name, **options), truth, seed)


def class_counts(name, truth=ONE_EACH, **options):
    return plan(name, truth, **options).class_counts(truth, 1)


def test_none_takes_every_image_once():
    assert plan("none").positions(3).tolist() == list(range(104))
    assert plan("none").class_weights is None


def test_weights_are_inverse_effective_numbers_with_mean_one():
    got = plan("weights", beta=0.9).class_weights
    effective = [(1 - 0.9**n) / (1 - 0.9) for n in COUNTS]  # Cui et al. 2019, equation 2
    np.testing.assert_allclose(got[2] / got[0], effective[0] / effective[2], rtol=1e-5)
    assert (got * COUNTS).sum() / 104 == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(plan("weights", beta=0).class_weights, 1)
    assert sorted(plan("weights").positions(0)) == list(range(104))


def test_the_sampler_draws_all_classes_equally_and_differently_each_epoch():
    drawn = sum(plan("sampler").class_counts(ONE_EACH, seed) for seed in range(50)) / 50
    np.testing.assert_allclose(drawn, 104 / 3, rtol=0.08)
    assert plan("sampler").positions(1).tolist() != plan("sampler").positions(2).tolist()
    assert plan("sampler").positions(1).tolist() == plan("sampler").positions(1).tolist()


def test_the_sampler_draws_images_without_a_class():
    positions = np.concatenate([plan("sampler", SEVERAL).positions(seed) for seed in range(20)])
    assert 0.1 < (positions >= 86).mean() < 0.4


@pytest.mark.parametrize(("at", "after"), [("mean", [35, 20, 4]), (10, [10, 10, 4]), (500, COUNTS)])
def test_cap_leaves_no_class_above_it(at, after):
    assert class_counts("cap", at=at).tolist() == after


def test_cap_with_several_labels_keeps_rare_classes_first():
    counts = class_counts("cap", SEVERAL, at=20)
    assert counts[2] == 6
    assert counts.max() <= 20
    assert (plan("cap", SEVERAL, at=20).positions(0) >= 86).sum() == 10


@pytest.mark.parametrize(("to", "after"), [("max", [80, 80, 80]), ("mean", [80, 35, 35]), (50, [80, 50, 50])])
def test_oversample_repeats_rare_classes(to, after):
    assert class_counts("oversample", to=to).tolist() == after
    assert set(plan("oversample", to=to).positions(0)) == set(range(104))


@pytest.mark.parametrize("name", list(balances))
def test_every_balance_has_a_constant_length_and_is_repeatable(name):
    for truth in (ONE_EACH, SEVERAL):
        made, again = plan(name, truth, seed=5), plan(name, truth, seed=5)
        for epoch_seed in (1, 2):
            positions = made.positions(epoch_seed)
            assert len(positions) == made.length > 0
            assert positions.min() >= 0
            assert positions.max() < len(truth)
            np.testing.assert_array_equal(positions, again.positions(epoch_seed))


def test_unknown_names_and_options_are_refused():
    with raises_kit_error("unknown_name"):
        plan("caps")
    with raises_kit_error("unknown_option", "train.balance.max"):
        plan("cap", max=3)
    with raises_kit_error("option_invalid", "train.balance.beta"):
        plan("weights", beta=1.0)
