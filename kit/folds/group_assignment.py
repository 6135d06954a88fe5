"""Assign units to folds: greedily one after the other, then improved by moves and swaps.

Units have counts for several columns (all rows, and each stratum). All arithmetic is in integers, so every
machine gives the same folds.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

STEPS = 256  # the resolution of fractions of a row
WEIGHT = 2**24  # total weight of a column, divided among its rows, so that all columns weigh the same
MAX_ROUNDS = 40  # of improvement
MAX_MOVES = 2000  # units that a round tries to move
MAX_SWAPS = 48  # units per fold that a round tries to swap


class Placement:
    """Units with their counts and folds, and the excess of every fold.

    The objective is the sum over columns and folds of (held - target)² / total. It is quadratic, so the cost
    of a fold for one unit is the sum of count * excess / total over the unit's few columns.

    Attributes:
        folds: (U,), the fold of each unit, or -1.
        columns: (M,), the columns of all units, unit after unit, ascending within a unit.
        counts: (M,), the unit's count in that column.
        excess: (L, K), held minus target per column and fold, in ``1 / STEPS`` rows.
    """

    def __init__(self, owners: np.ndarray, columns: np.ndarray, targets: np.ndarray) -> None:
        """Start without folds.

        Args:
            owners: (M',), units 0..U-1, each at least once.
            columns: (M',), a column of that unit; a pair that occurs n times has count n.
            targets: (L, K), the target of each column and fold.
        """
        cells = owners * np.int64(len(targets))
        cells += columns
        cells.sort()
        starts = _run_starts(cells)
        self.counts = np.diff(starts, append=len(cells)).astype(np.int32)
        owners, self.columns = np.divmod(cells[starts], len(targets))
        self._bounds = np.append(_run_starts(owners), len(owners))
        del cells, starts, owners
        self._weights = WEIGHT // np.maximum(np.rint(targets.sum(axis=1)).astype(np.int64), 1)
        self._force = self.counts * self._weights[self.columns]
        self.excess = -np.rint(targets * STEPS).astype(np.int64)
        self.folds = np.full(len(self._bounds) - 1, -1)
        self.alone = np.add.reduceat(self._force * self.counts, self._bounds[:-1]) * STEPS

    def entries(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the entries of some units, (E,), and the unit of each entry, (E,)."""
        lengths = self._bounds[units + 1] - self._bounds[units]
        whose = np.repeat(np.arange(len(units)), lengths)
        skipped = self._bounds[units] - np.cumsum(lengths) + lengths
        return np.arange(len(whose)) + skipped[whose], whose

    def place(self, sequence: np.ndarray) -> None:
        """Assign units in sequence, each to the fold with the lowest cost; ties go to the lowest fold."""
        excess, bounds = self.excess, self._bounds.tolist()
        rows = self.counts * np.int64(STEPS)
        for unit in sequence.tolist():
            span = slice(bounds[unit], bounds[unit + 1])
            columns = self.columns[span]
            fold = int((self._force[span] @ excess.take(columns, axis=0)).argmin())
            excess[columns, fold] += rows[span]
            self.folds[unit] = fold

    def improve(self) -> None:
        """Move units, and swap pairs if no move helps, as long as the objective decreases."""
        for _ in range(MAX_ROUNDS):
            costs = self._costs()
            if not self._move_some(costs) and not self._swap_some(costs):
                return

    def _costs(self) -> np.ndarray:
        """Return the cost of each unit in each fold, (U, K), up to a constant per unit."""
        costs = np.empty((len(self.folds), self.excess.shape[1]), dtype=np.int64)
        for fold in range(costs.shape[1]):
            excess = self.excess[:, fold][self.columns]
            costs[:, fold] = np.add.reduceat(np.multiply(excess, self._force, out=excess), self._bounds[:-1])
        return costs

    def _move_some(self, costs: np.ndarray) -> bool:
        """Move the units that gain most, each if it still gains; return whether any was moved."""
        own = np.take_along_axis(costs, self.folds[:, None], axis=1)[:, 0]
        change = costs.min(axis=1) - own + self.alone
        moved = False
        gaining = np.flatnonzero(change < 0)
        for unit in gaining[np.argsort(change[gaining], kind="stable")][:MAX_MOVES].tolist():
            span = slice(self._bounds[unit], self._bounds[unit + 1])
            cost = self._force[span] @ self.excess[self.columns[span]]
            best = int(cost.argmin())
            if cost[best] - cost[self.folds[unit]] + self.alone[unit] < 0:
                self._move(unit, best)
                moved = True
        return moved

    def _move(self, unit: int, fold: int) -> None:
        span = slice(self._bounds[unit], self._bounds[unit + 1])
        self.excess[self.columns[span], self.folds[unit]] -= self.counts[span] * STEPS
        self.excess[self.columns[span], fold] += self.counts[span] * STEPS
        self.folds[unit] = fold

    def _swap_some(self, costs: np.ndarray) -> bool:
        """Swap the best pair of units between every two folds, if that gains; return whether any was."""
        swapped = False
        for one, other in combinations(range(costs.shape[1]), 2):
            toward = costs[:, other] - costs[:, one]
            left, right = np.flatnonzero(self.folds == one), np.flatnonzero(self.folds == other)
            left = left[np.argsort((self.alone + toward)[left], kind="stable")][:MAX_SWAPS]
            right = right[np.argsort((self.alone - toward)[right], kind="stable")][:MAX_SWAPS]
            if len(left) and len(right):
                swapped |= self._swap_best(left, right)
        return swapped

    def _swap_best(self, left: np.ndarray, right: np.ndarray) -> bool:
        one, other = int(self.folds[left[0]]), int(self.folds[right[0]])
        where, whose = self.entries(np.concatenate([left, right]))
        columns, position = np.unique(self.columns[where], return_inverse=True)
        held = np.zeros((len(left) + len(right), len(columns)), dtype=np.int64)
        held[whose, position] = self.counts[where]
        force = held * self._weights[columns]
        toward = force @ (self.excess[columns, other] - self.excess[columns, one])
        out, back = toward[: len(left)] + self.alone[left], self.alone[right] - toward[len(left) :]
        change = out[:, None] + back - 2 * STEPS * (force[: len(left)] @ held[len(left) :].T)
        best = np.unravel_index(change.argmin(), change.shape)
        if change[best] >= 0:
            return False
        self._move(int(left[best[0]]), other)
        self._move(int(right[best[1]]), one)
        return True


def _run_starts(numbers: np.ndarray) -> np.ndarray:
    """Return the position of the first of each distinct number in sorted numbers (M,)."""
    return np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
