"""Iterative stratification of multilabel rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.folds.multilabel_stratified import iterative_stratification
from tests.folds.test_stratified import random_rank


def draw_labels(rows=600, labels=12, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows, 1))
    odds = np.linspace(-4, -0.5, labels) + 0.8 * common
    return (rng.random((rows, labels)) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def unevenness(matrix, folds, count=5):
    counts = np.array([matrix[folds == k].sum(axis=0) for k in range(count)])
    return np.abs(counts - matrix.sum(axis=0) / count).mean()


def label_pairs(labels):
    left, right = np.triu_indices(labels.shape[1], 1)
    return labels[:, left] & labels[:, right]


def test_rows_and_labels_are_spread_evenly():
    labels = draw_labels()
    folds = iterative_stratification(labels, random_rank(600), np.full(5, 0.2))
    assert sorted(np.bincount(folds)) == [120] * 5
    assert unevenness(labels, folds) < 0.6
    enough = labels[:, labels.sum(axis=0) >= 5]
    assert all((enough[folds == k].sum(axis=0) > 0).all() for k in range(5))


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_spread_as_evenly_as_by_iterstrat(seed):
    reference = pytest.importorskip("iterstrat.ml_stratifiers")
    labels = draw_labels(seed=seed)
    reference_folds = np.zeros(600, dtype=int)
    splitter = reference.MultilabelStratifiedKFold(5, shuffle=True, random_state=seed)
    for k, (_, rows) in enumerate(splitter.split(labels, labels)):
        reference_folds[rows] = k
    ours = iterative_stratification(labels, random_rank(600, seed), np.full(5, 0.2))
    assert unevenness(labels, ours) <= unevenness(labels, reference_folds) + 1e-9


def test_second_order_stratification_spreads_label_pairs_better():
    labels = draw_labels(2000)
    first = iterative_stratification(labels, random_rank(2000), np.full(5, 0.2), order=1)
    second = iterative_stratification(labels, random_rank(2000), np.full(5, 0.2), order=2)
    assert unevenness(label_pairs(labels), second) < 0.8 * unevenness(label_pairs(labels), first)
    assert unevenness(labels, second) < 1


def test_unequal_fractions_are_met():
    labels = draw_labels(1000)
    folds = iterative_stratification(labels, random_rank(1000), np.array([0.64, 0.16, 0.2]))
    np.testing.assert_allclose(np.bincount(folds) / 1000, [0.64, 0.16, 0.2], atol=0.01)
    shares = labels[folds == 1].sum(axis=0) / labels.sum(axis=0)
    assert np.abs(shares - 0.16).max() < 0.08


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(1, 5), st.integers(0, 10**6), st.sampled_from([1, 2]), st.booleans())
def test_groups_stay_in_one_fold_and_folds_do_not_depend_on_order_or_numbering(
    rows, labels, seed, order, grouped
):
    rng = np.random.default_rng(seed)
    matrix = (rng.random((rows, labels)) < 0.4).astype(np.int8)
    rank, units = random_rank(rows, seed), rng.integers(0, rows // 2, rows) if grouped else np.arange(rows)
    folds = iterative_stratification(matrix, rank, np.full(3, 1 / 3), units, order)
    assert all(len(set(folds[units == unit])) == 1 for unit in set(units))
    if len(set(units)) >= 3:
        assert set(folds) == {0, 1, 2}
    order_of_rows, renamed, columns = rng.permutation(rows), rng.permutation(100), rng.permutation(labels)
    again = iterative_stratification(
        matrix[order_of_rows][:, columns],
        rank[order_of_rows],
        np.full(3, 1 / 3),
        renamed[units][order_of_rows],
        order,
    )
    np.testing.assert_array_equal(again, folds[order_of_rows])


def test_labels_of_groups_are_spread_evenly():
    labels = draw_labels(900)
    groups = np.repeat(np.arange(300), 3)
    folds = iterative_stratification(labels, random_rank(900), np.full(5, 0.2), groups)
    assert all(len(set(folds[groups == g])) == 1 for g in range(300))
    assert unevenness(labels, folds) < 1.5
    at_random = np.random.default_rng(0).integers(0, 5, 300)[groups]
    assert unevenness(labels, folds) < 0.3 * unevenness(labels, at_random)


def test_rows_without_labels_are_spread_evenly():
    labels = np.zeros((20, 3), dtype=np.int8)
    assert sorted(np.bincount(iterative_stratification(labels, random_rank(20), np.full(5, 0.2)))) == [4] * 5
