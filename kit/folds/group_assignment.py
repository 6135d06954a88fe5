"""Units that count for several columns, placed in folds one after the other, then moved and swapped.

All is counted in whole numbers, so every machine gives the same folds.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

STEPS = 256  # parts of a row in which shares of rows are counted
WEIGHT = 2**24  # shared out among the rows of a column, so that every column counts the same
ROUNDS = 40  # of improvement, at most
MOVED = 2000  # units that a round tries to move
TRIED = 48  # units per fold that a round tries to swap


class Placement:
    """Units, what they count for, the fold of each, and by how much every fold exceeds its shares.

    Kept small is the sum over columns and folds of (held - target)² / total. As that is quadratic, all that
    tells the folds apart for one unit is the sum of count * excess / total over the unit's few columns.

    Attributes:
        folds: (U,), -1 while a unit has none.
        columns: (M,), the columns of all units, unit after unit, in increasing order within a unit.
        counts: (M,), how often the unit counts for that column.
        excess: (L, K), held less target of each column and fold, in ``1 / STEPS`` rows.
    """

    def __init__(self, owners: np.ndarray, columns: np.ndarray, targets: np.ndarray) -> None:
        """Count what every unit has; none has a fold yet.

        Args:
            owners: A unit (M',), 0..U-1, each there at least once …
            columns: … and a column it counts for (M',); a pair that is there n times counts n.
            targets: (L, K), what every fold should hold of each column.
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
        """Return where the entries of some units stand, (E,), and which of these units has them, (E,)."""
        lengths = self._bounds[units + 1] - self._bounds[units]
        whose = np.repeat(np.arange(len(units)), lengths)
        skipped = self._bounds[units] - np.cumsum(lengths) + lengths
        return np.arange(len(whose)) + skipped[whose], whose

    def place(self, sequence: np.ndarray) -> None:
        """Give units their folds, one after the other, each where it costs least; of equals the lowest."""
        excess, bounds = self.excess, self._bounds.tolist()
        rows = self.counts * np.int64(STEPS)
        for unit in sequence.tolist():
            span = slice(bounds[unit], bounds[unit + 1])
            columns = self.columns[span]
            fold = int((self._force[span] @ excess.take(columns, axis=0)).argmin())
            excess[columns, fold] += rows[span]
            self.folds[unit] = fold

    def improve(self) -> None:
        """Move units, and swap pairs of them where no move helps, while folds come closer to their shares."""
        for _ in range(ROUNDS):
            costs = self._costs()
            if not self._move_some(costs) and not self._swap_some(costs):
                return

    def _costs(self) -> np.ndarray:
        """Return what each unit would cost in each fold, (U, K), up to what is the same in all."""
        costs = np.empty((len(self.folds), self.excess.shape[1]), dtype=np.int64)
        for fold in range(costs.shape[1]):
            excess = self.excess[:, fold][self.columns]
            costs[:, fold] = np.add.reduceat(np.multiply(excess, self._force, out=excess), self._bounds[:-1])
        return costs

    def _move_some(self, costs: np.ndarray) -> bool:
        """Move the units that gain most, each if it still gains; return whether any did."""
        own = np.take_along_axis(costs, self.folds[:, None], axis=1)[:, 0]
        change = costs.min(axis=1) - own + self.alone
        moved = False
        gaining = np.flatnonzero(change < 0)
        for unit in gaining[np.argsort(change[gaining], kind="stable")][:MOVED].tolist():
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
        """Swap the best pair of units between every two folds, if that gains; return whether any did."""
        swapped = False
        for one, other in combinations(range(costs.shape[1]), 2):
            toward = costs[:, other] - costs[:, one]
            left, right = np.flatnonzero(self.folds == one), np.flatnonzero(self.folds == other)
            left = left[np.argsort((self.alone + toward)[left], kind="stable")][:TRIED]
            right = right[np.argsort((self.alone - toward)[right], kind="stable")][:TRIED]
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
    """Return where, in sorted numbers (M,), each distinct one begins."""
    return np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
