"""How far a score would move with other rows: the rows drawn again and again, with replacement.

Efron & Tibshirani 1993, "An introduction to the bootstrap"; the intervals are percentiles, as in
its chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kit.metrics.metric import Metric, Scorer

DRAWS = 1000
FEWEST_DRAWS = 100
FEWEST_UNITS = 10  # rows or groups, below which draws say little of how far a score would move
AFFORDED_CELLS = 5 * 10**8  # rows x draws (x classes, for the order of each): some seconds
CHUNK_CELLS = 2**17  # draws x rows looked at together: small enough for a processor's cache


@dataclass(frozen=True)
class Interval:
    """Where the score lies in most draws.

    Attributes:
        draws_left_out: How many draws had no score, such as those without any row of a class.
    """

    low: float
    high: float
    draws_left_out: int = 0

    def told(self, signed: bool = False) -> str:
        """Return the interval for people."""
        if np.isnan(self.low):
            return "none: too few rows or groups"
        form = "+.4f" if signed else ".4f"
        return f"{self.low:{form}} to {self.high:{form}}"


def draw_weights(
    num_rows: int, draws: int, seed: int, units: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield how often each row was drawn, as chunks (d, N), until there were ``draws`` of them.

    Args:
        num_rows: N.
        seed: The same seed gives the same draws.
        units: What each row belongs to, (N,): rows of a unit are drawn together. Every draw takes as many
            units as there are. None: each row alone.
    """
    rng = np.random.default_rng(seed)
    unit_of_row, num_units = None, num_rows
    if units is not None:
        found, unit_of_row = np.unique(units, return_inverse=True)
        num_units = len(found)
    at_once = max(1, CHUNK_CELLS // max(1, num_rows))
    for first in range(0, draws, at_once):
        chunk = np.empty((min(at_once, draws - first), num_rows))
        for weights in chunk:
            times = np.bincount(rng.integers(num_units, size=num_units), minlength=num_units)
            weights[:] = times if unit_of_row is None else times[unit_of_row]
        yield chunk


def draw_scores(
    scorers: Sequence[Scorer],
    num_rows: int,
    draws: int = DRAWS,
    seed: int = 0,
    units: np.ndarray | None = None,
) -> np.ndarray:
    """Return what each scorer says of each draw, (scorers, draws), NaN where it has no score.

    All scorers see the same draws, so that differences between them are paired. The other arguments are those
    of ``draw_weights``.
    """
    chunks = draw_weights(num_rows, draws, seed, units)
    return np.concatenate([np.stack([scorer(chunk) for scorer in scorers]) for chunk in chunks], axis=1)


def interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Return the interval that leaves out the same share of the draws (D,) below and above.

    Draws without a score are left out and counted; with nothing else the interval is NaN.
    """
    kept = values[~np.isnan(values)]
    left_out = len(values) - len(kept)
    if not len(kept):
        return Interval(np.nan, np.nan, left_out)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), left_out)


def enough_draws(metric: Metric, num_rows: int, num_classes: int) -> int:
    """Return how many draws an interval takes: 1,000, or fewer where those would take minutes.

    With so many rows a score moves little from draw to draw.
    """
    cells = num_rows * (num_classes if metric.needs == "ranking" else 1)
    return min(DRAWS, max(FEWEST_DRAWS, AFFORDED_CELLS // max(1, cells)))


def score_interval(
    metric: Metric, scorer: Scorer, shape: tuple[int, ...], units: np.ndarray | None = None
) -> Interval:
    """Return the 95 % interval of a metric on rows; NaN where the rows or their groups are too few for one.

    Args:
        shape: (N, C) of the probabilities that are scored.
        units: As in ``draw_weights``.
    """
    if not _are_enough(shape[0], units):
        return Interval(np.nan, np.nan)
    draws = enough_draws(metric, *shape)
    return interval(draw_scores([scorer], shape[0], draws, units=units)[0])


def _are_enough(num_rows: int, units: np.ndarray | None) -> bool:
    return (num_rows if units is None else len(np.unique(units))) >= FEWEST_UNITS


def gain_interval(
    metric: Metric,
    scorer: Scorer,
    before: Scorer,
    shape: tuple[int, ...],
    units: np.ndarray | None = None,
) -> Interval:
    """Return the 95 % interval of how much better one scorer is than another on the same drawn rows.

    Positive is better, whichever way the metric goes. The arguments are those of ``score_interval``.
    """
    if not _are_enough(shape[0], units):
        return Interval(np.nan, np.nan)
    draws = enough_draws(metric, *shape)
    ours, theirs = draw_scores([scorer, before], shape[0], draws, units=units)
    return interval(ours - theirs if metric.higher_is_better else theirs - ours)
