"""Fit the configured postprocessing steps in order, and apply them to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from kit.config import Component
from kit.errors import KitError, counted
from kit.postprocess import steps as _entries  # noqa: F401 - importing the package registers the steps
from kit.postprocess.step import LabeledProbs, Step, step_types
from kit.predictions import FinalPredictions
from kit.tasks import Task

WHERE = "decide"  # the key of the YAML
AUTO, NONE = "auto", "none"  # allowed instead of a list of steps


@dataclass(frozen=True)
class Postprocessing:
    """Fitted steps in order. Without steps, probabilities are unchanged; ``Task.decide`` chooses labels."""

    steps: tuple[Step, ...] = ()

    @property
    def chooses_labels(self) -> bool:
        """Whether a step chooses the labels, instead of ``Task.decide``."""
        return any(step.chooses_labels for step in self.steps)

    def apply(self, probs: np.ndarray, task: Task) -> FinalPredictions:
        """Return probabilities (N, C) and labels after all steps; the last step that chooses labels wins."""
        labels = None
        for step in self.steps:
            probs = step.adjust(probs, task)
            if step.chooses_labels:
                labels = step.predict_labels(probs, task)
        return FinalPredictions(probs, task.decide(probs) if labels is None else labels)

    def then(self, step: Step) -> Postprocessing:
        """Return a copy with one more step."""
        return Postprocessing((*self.steps, step))

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain values, for JSON."""
        return [{"name": step.name, **asdict(step)} for step in self.steps]

    @classmethod
    def from_list(cls, values: Sequence[dict[str, Any]]) -> Postprocessing:
        """Return the steps from the output of ``as_list``, also after a JSON round trip.

        Raises:
            KitError: A step is unknown, or lacks a value.
        """
        fitted = []
        for each in values:
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in each.items() if k != "name"}
            try:
                fitted.append(step_types.get(each["name"], WHERE)(**options))
            except TypeError as error:
                raise KitError(
                    f"{WHERE}.{each['name']}",
                    "has other values than this version of kit writes",
                    "Fitted steps are stored with their values",
                    "Run `kit evaluate` again.",
                    code="file_damaged",
                ) from error
        return cls(tuple(fitted))


def check_steps(steps: list[Component], task: Task, num_classes: int | None) -> None:
    """Check that steps and their options exist and suit the task.

    Raises:
        KitError: A step or option is unknown, repeated or unsuitable; the message lists the suitable steps.
    """
    names = [component.name for component in steps]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise KitError(
            WHERE, f"lists {repeated[0]} twice", "List each step at most once", code="duplicate_step"
        )
    for component in steps:
        if component.name in (AUTO, NONE):
            if len(steps) > 1 or component.options:
                raise KitError(
                    WHERE,
                    f"{component.name} cannot be combined with options or other steps",
                    code="step_not_alone",
                )
            continue
        step, _ = step_types.bind(component, f"{WHERE}.{component.name}")
        if num_classes is not None and not step.suits(task, num_classes):
            suitable = [step.name for step in step_types.values() if step.suits(task, num_classes)]
            raise KitError(
                WHERE,
                f"{step.name} is not defined for task {task.name}"
                + ("" if task.numeric else f" with {counted(num_classes, 'class', 'classes')}"),
                f"Suitable steps: {', '.join(suitable)}",
                code="step_unsuitable",
            )


def fit_steps(steps: list[Component], rows: LabeledProbs) -> Postprocessing:
    """Return the steps fitted in order, each on the output of the steps before it."""
    postprocessing = Postprocessing()
    for component in steps:
        step, options = step_types.bind(component, f"{WHERE}.{component.name}")
        adjusted = replace(rows, probs=postprocessing.apply(rows.probs, rows.task).probs)
        postprocessing = postprocessing.then(step.fit(adjusted, **options))
    return postprocessing
