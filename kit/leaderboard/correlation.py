"""Whether cross-validation ranks submissions as the leaderboard does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from kit.leaderboard.entries import Entry

ENOUGH = 3  # submissions; two always rank alike or the other way round
ALIKE = 0.5
BOARDS = ("public", "private")


@dataclass(frozen=True)
class Correlation:
    """How alike CV and a leaderboard rank the submissions of a competition.

    Attributes:
        board: ``public`` or ``private``.
        spearman: 1 for the same order, −1 for the opposite one, ties sharing a rank; None where all CV or all
            leaderboard scores are the same, which says nothing.
        submissions: How many have both scores.
    """

    competition: str
    metric: str
    board: str
    spearman: float | None
    submissions: int

    @property
    def told(self) -> str:
        """One line for people."""
        what = f"CV and {self.board} LB"
        over = f"over {self.submissions} submissions"
        if self.spearman is None:
            return f"{what}: whether they rank alike cannot be told {over}, all scores are the same"
        if self.spearman >= ALIKE:
            return f"{what} rank alike: Spearman {self.spearman:.2f} {over}"
        return (
            f"{what} do not rank alike: Spearman {self.spearman:.2f} {over}. Be careful, CV does not tell "
            "the leaderboard: look at the folds, at leaks, and at how test images differ from training images"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"told": self.told}


def correlations(entries: Sequence[Entry]) -> list[Correlation]:
    """Return for every competition and leaderboard how alike it and CV rank, from three submissions on.

    Both scores are of one metric, so where lower is better both orders turn round and the sign stays right.
    """
    found = []
    scored = sorted((e for e in entries if e.cv is not None), key=_where)
    for (competition, metric), group in groupby(scored, key=_where):
        rows = list(group)
        for board in BOARDS:
            pairs = [(row.cv, score) for row in rows if (score := getattr(row, board)) is not None]
            if len(pairs) >= ENOUGH:
                found.append(Correlation(competition, metric, board, _spearman(pairs), len(pairs)))
    return found


def _where(entry: Entry) -> tuple[str, str]:
    return entry.competition, entry.metric


def _spearman(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Return the correlation of ranks; by pandas, since loading scipy takes longer than all the rest."""
    ranks = pd.DataFrame(pairs).rank()
    if (ranks.nunique() == 1).any():
        return None
    return float(np.corrcoef(ranks, rowvar=False)[0, 1])
