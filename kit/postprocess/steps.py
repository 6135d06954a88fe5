"""Steps from probabilities to what is handed in: adjusted first, then decided. Plain values, kept as JSON."""

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
    """One learned step; most change either the probabilities or the decision."""

    name: ClassVar[str]

    def adjusted(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the probabilities (N, C) after this step."""
        return probs

    def decided(self, probs: np.ndarray, task: Task) -> np.ndarray | None:
        """Return the decisions, as ``Task.decide`` gives them; None if the step leaves that to others."""
        return None

    def told(self, classes: Sequence[str]) -> str:
        """Return one line on what was learned."""
        raise NotImplementedError


@dataclass(frozen=True)
class Temperature(Step):
    """Logits divided by a number: above 1 probabilities become more doubtful, below 1 surer."""

    name: ClassVar[str] = "temperature"
    value: float

    def adjusted(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return softmax(logits / T), or sigmoid(logits / T) of labels that do not exclude each other."""
        chances = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
        raised = chances ** (1 / self.value)
        against = 0.0 if task.exclusive else (1 - chances) ** (1 / self.value)
        return task.normalized(raised if task.exclusive else raised / (raised + against))

    def told(self, classes: Sequence[str]) -> str:
        """Return the temperature."""
        return f"T = {self.value:.3f}"


@dataclass(frozen=True)
class Prior(Step):
    """Probabilities of exclusive classes divided by a power of how frequent the classes are.

    Strength 1 takes the training shares out, as balanced accuracy wants; 0 changes nothing. A class that
    occurred nowhere stays as it is.
    """

    name: ClassVar[str] = "prior"
    strength: float
    shares: tuple[float, ...]

    def adjusted(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the corrected probabilities, which sum to 1 again."""
        shares = np.asarray(self.shares)
        factors = np.where(shares > 0, np.maximum(shares, EPSILON) ** -self.strength, 1.0)
        return task.normalized(probs * (factors / factors.mean()))

    def told(self, classes: Sequence[str]) -> str:
        """Return the strength."""
        return f"divided by the classes' shares to the power {self.strength:.2f}"


@dataclass(frozen=True)
class Thresholds(Step):
    """From which probability on a label is given; of two exclusive classes: the second.

    Attributes:
        values: One per class.
        at_least_one: An image that no label reaches gets the one that comes nearest to its threshold.
        at_most: Of more labels than that, those farthest above their thresholds are kept.
        fallback: The position of the class that an image gets which no label reaches.
    """

    name: ClassVar[str] = "thresholds"
    values: tuple[float, ...]
    at_least_one: bool = False
    at_most: int | None = None
    fallback: int | None = None

    def decided(self, probs: np.ndarray, task: Task) -> np.ndarray:
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

    def told(self, classes: Sequence[str]) -> str:
        """Return the thresholds by class, or their range if they are many."""
        if len(classes) == 2 or len(set(self.values)) == 1:
            return f"from {self.values[-1]:.3f}"
        if len(classes) > 10:
            return f"from {min(self.values):.3f} to {max(self.values):.3f}, by class"
        return ", ".join(f"{name} {value:.3f}" for name, value in zip(classes, self.values, strict=True))


@dataclass(frozen=True)
class CutPoints(Step):
    """Grades cut from the expected grade: class c where it lies between cut c - 1 and cut c."""

    name: ClassVar[str] = "cut_points"
    values: tuple[float, ...]

    def decided(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return class indices (N,)."""
        return np.searchsorted(self.values, expected_grade(probs), side="right").astype(np.int64)

    def told(self, classes: Sequence[str]) -> str:
        """Return the cut points."""
        return "cut at " + ", ".join(f"{value:.3f}" for value in self.values)


KINDS: tuple[type[Step], ...] = (Temperature, Prior, Thresholds, CutPoints)


@dataclass(frozen=True)
class Decision:
    """Steps in their order; none: probabilities as they are, decided as the task does."""

    steps: tuple[Step, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether a step takes decisions, which else follow from the probabilities."""
        return any(isinstance(step, Thresholds | CutPoints) for step in self.steps)

    def answers(self, probs: np.ndarray, task: Task) -> FinalPredictions:
        """Return what the steps make of probabilities (N, C); the last one that decides has its way."""
        taken = None
        for step in self.steps:
            probs = step.adjusted(probs, task)
            decided = step.decided(probs, task)
            taken = taken if decided is None else decided
        return FinalPredictions(probs, task.decide(probs) if taken is None else taken)

    def then(self, step: Step) -> Decision:
        """Return this decision with one more step."""
        return Decision((*self.steps, step))

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain values."""
        return [{"name": step.name, **asdict(step)} for step in self.steps]

    @classmethod
    def from_list(cls, values: Sequence[dict[str, Any]]) -> Decision:
        """Return the steps that ``as_list`` gave, perhaps by way of JSON."""
        kinds: dict[str, Callable[..., Step]] = {kind.name: kind for kind in KINDS}
        steps = []
        for each in values:
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in each.items() if k != "name"}
            steps.append(kinds[each["name"]](**options))
        return cls(tuple(steps))
