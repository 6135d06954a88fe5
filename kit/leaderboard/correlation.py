"""Compute the rank correlation of cross-validation scores and leaderboard scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from kit.errors import counted
from kit.leaderboard.entries import Entry
from kit.leaderboard.scores import BOARDS

MIN_SUBMISSIONS = 3  # two always rank in the same or the opposite order
MIN_SPEARMAN = 0.5  # from here on, the ranks count as similar


@dataclass(frozen=True)
class Correlation:
    """The rank correlation of CV and leaderboard over the submissions of a competition.

    Attributes:
        board: ``public`` or ``private``.
        spearman: 1 for the same order, −1 for the opposite one; ties share a rank. None if all CV scores or
            all leaderboard scores are equal.
        submissions: The number of submissions with both scores.
    """

    competition: str
    metric: str
    board: str
    spearman: float | None
    submissions: int

    @property
    def summary(self) -> str:
        """The correlation and its meaning in one line of text."""
        what = f"CV and {self.board} LB"
        over = f"over {counted(self.submissions, 'submission')}"
        if self.spearman is None:
            return f"{what}: no rank correlation {over}, all scores are equal"
        if self.spearman >= MIN_SPEARMAN:
            return f"{what} rank submissions similarly: Spearman {self.spearman:.2f} {over}"
        return (
            f"{what} rank submissions differently: Spearman {self.spearman:.2f} {over}. CV does not predict "
            "the leaderboard: check folds, leaks and the differences between training and test images"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"told": self.summary}


def correlations(entries: Sequence[Entry]) -> list[Correlation]:
    """Return the rank correlation for every competition and leaderboard with three submissions or more.

    Both scores are values of the same metric, so its direction does not matter.
    """
    found = []
    scored = sorted((e for e in entries if e.cv is not None), key=_group)
    for (competition, metric), group in groupby(scored, key=_group):
        rows = list(group)
        for board in BOARDS:
            pairs = [(row.cv, score) for row in rows if (score := getattr(row, board)) is not None]
            if len(pairs) >= MIN_SUBMISSIONS:
                found.append(Correlation(competition, metric, board, _spearman(pairs), len(pairs)))
    return found


def _group(entry: Entry) -> tuple[str, str]:
    return entry.competition, entry.metric


def _spearman(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Return the rank correlation; with pandas, because importing scipy takes longer than the command."""
    ranks = pd.DataFrame(pairs).rank()
    if (ranks.nunique() == 1).any():
        return None
    return float(np.corrcoef(ranks, rowvar=False)[0, 1])
