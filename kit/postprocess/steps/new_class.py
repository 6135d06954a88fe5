"""Step ``new_class``: rank the class of unknown objects by a threshold on all other classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from kit.errors import KitError
from kit.postprocess.search import NUM_CANDIDATES, quantiles
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.registry import unknown_name
from kit.tasks import Task

WHERE = "decide.new_class"


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
            threshold: A fixed threshold instead, which is needed if no image has the class.

        Raises:
            KitError: There is no such class, or no image has it.
        """
        if label not in rows.classes:
            raise unknown_name(f"{WHERE}.label", "class", label, rows.classes)
        column = rows.classes.index(label)
        if threshold is not None:
            return cls(column, threshold)
        if not (rows.targets == column).any():
            raise KitError(
                WHERE,
                f"no labeled image has the class {label}",
                "The threshold is fitted on images of the class",
                "Set a threshold, such as {name: new_class, label: NAME, threshold: 0.3}.",
                code="class_without_images",
            )
        sample = rows.sample()
        largest = np.delete(sample.probs, column, axis=1).max(axis=1)
        candidates = np.clip(quantiles(largest, NUM_CANDIDATES), 1e-6, 1 - 1e-6)
        tried = [cls(column, float(value)) for value in np.unique(candidates)]
        return max(tried, key=lambda step: sample.value(step.adjust(sample.probs, sample.task)))

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return probabilities in which the class has the threshold; rows sum to 1 again."""
        others = probs.astype(np.float64)
        others[:, self.column] = self.threshold
        return task.normalized(others)

    def describe(self, classes: Sequence[str]) -> str:
        """Return the threshold."""
        return f"{classes[self.column]} if no other class is above {self.threshold:.3f}"
