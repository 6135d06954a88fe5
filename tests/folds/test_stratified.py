"""Stratified assignment of rows and groups to folds."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from kit.folds.stratified import canonical_rank, stratified_assignment

FRACTIONS = st.sampled_from([(0.5, 0.5), (0.2,) * 5, (1 / 3,) * 3, (0.64, 0.16, 0.2), (0.8, 0.2)])


def deviation(strata, folds, fractions):
    """Return rows per stratum and fold minus the expected number, (strata, folds)."""
    counts = np.zeros((strata.max() + 1, len(fractions)))
    np.add.at(counts, (strata, folds), 1)
    return counts - np.outer(counts.sum(axis=1), fractions)


def random_rank(length, seed=0):
    return canonical_rank(pd.Series([f"id-{i}" for i in range(length)], dtype=str), seed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=5, max_size=80), FRACTIONS)
def test_every_stratum_deviates_by_less_than_one_row_per_fold(strata, fractions):
    strata = np.unique(strata, return_inverse=True)[1]
    folds = stratified_assignment(strata, random_rank(len(strata)), np.array(fractions))
    assert set(folds) == set(range(len(fractions)))
    assert np.abs(deviation(strata, folds, fractions)).max() < 1
    assert np.abs(np.bincount(folds) - len(folds) * np.array(fractions)).max() < 1.5


@st.composite
def strata_and_groups(draw):
    length = draw(st.integers(6, 60))
    integers = st.lists(st.integers(0, 4), min_size=length, max_size=length)
    return np.array(draw(integers)), np.array(
        [u % (length // 2) for u in draw(st.lists(st.integers(0, 99), min_size=length, max_size=length))]
    )


@settings(max_examples=60, deadline=None)
@given(strata_and_groups(), FRACTIONS)
def test_groups_stay_in_one_fold_and_no_fold_is_empty_if_possible(rows, fractions):
    strata, units = rows
    folds = stratified_assignment(strata, random_rank(len(strata)), np.array(fractions), units)
    assert all(len(set(folds[units == unit])) == 1 for unit in set(units))
    if len(set(units)) >= len(fractions):
        assert set(folds) == set(range(len(fractions)))


@settings(max_examples=40, deadline=None)
@given(strata_and_groups(), st.randoms())
def test_folds_do_not_depend_on_row_order_or_numbering(rows, random):
    strata, units = rows
    rank = random_rank(len(strata))
    plain = stratified_assignment(strata, rank, np.full(3, 1 / 3), units)
    order = list(range(len(strata)))
    random.shuffle(order)
    renamed = np.random.default_rng(len(order)).permutation(100)
    shuffled = stratified_assignment(
        renamed[strata][order], rank[order], np.full(3, 1 / 3), renamed[units][order]
    )
    np.testing.assert_array_equal(shuffled, plain[order])


def test_the_rank_depends_on_id_and_seed_only():
    ids = pd.Series([f"{i}.jpg" for i in range(500)], dtype=str)
    rank = canonical_rank(ids, 1)
    assert sorted(rank) == list(range(500))
    order = np.random.default_rng(0).permutation(500)
    np.testing.assert_array_equal(canonical_rank(ids[order], 1), rank[order])
    np.testing.assert_array_equal(canonical_rank(ids, 1), rank)
    assert (canonical_rank(ids, 2) != rank).any()
    kept = canonical_rank(ids[:400], 1)
    assert (np.argsort(kept) == [i for i in np.argsort(rank) if i < 400]).all()


def test_groups_are_spread_more_evenly_than_by_scikit_learn():
    deviations = np.zeros(2)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(60), rng.integers(1, 15, 60))
        strata = (rng.random(len(groups)) < 0.3).astype(int) + rng.integers(0, 3, 60)[groups]
        reference = np.zeros(len(groups), dtype=int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for k, (_, rows) in enumerate(splitter.split(groups, strata, groups)):
            reference[rows] = k
        ours = stratified_assignment(strata, random_rank(len(groups), seed), np.full(5, 0.2), groups)
        deviations += [np.abs(deviation(strata, folds, np.full(5, 0.2))).sum() for folds in (ours, reference)]
    assert deviations[0] < deviations[1]


def test_single_rows_compensate_for_uneven_groups():
    strata = np.repeat([0, 1], 30)
    units = np.arange(60)
    units[:7] = 0  # seven duplicates of one class: more than a fifth of it
    folds = stratified_assignment(strata, random_rank(60), np.full(5, 0.2), units)
    counts = np.bincount(folds[:30], minlength=5)
    assert sorted(counts) == [5, 6, 6, 6, 7]
    assert sorted(np.bincount(folds[30:])) == [6, 6, 6, 6, 6]
