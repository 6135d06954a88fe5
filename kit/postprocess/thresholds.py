"""Which thresholds score best: exactly where a metric follows from counts, by steps where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kit.metrics.counts import f_beta_of
from kit.metrics.metric import ValueOfCounts

Per = Literal["class", "all"]


@dataclass(frozen=True)
class Cuts:
    """What one column of probabilities comes to wherever it is cut, from the highest cut (none given) down.

    Attributes:
        thresholds: (K,), halfway between the neighbouring probabilities.
        given: (K,), how many rows reach the threshold.
        hits: (K,), how many of them have the label.
        support: How many rows have it.
    """

    thresholds: np.ndarray
    given: np.ndarray
    hits: np.ndarray
    support: int


def cuts_of(probs: np.ndarray, truth: np.ndarray) -> Cuts:
    """Return every different way to cut a column: probabilities and 0/1, both (N,)."""
    order = np.argsort(-probs)
    scores, hits = probs[order].astype(np.float64), np.cumsum(truth[order], dtype=np.int64)
    last_of_ties = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    lower = np.append(scores[last_of_ties[:-1] + 1], max(scores[-1] - 1e-6, 0.0))
    thresholds = np.append(min(scores[0] + 1e-6, 2.0), (scores[last_of_ties] + lower) / 2)
    return Cuts(
        thresholds,
        given=np.append(0, last_of_ties + 1),
        hits=np.append(0, hits[last_of_ties]),
        support=int(hits[-1]),
    )


def best_per_class(probs: np.ndarray, truth: np.ndarray, value: ValueOfCounts, beta: float) -> np.ndarray:
    """Return each class's best threshold, (C,), for a mean over the classes of a value of its counts.

    Args:
        value: The function of a label's counts to maximize, and its beta.
    """
    chosen = []
    for c in range(probs.shape[1]):
        cuts = cuts_of(probs[:, c], truth[:, c])
        values = value(cuts.hits, cuts.given, np.asarray(cuts.support), len(probs), beta)
        chosen.append(cuts.thresholds[int(values.argmax())])
    return np.array(chosen)


def best_micro(probs: np.ndarray, truth: np.ndarray, beta: float) -> np.ndarray:
    """Return the thresholds (C,) with the best F-beta over all labels together, exactly.

    The score is a ratio of sums over the classes, which Dinkelbach's method (1967) makes a few searches of
    one class each: with the ratio so far as the price of a given label, every class picks its cut alone.
    """
    columns = [cuts_of(probs[:, c], truth[:, c]) for c in range(probs.shape[1])]
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
    """Return the one threshold with the best F-beta over all labels together, exactly."""
    cuts = cuts_of(probs.ravel(), truth.ravel())
    return float(
        cuts.thresholds[int(f_beta_of(cuts.hits, cuts.given, np.asarray(cuts.support), beta).argmax())]
    )


def climb(
    start: np.ndarray,
    candidates: list[np.ndarray],
    score: Callable[[np.ndarray], float],
    sweeps: int = 5,
    ordered: bool = False,
) -> np.ndarray:
    """Return values that no change of a single one improves, among its candidates.

    Args:
        start: (K,), where to begin.
        candidates: For each of the K values, what it may become.
        score: What is to be large, of values (K,).
        sweeps: How often each value has its turn, at most.
        ordered: Whether the values have to ascend.
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
    """Return up to so many different values, evenly spread over the ranks of ``values``."""
    return np.unique(np.quantile(values, np.linspace(0.0, 1.0, number + 2)[1:-1]))
