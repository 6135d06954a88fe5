"""The searches against trying everything."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, fbeta_score, matthews_corrcoef

from kit.metrics.counts import f_beta_of_label
from kit.postprocess.search import (
    all_cutoffs,
    best_global_micro,
    best_micro,
    best_per_class,
    coordinate_ascent,
    quantiles,
)


def drawn(rows=40, classes=3, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, classes)) < 0.35).astype(np.float32)
    probs = np.clip(0.3 * truth + 0.6 * rng.random((rows, classes)), 0, 1).astype(np.float32)
    return (probs.round(1) if ties else probs).astype(np.float32), truth


def every_cut(column):
    return [*(np.unique(column).astype(np.float64) - 1e-4), 1.1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_cuts_count_what_reaches_each_threshold(seed, ties):
    probs, truth = drawn(seed=seed, ties=ties)
    cuts = all_cutoffs(probs[:, 0], truth[:, 0])
    for threshold, given_, hits in zip(cuts.thresholds, cuts.given, cuts.hits, strict=True):
        reached = probs[:, 0] >= threshold
        assert reached.sum() == given_
        assert truth[reached, 0].sum() == hits
    assert cuts.given[0] == 0
    assert cuts.given[-1] == len(probs)
    assert cuts.support == truth[:, 0].sum()


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_the_best_threshold_of_each_class_is_that_of_trying_all(beta):
    probs, truth = drawn()
    found = best_per_class(probs, truth, f_beta_of_label, beta)
    for c in range(3):
        tried = [
            fbeta_score(truth[:, c], probs[:, c] >= t, beta=beta, zero_division=0)
            for t in every_cut(probs[:, c])
        ]
        assert fbeta_score(truth[:, c], probs[:, c] >= found[c], beta=beta) == pytest.approx(max(tried))


@pytest.mark.parametrize("seed", range(3))
def test_the_best_micro_thresholds_are_those_of_trying_all_combinations(seed):
    probs, truth = drawn(rows=11, seed=seed)
    found = best_micro(probs, truth, 1.0)
    reached = f1_score(truth, probs >= found, average="micro", zero_division=0)
    tried = [
        f1_score(truth, probs >= np.array(combination), average="micro", zero_division=0)
        for combination in product(*(every_cut(probs[:, c]) for c in range(3)))
    ]
    assert reached == pytest.approx(max(tried))


def test_the_best_threshold_for_all_classes_is_that_of_trying_all():
    probs, truth = drawn()
    found = best_global_micro(probs, truth, 1.0)
    tried = [f1_score(truth, probs >= t, average="micro", zero_division=0) for t in every_cut(probs)]
    assert f1_score(truth, probs >= found, average="micro") == pytest.approx(max(tried))


def test_matthews_by_counts_is_scikit_learns():
    from kit.metrics.counts import matthews_of_label

    probs, truth = drawn()
    cuts = all_cutoffs(probs[:, 0], truth[:, 0])
    values = matthews_of_label(cuts.hits, cuts.given, np.asarray(cuts.support), len(probs), 1.0)
    for threshold, value in list(zip(cuts.thresholds, values, strict=True))[1:-1]:
        assert value == pytest.approx(matthews_corrcoef(truth[:, 0], probs[:, 0] >= threshold))


def test_a_climb_ends_where_no_single_change_helps():
    target = np.array([0.3, 0.7, 0.9])
    score = lambda values: -abs(values - target).sum()  # noqa: E731
    candidates = [np.linspace(0, 1, 11)] * 3
    assert coordinate_ascent(np.full(3, 0.5), candidates, score) == pytest.approx(target)
    ordered = coordinate_ascent(np.array([0.1, 0.2, 0.3]), candidates, score, ordered=True)
    assert (np.diff(ordered) >= 0).all()


def test_quantiles_are_different_values_inside():
    assert len(quantiles(np.zeros(10), 5)) == 1
    found = quantiles(np.arange(101.0), 9)
    assert found == pytest.approx(np.arange(10, 100, 10))
