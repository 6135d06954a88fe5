"""The threshold searches find the same optimum as an exhaustive search."""

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


def draw_rows(rows=40, classes=3, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, classes)) < 0.35).astype(np.float32)
    probs = np.clip(0.3 * truth + 0.6 * rng.random((rows, classes)), 0, 1).astype(np.float32)
    return (probs.round(1) if ties else probs).astype(np.float32), truth


def all_thresholds(column):
    return [*(np.unique(column).astype(np.float64) - 1e-4), 1.1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_cutoffs_count_rows_and_hits_above_each_threshold(seed, ties):
    probs, truth = draw_rows(seed=seed, ties=ties)
    cuts = all_cutoffs(probs[:, 0], truth[:, 0])
    for threshold, given_, hits in zip(cuts.thresholds, cuts.given, cuts.hits, strict=True):
        above = probs[:, 0] >= threshold
        assert above.sum() == given_
        assert truth[above, 0].sum() == hits
    assert cuts.given[0] == 0
    assert cuts.given[-1] == len(probs)
    assert cuts.support == truth[:, 0].sum()


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_the_best_threshold_per_class_agrees_with_exhaustive_search(beta):
    probs, truth = draw_rows()
    found = best_per_class(probs, truth, f_beta_of_label, beta)
    for c in range(3):
        tried = [
            fbeta_score(truth[:, c], probs[:, c] >= t, beta=beta, zero_division=0)
            for t in all_thresholds(probs[:, c])
        ]
        assert fbeta_score(truth[:, c], probs[:, c] >= found[c], beta=beta) == pytest.approx(max(tried))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_the_best_micro_thresholds_agree_with_exhaustive_search(seed):
    probs, truth = draw_rows(rows=11, seed=seed)
    found = best_micro(probs, truth, 1.0)
    score = f1_score(truth, probs >= found, average="micro", zero_division=0)
    tried = [
        f1_score(truth, probs >= np.array(combination), average="micro", zero_division=0)
        for combination in product(*(all_thresholds(probs[:, c]) for c in range(3)))
    ]
    assert score == pytest.approx(max(tried))


def test_the_best_common_threshold_agrees_with_exhaustive_search():
    probs, truth = draw_rows()
    found = best_global_micro(probs, truth, 1.0)
    tried = [f1_score(truth, probs >= t, average="micro", zero_division=0) for t in all_thresholds(probs)]
    assert f1_score(truth, probs >= found, average="micro") == pytest.approx(max(tried))


def test_matthews_from_counts_agrees_with_scikit_learn():
    from kit.metrics.counts import matthews_of_label

    probs, truth = draw_rows()
    cuts = all_cutoffs(probs[:, 0], truth[:, 0])
    values = matthews_of_label(cuts.hits, cuts.given, np.asarray(cuts.support), len(probs), 1.0)
    for threshold, value in list(zip(cuts.thresholds, values, strict=True))[1:-1]:
        assert value == pytest.approx(matthews_corrcoef(truth[:, 0], probs[:, 0] >= threshold))


def test_coordinate_ascent_finds_the_optimum_and_keeps_the_order():
    target = np.array([0.3, 0.7, 0.9])
    score = lambda values: -abs(values - target).sum()  # noqa: E731
    candidates = [np.linspace(0, 1, 11)] * 3
    assert coordinate_ascent(np.full(3, 0.5), candidates, score) == pytest.approx(target)
    ordered = coordinate_ascent(np.array([0.1, 0.2, 0.3]), candidates, score, ordered=True)
    assert (np.diff(ordered) >= 0).all()


def test_quantiles_are_distinct_interior_values():
    assert len(quantiles(np.zeros(10), 5)) == 1
    found = quantiles(np.arange(101.0), 9)
    assert found == pytest.approx(np.arange(10, 100, 10))
