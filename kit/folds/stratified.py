"""Exclusive labels -> folds: every stratum in proportion, units whole, the same for any order of rows.

Rows are taken in the order of a rank that their id and the seed give, never in the order of the table; strata
are numbered anew by their size. What is compared is whole or rounded, so every machine gives the same folds.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from kit.folds.group_assignment import Placement

CHUNK = 100_000  # ids hashed at a time: as objects, texts are large
NEARBY = 1e-6  # what float products may miss whole numbers by


def canonical_rank(ids: pd.Series, seed: int) -> np.ndarray:
    """Return the rank of each row, (N,), in a pseudo-random order that depends on ids and seed alone.

    Args:
        ids: Texts (N,), all different.
    """
    key = hashlib.sha256(str(seed).encode()).hexdigest()[:16]
    parts = [ids.iloc[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    hashes = np.concatenate([_hashed(part, key) for part in parts]) if parts else np.zeros(0, np.uint64)
    order: np.ndarray = np.argsort(hashes, kind="stable")
    if (np.diff(hashes[order]) == 0).any():  # two of 2^64: then the texts decide
        order = np.lexsort((ids.to_numpy(dtype=str), hashes))
    return inverse(order)


def _hashed(ids: pd.Series, key: str) -> np.ndarray:
    return pd.util.hash_array(ids.to_numpy(dtype=object), hash_key=key, categorize=False)


def spread(
    strata: np.ndarray, rank: np.ndarray, fractions: np.ndarray, units: np.ndarray | None = None
) -> np.ndarray:
    """Return a fold for each row, (N,), int64, 0..K-1: every stratum, and all rows, as ``fractions`` say.

    Without units, a stratum's rows in a fold miss their share by less than one. With them, units of several
    rows are placed first, where they disturb the shares least; single rows then fill up what folds lack.

    Args:
        strata: (N,), numbers from 0.
        rank: (N,), a permutation: see ``canonical_rank``.
        fractions: (K,), shares that sum to 1.
        units: (N,), numbers from 0 of what stays together; None: every row is its own.
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


def inverse(permutation: np.ndarray) -> np.ndarray:
    """Return at which position each number stands, (N,)."""
    positions = np.empty(len(permutation), dtype=np.int64)
    positions[permutation] = np.arange(len(permutation))
    return positions


def first_seen(codes: np.ndarray) -> np.ndarray:
    """Return codes anew, (N,), numbered 0, 1, … in the order in which they first occur."""
    numbers: np.ndarray = pd.factorize(codes)[0]
    return numbers


def _by_count(codes: np.ndarray) -> np.ndarray:
    """Return codes anew, (N,), the rarest first, equally rare ones as they first occur.

    The type is narrow where it can be, since narrow numbers are sorted in linear time.
    """
    seen = first_seen(codes)
    numbers = inverse(np.argsort(np.bincount(seen), kind="stable"))
    return np.asarray(numbers.astype(np.uint16 if len(numbers) < 2**16 else np.int64)[seen])


def _counts(codes: np.ndarray, folds: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the rows of each stratum and fold, (S, K); rows without a fold are not counted."""
    placed = np.flatnonzero(folds >= 0)
    cells = codes[placed].astype(np.int64) * shape[1] + folds[placed]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)


def _shares_left(targets: np.ndarray, held: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Return how many of the available rows of each stratum every fold should get, (S, K), in fractions.

    A fold that holds more than its target gets none, and the others bear that in proportion to their targets:
    of the folds still open, all end at the same multiple of the target.
    """
    open_ = targets > 0
    if not held.any():
        return targets
    for _ in range(targets.shape[1]):
        total = available + np.where(open_, held, 0).sum(axis=1)
        ideal = np.where(open_, targets, 0)
        level = ideal * (total / np.maximum(ideal.sum(axis=1), NEARBY))[:, None]
        over = open_ & (held > level + NEARBY)
        if not over.any():
            break
        open_ &= ~over
    return np.where(open_, np.maximum(level - held, 0), 0)


def _whole_numbers(wanted: np.ndarray, lacking: np.ndarray) -> np.ndarray:
    """Return ``wanted`` (S, K) in whole numbers with the same sums of rows: each its floor or its ceiling.

    Stratum by stratum, what the floors leave goes to the folds that are farthest behind in all rows so far.

    Args:
        lacking: (S, K), rows that each stratum and fold is below its target.
    """
    quotas = np.floor(wanted + NEARBY).astype(np.int64)
    parts = wanted - quotas
    left = np.rint(parts.sum(axis=1)).astype(np.int64)
    behind = (lacking - wanted).sum(axis=0)
    for stratum in np.flatnonzero(left):
        behind += parts[stratum]
        may = parts[stratum] > NEARBY
        urgency = np.where(may, np.round(behind, 6), -np.inf)
        chosen = np.argsort(-urgency, kind="stable")[: left[stratum]]
        quotas[stratum, chosen] += 1
        behind[chosen] -= 1
    return quotas


def _whole_units(units: np.ndarray, codes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the folds of rows in units of several, (R,): the weightiest units first, each where it fits.

    Args:
        units: (R,), numbers from 0 in canonical order.
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
    """Give every empty fold a unit, in place, the smallest there is, while other folds have one to spare.

    Args:
        folds: (N,), in canonical order.
        units: (N,), numbered 0, 1, … as they first occur; None: every row is its own.
        fractions: (K,); a fold whose share is 0 may stay empty.
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
