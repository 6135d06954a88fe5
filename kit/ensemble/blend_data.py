"""The data that a blend is fitted on, and the combination of members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kit.metrics import Metric
from kit.tasks import Task


@dataclass(frozen=True)
class BlendData:
    """The members' out-of-fold probabilities, with targets, task and metric.

    Attributes:
        members: (M, N, C), float32; all members have the same rows and columns. Numbers of a regression:
            (M, N, 1).
        targets: (N,) or (N, C), as ``Task.targets`` returns them.
        seed: The seed of random draws.
    """

    members: np.ndarray
    targets: np.ndarray
    task: Task
    metric: Metric
    seed: int = 42

    def value(self, probs: np.ndarray) -> float:
        """Return the metric of probabilities (N, C), negated if lower is better."""
        score = self.metric(self.targets, self.task.normalized(probs), self.task)
        return score if self.metric.higher_is_better else -score

    def mean_squared_error(self, numbers: np.ndarray) -> float:
        """Return the mean squared error of numbers (N, 1), for a regression."""
        return float(((numbers.astype(np.float64) - self.targets) ** 2).mean())

    def only(self, rows: np.ndarray) -> BlendData:
        """Return the data of some rows."""
        return replace(self, members=self.members[:, rows], targets=self.targets[rows])

    def without(self, member: int) -> BlendData:
        """Return the data without one member."""
        return replace(self, members=np.delete(self.members, member, axis=0))


@dataclass(frozen=True)
class Combination:
    """A function that combines members.

    Attributes:
        combine: From (M, N, C) to (N, C), whose rows need not sum to 1.
        weights: (M,), summing to 1; None if the method has no weights.
    """

    combine: Callable[[np.ndarray], np.ndarray]
    weights: np.ndarray | None = None

    def __call__(self, members: np.ndarray) -> np.ndarray:
        """Return the combined probabilities (N, C)."""
        return self.combine(members)


def weighted_mean(weights: np.ndarray, numeric: bool = False) -> Combination:
    """Return the weighted mean; of probabilities, clipped to 0..1 if a weight is negative.

    Args:
        numeric: Whether the members are the numbers of a regression, not probabilities.
    """

    def combine(members: np.ndarray) -> np.ndarray:
        total = np.zeros(members.shape[1:])
        for weight, member in zip(weights, members, strict=True):
            if weight:
                total += weight * member
        return total if numeric or (weights >= 0).all() else np.clip(total, np.finfo(np.float32).tiny, 1.0)

    return Combination(combine, weights)
