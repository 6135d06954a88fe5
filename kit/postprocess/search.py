"""Search for the best thresholds or cut points: exact for metrics of counts, coordinate ascent for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kit.metrics.counts import f_beta_of
from kit.metrics.metric import ValueOfCounts

Per = Literal["class", "all"]
NUM_CANDIDATES = 40  # values that coordinate ascent tries for each parameter


@dataclass(frozen=True)
class Cutoffs:
    """The counts of one label at every possible threshold, from the highest threshold (no positives) down.

    Attributes:
        thresholds: (K,), halfway between neighboring probabilities.
        given: (K,), the number of rows at or above the threshold.
        hits: (K,), the number of those rows that have the label.
        support: The number of rows that have the label.
    """

    thresholds: np.ndarray
    given: np.ndarray
    hits: np.ndarray
    support: int


def all_cutoffs(probs: np.ndarray, truth: np.ndarray) -> Cutoffs:
    """Return the counts at every distinct threshold, for probabilities and 0/1 labels, both (N,)."""
    order = np.argsort(-probs)
    scores, hits = probs[order].astype(np.float64), np.cumsum(truth[order], dtype=np.int64)
    last_of_ties = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    lower = np.append(scores[last_of_ties[:-1] + 1], max(scores[-1] - 1e-6, 0.0))
    thresholds = np.append(min(scores[0] + 1e-6, 2.0), (scores[last_of_ties] + lower) / 2)
    return Cutoffs(
        thresholds,
        given=np.append(0, last_of_ties + 1),
        hits=np.append(0, hits[last_of_ties]),
        support=int(hits[-1]),
    )


def best_per_class(probs: np.ndarray, truth: np.ndarray, value: ValueOfCounts, beta: float) -> np.ndarray:
    """Return each class's best threshold, (C,), for a metric that is the mean over classes of ``value``.

    Args:
        value: The function of a label's counts to maximize, and its beta.
    """
    chosen = []
    for c in range(probs.shape[1]):
        cuts = all_cutoffs(probs[:, c], truth[:, c])
        values = value(cuts.hits, cuts.given, np.asarray(cuts.support), len(probs), beta)
        chosen.append(cuts.thresholds[int(values.argmax())])
    return np.array(chosen)


def best_micro(probs: np.ndarray, truth: np.ndarray, beta: float) -> np.ndarray:
    """Return the thresholds (C,) with the best micro F-beta, exactly.

    The score is a ratio of sums over classes. Dinkelbach's method (1967) maximizes numerator minus ratio
    times denominator, which separates by class, and repeats with the new ratio until it stops growing.
    """
    columns = [all_cutoffs(probs[:, c], truth[:, c]) for c in range(probs.shape[1])]
    support, ratio, weight = sum(cuts.support for cuts in columns), 0.0, 1 + beta**2
    while True:
        picked = [int((weight * cuts.hits - ratio * cuts.given).argmax()) for cuts in columns]
        hits = sum(int(cuts.hits[k]) for cuts, k in zip(columns, picked, strict=True))
        given = sum(int(cuts.given[k]) for cuts, k in zip(columns, picked, strict=True))
        better = weight * hits / max(given + beta**2 * support, 1e-12)
        if better <= ratio + 1e-12:
            return np.array([cuts.thresholds[k] for cuts, k in zip(columns, picked, strict=True)])
        ratio = better


def best_global_micro(probs: np.ndarray, truth: np.ndarray, beta: float) -> float:
    """Return the one threshold for all classes with the best micro F-beta, exactly."""
    cuts = all_cutoffs(probs.ravel(), truth.ravel())
    return float(
        cuts.thresholds[int(f_beta_of(cuts.hits, cuts.given, np.asarray(cuts.support), beta).argmax())]
    )


def coordinate_ascent(
    start: np.ndarray,
    candidates: list[np.ndarray],
    score: Callable[[np.ndarray], float],
    sweeps: int = 5,
    ordered: bool = False,
) -> np.ndarray:
    """Maximize a score by changing one value at a time, until no candidate improves it.

    Args:
        start: The initial values, (K,).
        candidates: For each of the K values, the values to try.
        score: The function of values (K,) to maximize.
        sweeps: The largest number of passes over all values.
        ordered: Whether the values must be ascending.
    """
    best, values = score(start), start.copy()
    for _ in range(sweeps):
        before = best
        for k, allowed in enumerate(candidates):
            for candidate in allowed:
                trial = values.copy()
                trial[k] = candidate
                if ordered and (np.diff(trial) < 0).any():
                    continue
                reached = score(trial)
                if reached > best:
                    best, values = reached, trial
        if best <= before:
            break
    return values


def quantiles(values: np.ndarray, number: int) -> np.ndarray:
    """Return up to ``number`` distinct quantiles of ``values``, evenly spaced in rank."""
    return np.unique(np.quantile(values, np.linspace(0.0, 1.0, number + 2)[1:-1]))
