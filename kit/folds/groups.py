"""The samples to split, and the units that must stay together: rows of one group, and duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kit.competition.samples import EXTRA
from kit.tasks import LABEL, VALUE, Target, has_label_column, has_value_column, labeled

Tie = tuple[np.ndarray, np.ndarray]  # rows (R,) and codes (R,): rows with equal codes stay together


@dataclass(frozen=True)
class Population:
    """The training samples to split.

    Attributes:
        samples: ``id``, the label columns, and optionally ``path group given_fold source``.
        label_columns: ``label`` (followed by the shares of distributions), one 0/1 column per class, or
            ``value``.
        duplicates: Groups of paths with the same or nearly the same image.
        corrected: Ids whose label was corrected: folds that were made before stay.
    """

    samples: pd.DataFrame
    label_columns: list[str]
    duplicates: Sequence[Sequence[str]] = field(default=())
    corrected: frozenset[str] = frozenset()

    @property
    def target(self) -> Target:
        """What a split takes a label for; a distribution is the class with the largest share."""
        if has_value_column(self.label_columns):
            return "number"
        return "class" if has_label_column(self.label_columns) else "classes"

    @property
    def labeled(self) -> np.ndarray:
        """Which samples have a label, (N,), bool."""
        return labeled(self.samples, self.label_columns)

    @property
    def extra(self) -> np.ndarray:
        """Which samples come from ``competition.extra``, (N,), bool."""
        if "source" not in self.samples:
            return np.zeros(len(self.samples), dtype=bool)
        return (self.samples["source"] == EXTRA).to_numpy(dtype=bool)

    @property
    def values(self) -> np.ndarray:
        """The numbers, (N,), float64, NaN without a label."""
        numbers: np.ndarray = self.samples[VALUE].to_numpy(dtype=np.float64)
        return numbers

    @property
    def matrix(self) -> np.ndarray:
        """The 0/1 columns, (N, C), int8."""
        block: np.ndarray = self.samples[self.label_columns].to_numpy(dtype=np.int8)
        return block

    def classes(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return all pairs of a sample and one of its classes, and the class names.

        Returns:
            Rows (P,), class indices (P,), and names (C,). Samples without a label have no pair. Numbers are
            no classes: there are no pairs and no names.
        """
        if self.target == "number":
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), []
        if self.target == "class":
            codes, names = pd.factorize(self.samples[LABEL].where(self.labeled, None))
            rows = np.flatnonzero(codes >= 0)
            return rows, codes[rows], [str(name) for name in names]
        rows, columns = np.nonzero(self.matrix == 1)
        return rows, columns, self.label_columns

    def units(self, by_group: bool) -> np.ndarray | None:
        """Return the unit of each sample, (N,), 0..U-1; None if every sample is its own unit.

        Samples with the same ``group`` (if ``by_group``; blank groups do not count), the same path, or
        duplicate paths are in one unit.
        """
        ties: list[Tie] = []
        if by_group:
            group = self.samples["group"]
            ties.append(_tie(group.where(group != "", None)))
        if "path" in self.samples:
            ties += [_tie(self.samples["path"]), self._tie_of_duplicates()]
        if not any(len(codes) > len(np.unique(codes)) for _, codes in ties):
            return None
        return _connected(ties, len(self.samples))

    def _tie_of_duplicates(self) -> Tie:
        """Return rows and their sets of duplicates; a path may be in several sets."""
        sets = pd.DataFrame(
            [(path, number) for number, paths in enumerate(self.duplicates) for path in paths],
            columns=["path", "set"],
        )
        rows = pd.DataFrame({"path": self.samples["path"].to_numpy(), "row": np.arange(len(self.samples))})
        pairs = rows[rows["path"].isin(sets["path"])].merge(sets, on="path")
        return pairs["row"].to_numpy(np.int64), pairs["set"].to_numpy(np.int64)


def _tie(values: pd.Series) -> Tie:
    """Return the rows that have a value, and a code per distinct value."""
    codes: np.ndarray = pd.factorize(values)[0]
    rows = np.flatnonzero(codes >= 0)
    return rows, codes[rows]


def _connected(ties: Sequence[Tie], length: int) -> np.ndarray:
    """Return the connected component of each row; rows with a common code in a tie are connected."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, hubs, offset = [], [], length
    for tied, codes in ties:
        rows.append(tied)
        hubs.append(codes + offset)
        offset += int(codes.max(initial=-1)) + 1
    ends = (np.concatenate(rows), np.concatenate(hubs))
    graph = coo_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(offset, offset))
    _, component = connected_components(graph, directed=False)
    units: np.ndarray = pd.factorize(component[:length])[0]
    return units
