"""What a blend is fitted on, and what fitting comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kit.metrics import Metric
from kit.registry import Registry
from kit.tasks import Task


@dataclass(frozen=True)
class Problem:
    """The members' out-of-fold probabilities beside the truth.

    Attributes:
        members: (M, N, C), float32, rows and columns in one order for all.
        targets: (N,) or (N, C), as ``Task.targets`` gives them.
        seed: What random draws follow from.
    """

    members: np.ndarray
    targets: np.ndarray
    task: Task
    metric: Metric
    seed: int = 42

    def value(self, probs: np.ndarray) -> float:
        """Return the metric of some probabilities (N, C), so that more is better."""
        score = self.metric(self.targets, self.task.normalised(probs), self.task)
        return score if self.metric.higher_is_better else -score

    def only(self, rows: np.ndarray) -> Problem:
        """Return some of the rows."""
        return replace(self, members=self.members[:, rows], targets=self.targets[rows])

    def without(self, member: int) -> Problem:
        """Return all members but one."""
        return replace(self, members=np.delete(self.members, member, axis=0))


@dataclass(frozen=True)
class Combination:
    """How members become one.

    Attributes:
        combine: From (M, N, C) to (N, C); rows need not sum to 1.
        weights: Each member's, where the method has any; they sum to 1.
    """

    combine: Callable[[np.ndarray], np.ndarray]
    weights: np.ndarray | None = None

    def __call__(self, members: np.ndarray) -> np.ndarray:
        """Return the members combined."""
        return self.combine(members)


def weighted(weights: np.ndarray) -> Combination:
    """Return the weighted mean; where weights below 0 lead out of 0..1, it is cut there."""

    def combine(members: np.ndarray) -> np.ndarray:
        total = np.zeros(members.shape[1:])
        for weight, member in zip(weights, members, strict=True):
            if weight:
                total += weight * member
        return total if (weights >= 0).all() else np.clip(total, np.finfo(np.float32).tiny, 1.0)

    return Combination(combine, weights)


@dataclass(frozen=True)
class Method:
    """A way to blend.

    Attributes:
        fit: From a ``Problem`` and options to the combination.
        learns: Whether it looks at the truth, so that a score on the same rows flatters.
    """

    fit: Callable[..., Combination]
    learns: bool


@dataclass(frozen=True)
class Fit:
    """A method with its options."""

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, problem: Problem) -> Combination:
        """Return the method fitted."""
        return self.method.fit(problem, **self.options)


methods: Registry[Method] = Registry("blend method")


def register_method(
    name: str, learns: bool
) -> Callable[[Callable[..., Combination]], Callable[..., Combination]]:
    """Register a method; the arguments are the attributes of ``Method``."""

    def add(fit: Callable[..., Combination]) -> Callable[..., Combination]:
        methods.register(name)(Method(fit, learns))
        return fit

    return add
