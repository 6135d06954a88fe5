"""Report how evenly classes are distributed over folds: counts, the ideal, the deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.config import FoldsConfig
from kit.folds.stratified import quantile_bins
from kit.folds.table import HELD_OUT, TRAIN_ONLY, Folds
from kit.natural import natural_key
from kit.tasks import LABEL, VALUE, has_label_column, has_value_column, labeled


@dataclass(frozen=True)
class FoldBalance:
    """The number of images per class on each side of a partition.

    Attributes:
        counts: Classes or ranges of numbers (rows) by sides (columns): -1 train only, -2 held out, 0..K-1 the
            folds.
        ideal: The counts with exact shares, for the sides that classes are distributed over.
        images: Side -> number of images.
        groups: Side -> number of groups; None without groups.
        rows: What a row of ``counts`` is: a class or a range.
    """

    counts: pd.DataFrame
    ideal: pd.DataFrame
    images: pd.Series
    groups: pd.Series | None
    rows: str = "class"

    @property
    def largest_deviation(self) -> float:
        """The largest absolute deviation from the ideal, in images."""
        return float(self._deviation().abs().to_numpy().max(initial=0.0))

    @property
    def chi_square(self) -> float:
        """Pearson's chi-square statistic of counts against the ideal."""
        ideal = self.ideal.to_numpy()
        return float((self._deviation().to_numpy() ** 2 / np.where(ideal > 0, ideal, np.inf)).sum())

    @property
    def p_value(self) -> float:
        """The probability that a random partition is as uneven; near 1 for an even one."""
        from scipy.stats import chi2

        freedom = (len(self.ideal) - 1 or 1) * (self.ideal.shape[1] - 1)
        return float(chi2.sf(self.chi_square, freedom)) if freedom else 1.0

    def _deviation(self) -> pd.DataFrame:
        return self.counts[self.ideal.columns] - self.ideal


def fold_balance(folds: Folds, config: FoldsConfig, repeat: int = 0) -> FoldBalance:
    """Return the balance of one repeat."""
    sides = folds.table[folds.columns[repeat]].to_numpy()
    counts = _counts(folds, sides)
    spread = dict.fromkeys(range(folds.count), 1 / folds.count)
    if config.fractions is not None:
        spread = dict(zip((TRAIN_ONLY, 0, HELD_OUT), config.fractions, strict=False))
    counts = counts.reindex(columns=sorted({*counts.columns, *spread}, key=_side_order), fill_value=0)
    total = counts[list(spread)].sum(axis=1).to_numpy()
    ideal = pd.DataFrame(np.outer(total, list(spread.values())), counts.index, list(spread))
    groups = None
    if "group" in folds.table:
        groups = folds.table["group"].groupby(sides).nunique()
    what = "range" if has_value_column(folds.label_columns) else "class"
    return FoldBalance(counts, ideal, pd.Series(sides).value_counts(), groups, what)


def _counts(folds: Folds, sides: np.ndarray) -> pd.DataFrame:
    if has_value_column(folds.label_columns):
        return _range_counts(folds, sides)
    if has_label_column(folds.label_columns):
        rows = labeled(folds.table, folds.label_columns)
        counts = pd.crosstab(folds.table[LABEL][rows], sides[rows])
    else:
        counts = (folds.table[folds.label_columns] == 1).groupby(sides).sum().T
    return counts.loc[sorted(counts.index, key=natural_key)]


def _range_counts(folds: Folds, sides: np.ndarray) -> pd.DataFrame:
    """Return images per range of numbers (as for ``folds.scheme: quantile``) and side, in order."""
    rows = labeled(folds.table, folds.label_columns)
    values = folds.table[VALUE].to_numpy(dtype=np.float64)[rows]
    codes, _ = quantile_bins(values, max(2, folds.count))
    inside = [values[codes == code] for code in range(codes.max() + 1)]
    names = [f"{each.min():g} to {each.max():g}" for each in inside]
    counts = pd.crosstab(codes, sides[rows])
    return counts.set_axis(pd.Index(names), axis="index")


def _side_order(side: int) -> tuple[bool, int]:
    """Return a key that sorts folds first, then train only, then held out."""
    return side < 0, abs(side)


def side_name(side: int) -> str:
    """Return the name of a side."""
    return {TRAIN_ONLY: "train only", HELD_OUT: "held out"}.get(side, f"fold {side}")
