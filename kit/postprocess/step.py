"""What a postprocessing step is: fitted on labeled probabilities, it adjusts them or chooses labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

import numpy as np

from kit.metrics import Metric
from kit.registry import Registry
from kit.runtime.seeds import stable_seed
from kit.tasks import Task

MAX_SEARCH_CELLS = 300_000  # rows x classes for coordinate ascent, which scores them thousands of times


@dataclass(frozen=True)
class LabeledProbs:
    """Probabilities and labels on which a step is fitted.

    Attributes:
        targets: As ``Task.targets`` returns them.
        probs: (N, C).
        classes: The names of the C classes.
    """

    targets: np.ndarray
    probs: np.ndarray
    classes: tuple[str, ...]
    task: Task
    metric: Metric

    def value(self, probs: np.ndarray, decided: np.ndarray | None = None) -> float:
        """Return the metric, with its sign changed if lower is better."""
        score = self.metric(self.targets, probs, self.task, decided)
        return score if self.metric.higher_is_better else -score

    def subset(self, rows: np.ndarray) -> LabeledProbs:
        """Return a subset of the rows, given by indices or a mask."""
        return replace(self, targets=self.targets[rows], probs=self.probs[rows])

    def sample(self) -> LabeledProbs:
        """Return a random sample of the rows (fixed seed), small enough for coordinate ascent."""
        size = max(1000, MAX_SEARCH_CELLS // self.probs.shape[1])
        if len(self.probs) <= size:
            return self
        rng = np.random.default_rng(stable_seed("rows of a search", len(self.probs)))
        return self.subset(np.sort(rng.choice(len(self.probs), size, replace=False)))


@dataclass(frozen=True)
class Step:
    """One fitted step, which changes the probabilities or chooses the labels.

    A subclass is a frozen dataclass; its fields are the fitted values, which are saved as JSON.
    """

    name: ClassVar[str]
    chooses_labels: ClassVar[bool] = False

    @classmethod
    def suits(cls, task: Task, num_classes: int) -> bool:
        """Return whether the step is defined for a task and number of classes; by default for any classes."""
        return not task.numeric

    @classmethod
    def helps(cls, metric: Metric, task: Task) -> bool:
        """Return whether the step can improve a metric of the task, so that ``auto`` tries it."""
        return False

    @classmethod
    def fit(cls, rows: LabeledProbs) -> Self:
        """Return the step fitted on rows; keyword-only parameters are the step's options."""
        raise NotImplementedError

    def adjust(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return the probabilities (N, C) after this step."""
        return probs

    def predict_labels(self, probs: np.ndarray, task: Task) -> np.ndarray:
        """Return labels in the form of ``Task.decide``; only for a step with ``chooses_labels``."""
        raise NotImplementedError

    def describe(self, classes: Sequence[str]) -> str:
        """Return one line with the fitted values."""
        raise NotImplementedError


step_types: Registry[type[Step]] = Registry("postprocessing step", function=lambda step: step.fit)
S = TypeVar("S", bound=type[Step])


def register_step(name: str) -> Callable[[S], S]:
    """Return a decorator that registers a subclass of ``Step`` under ``name``."""

    def add(step: S) -> S:
        step.name = name
        step_types.register(name)(step)
        return step

    return add
