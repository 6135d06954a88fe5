"""Postprocessing steps: adjust probabilities, then choose labels. Fitted values are saved as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from kit.metrics import EPSILON
from kit.metrics.likelihoods import expected_grade
from kit.predictions import FinalPredictions
from kit.tasks import Task


@dataclass(frozen=True)
class Step:
    """One fitted step, which changes the probabilities or chooses the labels."""

    name: ClassVar[str]

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the probabilities (N, C) after this step."""
        return probs

    def predict_labels(self, probs: np.ndarray, task: Task) -> np.ndarray | None:
        """Return labels in the form of ``Task.decide``; None if the step does not choose labels."""
        return None

    def describe(self, classes: Sequence[str]) -> str:
        """Return one line with the fitted values."""
        raise NotImplementedError


@dataclass(frozen=True)
class Temperature(Step):
    """Divide logits by a temperature: above 1, probabilities become less confident, below 1 more."""

    name: ClassVar[str] = "temperature"
    value: float

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return softmax(logits / T), or sigmoid(logits / T) for multi-label tasks."""
        clipped = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
        powers = clipped ** (1 / self.value)
        complements = 0.0 if task.exclusive else (1 - clipped) ** (1 / self.value)
        return task.normalized(powers if task.exclusive else powers / (powers + complements))

    def describe(self, classes: Sequence[str]) -> str:
        """Return the temperature."""
        return f"T = {self.value:.3f}"


@dataclass(frozen=True)
class Prior(Step):
    """Divide probabilities of exclusive classes by a power of the class frequencies.

    Strength 1 removes the training prior, which suits balanced accuracy; 0 changes nothing. Classes that do
    not occur are not rescaled.
    """

    name: ClassVar[str] = "prior"
    strength: float
    shares: tuple[float, ...]

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the corrected probabilities, which sum to 1 again."""
        shares = np.asarray(self.shares)
        factors = np.where(shares > 0, np.maximum(shares, EPSILON) ** -self.strength, 1.0)
        return task.normalized(probs * (factors / factors.mean()))

    def describe(self, classes: Sequence[str]) -> str:
        """Return the strength."""
        return f"divided by class frequency to the power {self.strength:.2f}"


@dataclass(frozen=True)
class Thresholds(Step):
    """Predict every label whose probability reaches its threshold; of two exclusive classes, the second.

    Attributes:
        values: One per class.
        at_least_one: Whether an image without a label gets the label closest to its threshold.
        at_most: The largest number of labels; those farthest above their thresholds are kept.
        fallback: The class index that an image without a label gets.
    """

    name: ClassVar[str] = "thresholds"
    values: tuple[float, ...]
    at_least_one: bool = False
    at_most: int | None = None
    fallback: int | None = None

    def predict_labels(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return class indices (N,) for two exclusive classes, else 0/1 (N, C)."""
        if task.exclusive:
            return (probs[:, 1].astype(np.float64) >= self.values[1]).astype(np.int64)
        above = probs - np.asarray(self.values, dtype=np.float64)
        given = above >= 0
        if self.at_most is not None and self.at_most < probs.shape[1]:
            order = np.argsort(-above, axis=1, kind="stable")
            np.put_along_axis(given, order[:, self.at_most :], False, axis=1)
        none = ~given.any(axis=1)
        if self.at_least_one:
            given[none, above[none].argmax(axis=1)] = True
        elif self.fallback is not None:
            given[none, self.fallback] = True
        return given.astype(np.int64)

    def describe(self, classes: Sequence[str]) -> str:
        """Return the thresholds by class, or their range if they are many."""
        if len(classes) == 2 or len(set(self.values)) == 1:
            return f"from {self.values[-1]:.3f}"
        if len(classes) > 10:
            return f"from {min(self.values):.3f} to {max(self.values):.3f}, by class"
        return ", ".join(f"{name} {value:.3f}" for name, value in zip(classes, self.values, strict=True))


@dataclass(frozen=True)
class CutPoints(Step):
    """Cut the expected grade into grades: class c if it lies between cut c - 1 and cut c."""

    name: ClassVar[str] = "cut_points"
    values: tuple[float, ...]

    def predict_labels(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return class indices (N,)."""
        return np.searchsorted(self.values, expected_grade(probs), side="right").astype(np.int64)

    def describe(self, classes: Sequence[str]) -> str:
        """Return the cut points."""
        return "cut at " + ", ".join(f"{value:.3f}" for value in self.values)


KINDS: tuple[type[Step], ...] = (Temperature, Prior, Thresholds, CutPoints)


@dataclass(frozen=True)
class Postprocessing:
    """Fitted steps in order. Without steps, probabilities are unchanged; ``Task.decide`` chooses labels."""

    steps: tuple[Step, ...] = ()

    @property
    def sets_labels(self) -> bool:
        """Whether a step chooses the labels, instead of ``Task.decide``."""
        return any(isinstance(step, Thresholds | CutPoints) for step in self.steps)

    def apply(self, probs: np.ndarray, task: Task) -> FinalPredictions:
        """Return probabilities (N, C) and labels after all steps; the last step that chooses labels wins."""
        labels = None
        for step in self.steps:
            probs = step.adjust(probs, task)
            chosen = step.predict_labels(probs, task)
            labels = labels if chosen is None else chosen
        return FinalPredictions(probs, task.decide(probs) if labels is None else labels)

    def then(self, step: Step) -> Postprocessing:
        """Return a copy with one more step."""
        return Postprocessing((*self.steps, step))

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain values, for JSON."""
        return [{"name": step.name, **asdict(step)} for step in self.steps]

    @classmethod
    def from_list(cls, values: Sequence[dict[str, Any]]) -> Postprocessing:
        """Return the steps from the output of ``as_list``, also after a JSON round trip."""
        kinds: dict[str, Callable[..., Step]] = {kind.name: kind for kind in KINDS}
        steps = []
        for each in values:
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in each.items() if k != "name"}
            steps.append(kinds[each["name"]](**options))
        return cls(tuple(steps))
