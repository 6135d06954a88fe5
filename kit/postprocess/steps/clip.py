"""Step ``clip``: keep the numbers of a regression within the range of the training numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from kit.metrics import Metric
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.tasks import Task


@register_step("clip")
@dataclass(frozen=True)
class Clip(Step):
    """Replace numbers outside the range of the training numbers by its nearest bound."""

    low: float
    high: float

    @classmethod
    def suits(cls, task: Task, num_classes: int) -> bool:
        """Return whether the label is a number."""
        return task.numeric

    @classmethod
    def helps(cls, metric: Metric, task: Task) -> bool:
        """Return whether the label is a number."""
        return task.numeric

    @classmethod
    def fit(cls, rows: LabeledProbs) -> Self:
        """Return the range of the targets."""
        return cls(float(rows.targets.min()), float(rows.targets.max()))

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the numbers within the range, (N, 1), float32."""
        return np.asarray(np.clip(probs, np.float32(self.low), np.float32(self.high)))

    def describe(self, classes: Sequence[str]) -> str:
        """Return the range."""
        return f"{self.low:g} to {self.high:g}"
