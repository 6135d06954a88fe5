"""What must stay together: rows of one group, and rows whose images are duplicates, are one unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kit.competition.layouts import BLANK_CLASS, UNKNOWN
from kit.competition.samples import EXTRA


@dataclass(frozen=True)
class Population:
    """The training samples that are to be split.

    Attributes:
        samples: ``id``, the label columns, and perhaps ``path group given_fold source``.
        label_columns: ``["label"]``, or one 0/1 column per class.
        duplicates: Groups of paths whose images are (nearly) the same.
    """

    samples: pd.DataFrame
    label_columns: list[str]
    duplicates: Sequence[Sequence[str]] = field(default=())

    @property
    def exclusive(self) -> bool:
        """Whether every sample has one class."""
        return self.label_columns == ["label"]

    @property
    def labelled(self) -> np.ndarray:
        """Which samples have a label, (N,), bool."""
        if self.exclusive:
            return (self.samples["label"] != BLANK_CLASS).to_numpy(dtype=bool)
        return np.asarray((self.matrix != UNKNOWN).all(axis=1))

    @property
    def extra(self) -> np.ndarray:
        """Which samples come from ``competition.extra``, (N,), bool."""
        if "source" not in self.samples:
            return np.zeros(len(self.samples), dtype=bool)
        return (self.samples["source"] == EXTRA).to_numpy(dtype=bool)

    @property
    def matrix(self) -> np.ndarray:
        """The 0/1 columns, (N, C), int8."""
        block: np.ndarray = self.samples[self.label_columns].to_numpy(dtype=np.int8)
        return block

    def classes(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return which sample has which class, one entry per pair, and the classes' names.

        Returns:
            Row numbers (P,), class numbers (P,), and names (C,). Samples without a label have none.
        """
        if self.exclusive:
            codes, names = pd.factorize(self.samples["label"].where(self.labelled, None))
            rows = np.flatnonzero(codes >= 0)
            return rows, codes[rows], [str(name) for name in names]
        rows, columns = np.nonzero(self.matrix == 1)
        return rows, columns, self.label_columns

    def units(self, by_group: bool) -> np.ndarray | None:
        """Return the unit of each sample, (N,), codes 0..U-1; None where every sample is its own.

        Samples are tied by an equal ``group`` (if ``by_group``; a blank one ties nothing), by one path, and
        by paths that are duplicates.
        """
        ties = []
        if by_group:
            group = self.samples["group"]
            ties.append(_codes(group.where(group != "", None)))
        if "path" in self.samples:
            ties += self._ties_by_image()
        if not any(_ties_anything(tie) for tie in ties):
            return None
        return _connected(ties, len(self.samples))

    def _ties_by_image(self) -> list[np.ndarray]:
        paths = _codes(self.samples["path"])
        known = {path: number for number, group in enumerate(self.duplicates) for path in group}
        return [paths, _codes(self.samples["path"].map(known))] if known else [paths]


def _codes(values: pd.Series) -> np.ndarray:
    """Return a number per distinct value, (N,); -1 where it is missing."""
    codes: np.ndarray = pd.factorize(values)[0]
    return codes


def _ties_anything(tie: np.ndarray) -> bool:
    known = tie[tie >= 0]
    return len(known) > 0 and len(known) > known.max() + 1


def _connected(ties: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Return the connected component of each row, where rows that share a code of any tie are connected."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, hubs, offset = [], [], length
    for tie in ties:
        tied = np.flatnonzero(tie >= 0)
        rows.append(tied)
        hubs.append(tie[tied] + offset)
        offset += int(tie.max(initial=-1)) + 1
    ends = (np.concatenate(rows), np.concatenate(hubs))
    graph = coo_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(offset, offset))
    _, component = connected_components(graph, directed=False)
    units: np.ndarray = pd.factorize(component[:length])[0]
    return units
