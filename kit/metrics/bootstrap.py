"""Bootstrap intervals: how much a score varies between samples of the rows, drawn with replacement.

Efron & Tibshirani 1993, "An introduction to the bootstrap"; percentile intervals, chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.metrics.metric import Metric, Scorer

DRAWS = 1000
MIN_DRAWS = 100
MIN_UNITS = 10  # rows or groups; with fewer, the interval would be meaningless
MAX_CELLS = 5 * 10**8  # rows x draws (x classes, for rankings), which take seconds
CHUNK_CELLS = 2**17  # draws x rows per chunk, to fit a processor's cache


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a score.

    Attributes:
        skipped_draws: The number of draws without a score, such as draws that miss a class.
    """

    low: float
    high: float
    skipped_draws: int = 0

    @property
    def is_above_zero(self) -> bool:
        """Whether a gain with this interval is beyond noise."""
        return self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether a loss with this interval is beyond noise."""
        return self.high < 0

    def text(self, signed: bool = False) -> str:
        """Return the interval as text."""
        if np.isnan(self.low):
            return "none: too few rows or groups"
        form = "+.4f" if signed else ".4f"
        return f"{self.low:{form}} to {self.high:{form}}"


def plain_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a result for JSON, with the bounds of its interval as ``low`` and ``high``.

    A ``dict_factory`` for ``dataclasses.asdict``.
    """
    values = dict(pairs)
    interval = values.pop("interval", None)
    return values | ({key: interval[key] for key in ("low", "high")} if interval else {})


def bootstrap_weights(
    num_rows: int, draws: int, seed: int, units: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield how often each row was drawn, in chunks (d, N) that sum to ``draws`` draws.

    Args:
        num_rows: N.
        seed: The same seed gives the same draws.
        units: The group of each row, (N,); rows of a group are drawn together, and each draw takes as many
            groups as exist. None: every row is its own group.
    """
    rng = np.random.default_rng(seed)
    unit_of_row, num_units = None, num_rows
    if units is not None:
        found, unit_of_row = np.unique(units, return_inverse=True)
        num_units = len(found)
    chunk_draws = max(1, CHUNK_CELLS // max(1, num_rows))
    for first in range(0, draws, chunk_draws):
        chunk = np.empty((min(chunk_draws, draws - first), num_rows))
        for weights in chunk:
            times = np.bincount(rng.integers(num_units, size=num_units), minlength=num_units)
            weights[:] = times if unit_of_row is None else times[unit_of_row]
        yield chunk


def bootstrap_scores(
    scorers: Sequence[Scorer],
    num_rows: int,
    draws: int = DRAWS,
    seed: int = 0,
    units: np.ndarray | None = None,
) -> np.ndarray:
    """Return the score of each scorer in each draw, (scorers, draws); NaN where it cannot be computed.

    All scorers get the same draws, so that differences between them are paired. See ``bootstrap_weights`` for
    the arguments.
    """
    chunks = bootstrap_weights(num_rows, draws, seed, units)
    return np.concatenate([np.stack([scorer(chunk) for scorer in scorers]) for chunk in chunks], axis=1)


def interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Return the central interval of the draws' scores (D,).

    NaN scores are skipped and counted; if all are NaN, so is the interval.
    """
    scored = values[~np.isnan(values)]
    skipped = len(values) - len(scored)
    if not len(scored):
        return Interval(np.nan, np.nan, skipped)
    low, high = np.quantile(scored, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), skipped)


def num_draws_for(metric: Metric, num_rows: int, num_classes: int) -> int:
    """Return the number of draws for an interval: 1,000, or fewer if 1,000 would take minutes.

    With so many rows the score varies little between draws.
    """
    cells = num_rows * (num_classes if metric.needs == "ranking" else 1)
    return min(DRAWS, max(MIN_DRAWS, MAX_CELLS // max(1, cells)))


def score_interval(
    metric: Metric, scorer: Scorer, shape: tuple[int, ...], units: np.ndarray | None = None
) -> Interval:
    """Return the 95 % interval of a score; NaN for fewer than ``MIN_UNITS`` rows or groups.

    Args:
        shape: (N, C) of the probabilities.
        units: See ``bootstrap_weights``.
    """
    if not _has_enough_units(shape[0], units):
        return Interval(np.nan, np.nan)
    draws = num_draws_for(metric, *shape)
    return interval(bootstrap_scores([scorer], shape[0], draws, units=units)[0])


def _has_enough_units(num_rows: int, units: np.ndarray | None) -> bool:
    return (num_rows if units is None else len(np.unique(units))) >= MIN_UNITS


def gain_interval(
    metric: Metric,
    scorer: Scorer,
    before: Scorer,
    shape: tuple[int, ...],
    units: np.ndarray | None = None,
) -> Interval:
    """Return the 95 % interval of the gain from ``before`` to ``scorer``, on the same draws.

    A positive gain is an improvement, whichever direction the metric has. See ``score_interval`` for the
    arguments.
    """
    if not _has_enough_units(shape[0], units):
        return Interval(np.nan, np.nan)
    draws = num_draws_for(metric, *shape)
    after, baseline = bootstrap_scores([scorer, before], shape[0], draws, units=units)
    return interval(after - baseline if metric.higher_is_better else baseline - after)
