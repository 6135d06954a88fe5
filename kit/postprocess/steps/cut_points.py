"""Step ``cut_points``: cut the expected grade of an ordinal task into grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from kit.metrics import Metric
from kit.metrics.distances import predicted_numbers
from kit.postprocess.search import NUM_CANDIDATES, coordinate_ascent, quantiles
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.tasks import Task


@register_step("cut_points")
@dataclass(frozen=True)
class CutPoints(Step):
    """Cut the expected grade into grades: class c if it lies between cut c - 1 and cut c."""

    chooses_labels: ClassVar[bool] = True
    values: tuple[float, ...]

    @classmethod
    def suits(cls, task: Task, num_classes: int) -> bool:
        """Return whether the classes are grades."""
        return task.ordinal

    @classmethod
    def helps(cls, metric: Metric, task: Task) -> bool:
        """Return whether the metric scores grades."""
        return metric.needs == "labels" and task.ordinal

    @classmethod
    def fit(cls, rows: LabeledProbs) -> Self:
        """Return the cut points of the expected grade with the best score.

        Coordinate ascent from two starts: halfway between the grades, and where the predicted class shares
        equal the true ones.
        """
        sample = rows.sample()
        grades = predicted_numbers(sample.probs)
        num_classes = sample.probs.shape[1]
        shares = np.cumsum(np.bincount(sample.targets, minlength=num_classes))[:-1] / len(sample.targets)

        def score(values: np.ndarray) -> float:
            labels = cls(tuple(values.tolist())).predict_labels(sample.probs, sample.task)
            return sample.value(sample.probs, labels)

        starts = [np.arange(num_classes - 1) + 0.5, np.quantile(grades, shares)]
        candidates = [quantiles(grades, NUM_CANDIDATES * 2)] * (num_classes - 1)
        reached = [coordinate_ascent(start, candidates, score, ordered=True) for start in starts]
        return cls(tuple(max(reached, key=score).tolist()))

    def predict_labels(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return class indices (N,)."""
        return np.searchsorted(self.values, predicted_numbers(probs), side="right").astype(np.int64)

    def describe(self, classes: Sequence[str]) -> str:
        """Return the cut points."""
        return "cut at " + ", ".join(f"{value:.3f}" for value in self.values)
