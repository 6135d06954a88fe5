"""How evenly folds share out the classes: counts, the ideal, and how far from it they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.config import FoldsConfig
from kit.folds.table import HELD_OUT, TRAIN_ONLY, Folds
from kit.natural import natural_key


@dataclass(frozen=True)
class Balance:
    """The images of each class on each side of a partition.

    Attributes:
        counts: Classes (rows) by sides (columns): -1 trained on only, -2 held out, 0..K-1 validated in turn.
        ideal: The same sides, those left out that nothing is spread over; a class's images in proportion.
        images: Side -> how many images lie there.
        groups: Side -> how many groups lie there; None without groups.
    """

    counts: pd.DataFrame
    ideal: pd.DataFrame
    images: pd.Series
    groups: pd.Series | None

    @property
    def largest_deviation(self) -> float:
        """By how many images the side and class farthest from the ideal misses it."""
        return float(self._deviation().abs().to_numpy().max(initial=0.0))

    @property
    def chi_square(self) -> float:
        """Pearson's statistic of counts against the ideal: 0 where every side has its exact share."""
        ideal = self.ideal.to_numpy()
        return float((self._deviation().to_numpy() ** 2 / np.where(ideal > 0, ideal, np.inf)).sum())

    @property
    def p_value(self) -> float:
        """How often a random partition would be as uneven: near 1 for well spread classes."""
        from scipy.stats import chi2

        freedom = (len(self.ideal) - 1 or 1) * (self.ideal.shape[1] - 1)
        return float(chi2.sf(self.chi_square, freedom)) if freedom else 1.0

    def _deviation(self) -> pd.DataFrame:
        return self.counts[self.ideal.columns] - self.ideal


def balance_of(folds: Folds, config: FoldsConfig, repeat: int = 0) -> Balance:
    """Return the balance of one repeat of a partition."""
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
    return Balance(counts, ideal, pd.Series(sides).value_counts(), groups)


def _counts(folds: Folds, sides: np.ndarray) -> pd.DataFrame:
    if folds.label_columns == ["label"]:
        labelled = (folds.table["label"] != "").to_numpy()
        counts = pd.crosstab(folds.table["label"][labelled], sides[labelled])
    else:
        counts = (folds.table[folds.label_columns] == 1).groupby(sides).sum().T
    return counts.loc[sorted(counts.index, key=natural_key)]


def _side_order(side: int) -> tuple[bool, int]:
    """Sort folds first, then what is trained on only, then what is held out."""
    return side < 0, abs(side)


def side_name(side: int) -> str:
    """Return what people call a side."""
    return {TRAIN_ONLY: "train only", HELD_OUT: "held out"}.get(side, f"fold {side}")
