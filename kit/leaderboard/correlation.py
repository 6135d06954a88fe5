"""Whether cross-validation ranks submissions as the leaderboard does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from kit.leaderboard.entries import Entry

ENOUGH = 3  # submissions; two always rank the same or the opposite way
ALIKE = 0.5
BOARDS = ("public", "private")


@dataclass(frozen=True)
class Correlation:
    """The rank correlation of CV and leaderboard over the submissions of a competition.

    Attributes:
        board: ``public`` or ``private``.
        spearman: 1 for the same order, −1 for the opposite one, ties sharing a rank; None where all CV or all
            leaderboard scores are equal.
        submissions: The number of submissions with both scores.
    """

    competition: str
    metric: str
    board: str
    spearman: float | None
    submissions: int

    @property
    def summary(self) -> str:
        """One line for people."""
        what = f"CV and {self.board} LB"
        over = f"over {self.submissions} submissions"
        if self.spearman is None:
            return f"{what}: no rank correlation {over}, all scores are equal"
        if self.spearman >= ALIKE:
            return f"{what} rank alike: Spearman {self.spearman:.2f} {over}"
        return (
            f"{what} do not rank alike: Spearman {self.spearman:.2f} {over}. CV does not predict the "
            "leaderboard: check the folds, leaks, and how test images differ from training images"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"told": self.summary}


def correlations(entries: Sequence[Entry]) -> list[Correlation]:
    """Return the rank correlation for every competition and leaderboard with three submissions or more.

    CV and leaderboard score are of the same metric, so its direction does not matter.
    """
    found = []
    scored = sorted((e for e in entries if e.cv is not None), key=_group)
    for (competition, metric), group in groupby(scored, key=_group):
        rows = list(group)
        for board in BOARDS:
            pairs = [(row.cv, score) for row in rows if (score := getattr(row, board)) is not None]
            if len(pairs) >= ENOUGH:
                found.append(Correlation(competition, metric, board, _spearman(pairs), len(pairs)))
    return found


def _group(entry: Entry) -> tuple[str, str]:
    return entry.competition, entry.metric


def _spearman(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Return the rank correlation. It uses pandas, since importing scipy takes longer than the command."""
    ranks = pd.DataFrame(pairs).rank()
    if (ranks.nunique() == 1).any():
        return None
    return float(np.corrcoef(ranks, rowvar=False)[0, 1])
