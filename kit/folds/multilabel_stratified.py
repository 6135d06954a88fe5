"""Assign multi-label samples to folds by iterative stratification, of rows or of units.

K. Sechidis, G. Tsoumakas, I. Vlahavas: On the stratification of multi-label data, ECML PKDD 2011 (order 1).
P. Szymański, T. Kajdanowicz: A network perspective on stratification of multi-label data, 2017 (order 2:
pairs of labels are balanced like labels). A unit counts with all its rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, hstack

from kit.folds.stratified import fill_empty

CURRENT_WEIGHT = 1e3  # one row of the current label outweighs all other labels of a unit


def iterative_stratification(
    labels: np.ndarray,
    rank: np.ndarray,
    fractions: np.ndarray,
    units: np.ndarray | None = None,
    order: Literal[1, 2] = 1,
) -> np.ndarray:
    """Return the fold of each row, (N,), 0..K-1: every label in proportion to ``fractions``, rarest first.

    The result depends only on the rows, their rank and their units, not on any order or numbering.

    Args:
        labels: (N, C), 0 or 1.
        rank: (N,), a permutation: see ``kit.folds.stratified.canonical_rank``.
        fractions: (K,), summing to 1.
        units: (N,), codes from 0 of the units that stay together; None: every row is its own.
        order: 2 also balances every pair of labels that occurs.
    """
    in_order = np.argsort(rank, kind="stable")
    unit_of = np.arange(len(rank)) if units is None else pd.factorize(units[in_order])[0]
    evidence = _sparse(labels)[in_order]
    del labels  # as large as the table it comes from
    if order == 2:
        evidence = _with_pairs(evidence)
    sizes = np.bincount(unit_of)
    if len(sizes) < len(unit_of):
        evidence = _summed(evidence, unit_of, len(sizes))
    evidence = _canonical(evidence)
    folds = _place(evidence, sizes, fractions)[unit_of]
    fill_empty(folds, unit_of, fractions)
    result = np.empty_like(folds)
    result[in_order] = folds
    return result


def _sparse(labels: np.ndarray) -> csr_matrix:
    """Return a 0/1 matrix as sparse; scipy's own conversion needs several times the memory."""
    ones = (np.flatnonzero(labels) % max(1, labels.shape[1])).astype(np.int32)
    ends = np.append(0, labels.sum(axis=1, dtype=np.int32).cumsum()).astype(np.int32)
    return csr_matrix((np.ones(len(ones), np.int8), ones, ends), shape=labels.shape)


def _with_pairs(rows: csr_matrix) -> csr_matrix:
    """Return the labels of each row, and as further columns the pairs of labels."""
    num_rows, num_labels = rows.shape
    lengths = np.diff(rows.indptr)
    ends = np.repeat(rows.indptr[1:], lengths)
    places = np.arange(rows.nnz, dtype=np.int32)
    owner = np.repeat(np.arange(num_rows, dtype=np.int32), lengths)
    pairs, owners = [], []
    for distance in range(1, int(lengths.max(initial=0))):
        first = places[places + distance < ends]
        pairs.append(rows.indices[first] * num_labels + rows.indices[first + distance])
        owners.append(owner[first])
    if not pairs:
        return rows
    codes, names = pd.factorize(np.concatenate(pairs))
    entries = (np.ones(len(codes), dtype=np.int8), (np.concatenate(owners), codes.astype(np.int32)))
    return csr_matrix(hstack([rows, csr_matrix(entries, shape=(num_rows, len(names)))], format="csr"))


def _summed(rows: csr_matrix, unit_of: np.ndarray, count: int) -> csr_matrix:
    """Return the sums of rows per unit."""
    member = csr_matrix(
        (np.ones(len(unit_of), np.int32), (unit_of, np.arange(len(unit_of)))), (count, rows.shape[0])
    )
    return csr_matrix(member @ rows.astype(np.int32))


def _canonical(evidence: csr_matrix) -> csr_matrix:
    """Return the columns in canonical order: by sum, then by a hash of their rows."""
    weights = np.random.default_rng(0).random(evidence.shape[0])
    mark = np.round(np.asarray(evidence.T @ weights), 9)
    order = np.lexsort((mark, np.asarray(evidence.sum(axis=0)).ravel()))
    result = csr_matrix(evidence[:, order])
    result.sort_indices()
    return result


def _place(evidence: csr_matrix, sizes: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Return the fold of each unit, (U,). Evidence (U, L) counts labels; ``sizes`` (U,) counts rows.

    The label with the fewest unassigned rows is next. Each unit with it goes to the fold that lacks most of
    it; ties go to the fold that lacks most of all the unit's labels, as shares of their totals.
    """
    totals = np.asarray(evidence.sum(axis=0), dtype=np.float64).ravel()
    lacking = np.outer(np.sign(totals), fractions)  # (L, K), as shares of the label's total
    indptr, columns, shares = evidence.indptr, evidence.indices, evidence.data / totals[evidence.indices]
    room = sizes.sum() * fractions
    remaining = totals.copy()
    folds = np.full(len(sizes), -1)
    by_label = evidence.tocsc()
    while (remaining > 0).any():
        label = int(np.where(remaining > 0, remaining, np.inf).argmin())
        span = slice(by_label.indptr[label], by_label.indptr[label + 1])
        free = folds[by_label.indices[span]] < 0
        holders = by_label.indices[span][free]
        holders = holders[np.argsort(-by_label.data[span][free], kind="stable")]
        first = totals[label] * CURRENT_WEIGHT
        for unit, start, stop in zip(
            holders.tolist(), indptr[holders].tolist(), indptr[holders + 1].tolist(), strict=True
        ):
            present, share = columns[start:stop], shares[start:stop]
            fold = int((share @ lacking.take(present, axis=0) + first * lacking[label]).argmax())
            lacking[present, fold] -= share
            folds[unit] = fold
        room -= np.bincount(folds[holders], weights=sizes[holders], minlength=len(room))
        placed = evidence[holders]
        remaining -= np.bincount(placed.indices, weights=placed.data, minlength=len(remaining))
    _place_unlabeled(folds, sizes, room)
    return folds


def _place_unlabeled(folds: np.ndarray, sizes: np.ndarray, room: np.ndarray) -> None:
    """Assign the units without labels to the folds with most room, largest first, in place."""
    rest = np.flatnonzero(folds < 0)
    for unit in rest[np.argsort(-sizes[rest], kind="stable")].tolist():
        fold = int(np.round(room, 6).argmax())
        folds[unit] = fold
        room[fold] -= sizes[unit]
