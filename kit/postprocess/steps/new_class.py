"""Step ``new_class``: rank the class of unknown objects by a threshold on all other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from kit.postprocess.search import NUM_CANDIDATES, quantiles
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.registry import unknown_name
from kit.tasks import Task

WHERE = "decide.new_class"
LAST = 1e-6  # a threshold below which every other class is ranked before


@register_step("new_class")
@dataclass(frozen=True)
class NewClass(Step):
    """Give the class of unknown objects, such as ``new_whale``, a constant probability: a threshold.

    Classes with a larger probability rank before it, the others behind; an image whose classes are all below
    the threshold is new. The probability that the model itself gives the class is ignored.
    """

    column: int
    threshold: float

    @classmethod
    def suits(cls, task: Task, num_classes: int) -> bool:
        """Return whether an image has one of several classes without an order."""
        return task.is_nominal

    @classmethod
    def fit(  # type: ignore[override]  # the label has no default
        cls,
        rows: LabeledProbs,
        *,
        label: str,
        threshold: Annotated[float, Field(gt=0, lt=1)] | None = None,
    ) -> Self:
        """Return the step with the threshold of the best score.

        Args:
            label: The name of the class of unknown objects.
            threshold: A fixed threshold instead, which is needed if no labeled image has the class.

        Raises:
            KitError: There is no such class.
        """
        if label not in rows.classes:
            raise unknown_name(f"{WHERE}.label", "class", label, rows.classes)
        column = rows.classes.index(label)
        if threshold is not None:
            return cls(column, threshold)
        if not (rows.targets == column).any():
            return cls(column, LAST)
        sample = rows.sample()
        largest = np.delete(sample.probs, column, axis=1).max(axis=1)
        candidates = np.clip(quantiles(largest, NUM_CANDIDATES), 2 * LAST, 1 - LAST)
        tried = [cls(column, float(value)) for value in np.unique(candidates)]
        return max(tried, key=lambda step: sample.value(step.adjust(sample.probs, sample.task)))

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return probabilities in which the class has the threshold; rows sum to 1 again."""
        others = probs.astype(np.float64)
        others[:, self.column] = self.threshold
        return task.normalized(others)

    def describe(self, classes: Sequence[str]) -> str:
        """Return the threshold."""
        name = classes[self.column]
        if self.threshold == LAST:
            return f"{name} last, since no labeled image has it (set a threshold)"
        return f"{name} if no other class is above {self.threshold:.3f}"
