"""Assign samples to folds: every stratum in proportion, units together, independent of the order of rows.

Rows are processed by a rank that depends on their id and the seed; strata are renumbered by size. Comparisons
are between integers or rounded numbers, so every machine gives the same folds.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from kit.folds.group_assignment import Placement

MAX_BINS = 20  # ranges of numbers
CHUNK = 100_000  # ids hashed at a time, to bound memory
TOLERANCE = 1e-6  # for float products that should be integers


def canonical_rank(ids: pd.Series, seed: int) -> np.ndarray:
    """Return the rank of each row, (N,), in a pseudo-random order that depends only on ids and seed.

    Args:
        ids: (N,), unique.
    """
    key = hashlib.sha256(str(seed).encode()).hexdigest()[:16]
    parts = [ids.iloc[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    hashes = np.concatenate([_hashed(part, key) for part in parts]) if parts else np.zeros(0, np.uint64)
    order: np.ndarray = np.argsort(hashes, kind="stable")
    if (np.diff(hashes[order]) == 0).any():  # equal hashes: the ids decide
        order = np.lexsort((ids.to_numpy(dtype=str), hashes))
    return inverse(order)


def _hashed(ids: pd.Series, key: str) -> np.ndarray:
    return pd.util.hash_array(ids.to_numpy(dtype=object), hash_key=key, categorize=False)


def stratified_assignment(
    strata: np.ndarray, rank: np.ndarray, fractions: np.ndarray, units: np.ndarray | None = None
) -> np.ndarray:
    """Return the fold of each row, (N,), int64, 0..K-1: every stratum, and all rows, in proportion.

    Without units, the count of a stratum in a fold deviates from its share by less than one. With units,
    units of several rows are assigned first; single rows then fill the folds.

    Args:
        strata: (N,), codes from 0.
        rank: (N,), a permutation: see ``canonical_rank``.
        fractions: (K,), summing to 1.
        units: (N,), codes from 0 of the units that stay together; None: every row is its own.
    """
    order = inverse(rank)
    codes = _by_count(strata[order])
    targets = np.outer(np.bincount(codes), fractions)
    folds = np.full(len(order), -1)
    free = np.arange(len(order))
    if units is not None:
        units = first_seen(units[order])
        shared = np.bincount(units)[units] > 1
        free = np.flatnonzero(~shared)
        tied = np.flatnonzero(shared)
        if len(tied):
            folds[tied] = _whole_units(first_seen(units[tied]), codes[tied], targets)
    held = _counts(codes, folds, targets.shape)
    available = np.bincount(codes[free], minlength=len(targets))
    quotas = _whole_numbers(_shares_left(targets, held, available), targets - held)
    by_stratum = free[np.argsort(codes[free], kind="stable")]
    folds[by_stratum] = np.repeat(np.tile(np.arange(len(fractions)), len(targets)), quotas.ravel())
    fill_empty(folds, units, fractions)
    return np.asarray(folds[rank])


def quantile_bins(values: np.ndarray, num_folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of each number, as codes (N,) from 0, and the lower bound of each range.

    The ranges hold about equally many numbers, at least two per fold; equal numbers are in one range.

    Args:
        values: (N,), finite, in any order.
    """
    number = max(1, min(MAX_BINS, len(values) // (2 * num_folds)))
    bounds = np.unique(np.quantile(values, np.arange(number) / number, method="lower"))
    return np.searchsorted(bounds, values, side="right") - 1, bounds


def inverse(permutation: np.ndarray) -> np.ndarray:
    """Return the inverse of a permutation, (N,)."""
    positions = np.empty(len(permutation), dtype=np.int64)
    positions[permutation] = np.arange(len(permutation))
    return positions


def first_seen(codes: np.ndarray) -> np.ndarray:
    """Return codes renumbered 0, 1, … in order of first occurrence, (N,)."""
    numbers: np.ndarray = pd.factorize(codes)[0]
    return numbers


def _by_count(codes: np.ndarray) -> np.ndarray:
    """Return codes renumbered by frequency, rarest first, ties by first occurrence, (N,).

    The type is narrow if possible, because narrow integers are sorted in linear time.
    """
    seen = first_seen(codes)
    numbers = inverse(np.argsort(np.bincount(seen), kind="stable"))
    return np.asarray(numbers.astype(np.uint16 if len(numbers) < 2**16 else np.int64)[seen])


def _counts(codes: np.ndarray, folds: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the number of rows per stratum and fold, (S, K), without rows that have no fold."""
    placed = np.flatnonzero(folds >= 0)
    cells = codes[placed].astype(np.int64) * shape[1] + folds[placed]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def _shares_left(targets: np.ndarray, held: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Return how many available rows of each stratum every fold should get, (S, K), as fractions.

    A fold above its target gets none; the other folds all end at the same multiple of their targets.
    """
    open_ = targets > 0
    if not held.any():
        return targets
    for _ in range(targets.shape[1]):
        total = available + np.where(open_, held, 0).sum(axis=1)
        ideal = np.where(open_, targets, 0)
        level = ideal * (total / np.maximum(ideal.sum(axis=1), TOLERANCE))[:, None]
        over = open_ & (held > level + TOLERANCE)
        if not over.any():
            break
        open_ &= ~over
    return np.where(open_, np.maximum(level - held, 0), 0)


def _whole_numbers(wanted: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """Return ``wanted`` (S, K) rounded to integers with the same row sums, each to its floor or ceiling.

    Stratum by stratum, the remainders go to the folds that lack most rows so far.

    Args:
        lacking: (S, K), target minus held rows.
    """
    quotas = np.floor(wanted + TOLERANCE).astype(np.int64)
    parts = wanted - quotas
    left = np.rint(parts.sum(axis=1)).astype(np.int64)
    behind = (lacking - wanted).sum(axis=0)
    for stratum in np.flatnonzero(left):
        behind += parts[stratum]
        may = parts[stratum] > TOLERANCE
        urgency = np.where(may, np.round(behind, 6), -np.inf)
        chosen = np.argsort(-urgency, kind="stable")[: left[stratum]]
        quotas[stratum, chosen] += 1
        behind[chosen] -= 1
    return quotas


def _whole_units(units: np.ndarray, codes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the folds of rows in units of several rows, (R,): units with most weight first.

    Args:
        units: (R,), codes from 0 in canonical order.
        codes: (R,), strata.
        targets: (S, K), rows per stratum and fold, single rows included.
    """
    owners = np.concatenate([units, units])
    columns = np.concatenate([np.zeros(len(units), dtype=np.int64), codes.astype(np.int64) + 1])
    placement = Placement(owners, columns, np.vstack([targets.sum(axis=0), targets]))
    placement.place(np.argsort(-placement.alone, kind="stable"))
    placement.improve()
    return np.asarray(placement.folds[units])


def fill_empty(folds: np.ndarray, units: np.ndarray | None, fractions: np.ndarray) -> None:
    """Move the smallest unit to every empty fold, in place, as long as other folds keep one.

    Args:
        folds: (N,), in canonical order.
        units: (N,), codes 0, 1, … in order of first occurrence; None: every row is its own.
        fractions: (K,); a fold with share 0 may stay empty.
    """
    empty = np.flatnonzero((np.bincount(folds, minlength=len(fractions)) == 0) & (fractions > 0))
    if len(empty) == 0:
        return
    units = np.arange(len(folds)) if units is None else units
    _, first, sizes = np.unique(units, return_index=True, return_counts=True)
    for fold in empty.tolist():
        home = folds[first]
        spare = np.flatnonzero(np.bincount(home)[home] > 1)
        if len(spare) == 0:
            return
        rows = np.bincount(folds)[home[spare]]
        chosen = spare[np.lexsort((-rows, sizes[spare]))[0]]
        folds[units == chosen] = fold
