"""Metrics of numbers: how far predicted numbers, or expected grades, are from the true ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.errors import KitError
from kit.metrics.metric import Scorer, SumScorer, mean_scorer, ratio, register_scorer
from kit.tasks import Task


def register_distance(
    name: str, *, higher_is_better: bool = False, grades: bool = True, **attributes: Any
) -> Callable[[Callable[..., Scorer]], Callable[..., Scorer]]:
    """Register a metric of the numbers of a regression and (with ``grades``) of expected grades."""
    attributes |= {"ordinal": True, "exclusive": True, "numeric": None} if grades else {"numeric": True}
    return register_scorer(name, "probabilities", higher_is_better, **attributes)


@register_distance("rmse")
def rmse(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The root mean squared error of the numbers; for ordinal tasks of the expected grade, in grades."""
    truth, predicted = _numbers(targets, probs)
    squares = (predicted - truth) ** 2
    return SumScorer(squares[:, None], lambda sums, total: np.sqrt(ratio(sums[:, 0], total)))


@register_distance("mae")
def mae(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The mean absolute error of the numbers; for ordinal tasks of the expected grade, in grades."""
    truth, predicted = _numbers(targets, probs)
    return mean_scorer(np.abs(predicted - truth))


@register_distance("r2", higher_is_better=True)
def r2(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The coefficient of determination: 1 is perfect, 0 is as good as the mean of the true numbers.

    Undefined if all true numbers are equal.
    """
    truth, predicted = _numbers(targets, probs)
    centered = truth - truth.mean()  # sums of large numbers would lose digits
    rows = np.stack([(predicted - truth) ** 2, centered, centered**2], axis=1)

    def finish(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        errors, first, second = sums.T
        spread = second - ratio(first**2, total)
        return 1 - ratio(errors, np.where(spread > 1e-12 * second, spread, 0.0))

    return SumScorer(rows, finish)


@register_distance("spearman", higher_is_better=True)
def spearman(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Spearman's rank correlation of predicted and true numbers, from -1 to 1; ties share their rank.

    0 if all predicted numbers are equal; undefined if all true numbers are equal.
    """
    truth, predicted = _numbers(targets, probs)
    return _RankCorrelation(_Ties.of(truth), _Ties.of(predicted))


@register_distance("rmsle", grades=False, lowest=0.0)
def rmsle(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The root mean squared error of log(1 + number); predictions below 0 count as 0.

    Submissions hold 0 for such predictions, too. Targets below 0 are refused.
    """
    truth, predicted = _numbers(targets, probs)
    if (truth < 0).any():
        raise KitError(
            "metric rmsle",
            f"cannot score {(truth < 0).sum()} targets below 0 (lowest: {truth.min():g})",
            "It takes the logarithm of 1 + the target",
            "Use rmse or mae.",
            code="metric_not_computable",
        )
    squares = (np.log1p(np.maximum(predicted, 0.0)) - np.log1p(truth)) ** 2
    return SumScorer(squares[:, None], lambda sums, total: np.sqrt(ratio(sums[:, 0], total)))


def predicted_numbers(probs: np.ndarray) -> np.ndarray:
    """Return predicted numbers (N, 1), or the mean class index under probabilities (N, C): (N,), float64."""
    if probs.shape[1] == 1:
        return np.asarray(probs[:, 0], dtype=np.float64)
    grades: np.ndarray = probs.astype(np.float64) @ np.arange(probs.shape[1])
    return grades


def _numbers(targets: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted numbers, or grades, (N,) each, float64."""
    return targets.reshape(len(targets)).astype(np.float64), predicted_numbers(probs)


@dataclass(frozen=True)
class _Ties:
    """Numbers in ascending order, sorted once for all weightings.

    Attributes:
        order: (N,), the positions in ascending order.
        starts: (G,), the first entry of each run of equal numbers.
        run: (N,), the run of each position.
    """

    order: np.ndarray
    starts: np.ndarray
    run: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> _Ties:
        order = np.argsort(values, kind="stable")
        is_first = np.append(True, np.diff(values[order]) != 0)
        run = np.empty(len(values), dtype=np.int64)
        run[order] = np.cumsum(is_first) - 1
        return cls(order, np.flatnonzero(is_first), run)

    def ranks(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean rank of each number, (D, N), if number n occurs ``weights[d, n]`` times."""
        size = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        return np.asarray((np.cumsum(size, axis=1) - size / 2)[:, self.run])


@dataclass(frozen=True)
class _RankCorrelation:
    """The scorer of the correlation of two weighted rankings."""

    truth: _Ties
    predicted: _Ties

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1, keepdims=True)
        x, y = (ties.ranks(weights) - total / 2 for ties in (self.truth, self.predicted))
        spread_x, spread_y = (np.sqrt((weights * each**2).sum(axis=1)) for each in (x, y))
        known = ratio((weights * x * y).sum(axis=1), spread_x * spread_y, otherwise=0.0)
        return np.where(spread_x > 0, known, np.nan)
