"""Step ``prior``: correct exclusive classes for their frequency in the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from kit.metrics import EPSILON, Metric
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.tasks import Task

STRENGTHS = np.linspace(-0.5, 1.5, 41)


@register_step("prior")
@dataclass(frozen=True)
class Prior(Step):
    """Divide probabilities of exclusive classes by a power of the class frequencies.

    Strength 1 removes the training prior, which suits balanced accuracy; 0 changes nothing. Classes that do
    not occur are not rescaled.
    """

    strength: float
    shares: tuple[float, ...]

    @classmethod
    def suits(cls, task: Task, num_classes: int) -> bool:
        """Return whether each image has exactly one class, or shares of the classes."""
        return task.exclusive

    @classmethod
    def helps(cls, metric: Metric, task: Task) -> bool:
        """Return whether the metric weighs images differently by class."""
        return metric.needs == "labels" and task.is_nominal and not metric.equal_images

    @classmethod
    def fit(cls, rows: LabeledProbs) -> Self:
        """Return the prior correction with the best score (Saerens et al. 2002)."""
        shares = tuple(map(float, rows.task.prior(rows.targets, rows.probs.shape[1])))
        tried, sample = [cls(float(strength), shares) for strength in STRENGTHS], rows.sample()
        values = [sample.value(step.adjust(sample.probs, sample.task)) for step in tried]
        best = np.flatnonzero(np.asarray(values) == max(values))
        return tried[int(best[np.abs(STRENGTHS[best]).argmin()])]  # among ties, the smallest correction

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the corrected probabilities, which sum to 1 again."""
        shares = np.asarray(self.shares)
        factors = np.where(shares > 0, np.maximum(shares, EPSILON) ** -self.strength, 1.0)
        return task.normalized(probs * (factors / factors.mean()))

    def describe(self, classes: Sequence[str]) -> str:
        """Return the strength."""
        return f"divided by class frequency to the power {self.strength:.2f}"
