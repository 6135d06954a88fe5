"""Step ``temperature``: make all probabilities more, or less, confident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from kit.metrics import EPSILON, Metric, get_metric
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.tasks import Task

LOG_TEMPERATURES = np.log(0.1), np.log(10.0)


@register_step("temperature")
@dataclass(frozen=True)
class Temperature(Step):
    """Divide logits by a temperature: above 1, probabilities become less confident, below 1 more."""

    value: float

    @classmethod
    def helps(cls, metric: Metric, task: Task) -> bool:
        """Return whether the metric reads probabilities."""
        return metric.needs == "probabilities" and not task.numeric

    @classmethod
    def fit(cls, rows: LabeledProbs) -> Self:
        """Return the temperature with the best score (Guo et al. 2017).

        If the metric uses only labels: the temperature with the smallest log loss.
        """
        from scipy.optimize import minimize_scalar

        if rows.metric.needs != "probabilities":
            rows = replace(rows, metric=get_metric("log_loss", rows.task))

        def loss(log_temperature: float) -> float:
            return -rows.value(cls(float(np.exp(log_temperature))).adjust(rows.probs, rows.task))

        found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-4})
        unchanged = loss(0.0) <= found.fun  # the search can miss the optimum of a piecewise constant metric
        return cls(1.0 if unchanged else float(np.exp(found.x)))

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return softmax(logits / T), or sigmoid(logits / T) for multi-label tasks."""
        clipped = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
        powers = clipped ** (1 / self.value)
        complements = 0.0 if task.exclusive else (1 - clipped) ** (1 / self.value)
        return task.normalized(powers if task.exclusive else powers / (powers + complements))

    def describe(self, classes: Sequence[str]) -> str:
        """Return the temperature."""
        return f"T = {self.value:.3f}"
