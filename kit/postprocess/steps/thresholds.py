"""Step ``thresholds``: choose labels by one threshold per class, or one for all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field

from kit.errors import KitError
from kit.metrics import Metric
from kit.metrics.counts import f_beta_of_label
from kit.postprocess.search import (
    NUM_CANDIDATES,
    Per,
    best_global_micro,
    best_micro,
    best_per_class,
    coordinate_ascent,
    quantiles,
)
from kit.postprocess.step import LabeledProbs, Step, register_step
from kit.tasks import Task


@register_step("thresholds")
@dataclass(frozen=True)
class Thresholds(Step):
    """Predict every label whose probability reaches its threshold; of two exclusive classes, the second.

    Attributes:
        values: One per class.
        at_least_one: Whether an image without a label gets the label closest to its threshold.
        at_most: The largest number of labels; those farthest above their thresholds are kept.
        fallback: The class index that an image without a label gets.
    """

    chooses_labels: ClassVar[bool] = True
    values: tuple[float, ...]
    at_least_one: bool = False
    at_most: int | None = None
    fallback: int | None = None

    @classmethod
    def suits(cls, task: Task, num_classes: int) -> bool:
        """Return whether images have any number of labels, or one of two classes."""
        return task.target == "classes" or (num_classes == 2 and not task.soft)

    @classmethod
    def helps(cls, metric: Metric, task: Task) -> bool:
        """Return whether the metric reads labels that a threshold chooses."""
        return metric.needs == "labels" and (not task.exclusive or task.is_binary)

    @classmethod
    def fit(
        cls,
        rows: LabeledProbs,
        *,
        per: Per = "class",
        at_least_one: bool = False,
        at_most: Annotated[int, Field(ge=1)] | None = None,
        fallback: str | None = None,
    ) -> Self:
        """Return the thresholds with the best score, one per class or one for all classes.

        The search is exact for F-beta (macro, micro, weighted), label accuracy and Matthews with one
        threshold per class, and for micro F-beta with one for all. For other metrics, and with rules
        (``at_least_one``, ``at_most``, ``fallback``), it is a coordinate ascent.

        Raises:
            KitError: The fallback is not a class, or is combined with ``at_least_one``; or rules are given
                for two exclusive classes.
        """
        has_rules = at_least_one or at_most is not None or fallback is not None
        if rows.task.exclusive and has_rules:
            raise KitError(
                "decide.thresholds",
                "has rules, but each image has exactly one class",
                "at_least_one, at_most and fallback are for images with any number of labels",
                code="option_unsuitable",
            )
        rules = cls((), at_least_one, at_most, _fallback_index(fallback, rows.classes, at_least_one))
        start, exact = _best_without_rules(rows, per)
        if exact and not has_rules:
            return replace(rules, values=_one_per_class(start, rows.task))
        return replace(rules, values=_search(rules, rows.sample(), start, per))

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


def _fallback_index(fallback: str | None, classes: tuple[str, ...], at_least_one: bool) -> int | None:
    if fallback is None:
        return None
    if at_least_one:
        raise KitError(
            "decide.thresholds",
            "sets fallback and at_least_one, which both choose the label of an image without one",
            "Set at most one of them",
            code="options_conflict",
        )
    if fallback not in classes:
        raise KitError(
            "decide.thresholds.fallback",
            f"'{fallback}' is not a class",
            f"Classes: {', '.join(classes)}",
            code="unknown_class",
        )
    return classes.index(fallback)


def _thresholded(probs: np.ndarray, task: Task) -> np.ndarray:
    """Return the probabilities that thresholds apply to: (N, C), or of two exclusive classes (N, 1)."""
    return probs[:, 1:] if task.exclusive else probs


def _one_per_class(values: np.ndarray, task: Task) -> tuple[float, ...]:
    """Return one threshold per class; for two exclusive classes, they sum to 1."""
    numbers = [float(value) for value in values]
    return (1 - numbers[0], numbers[0]) if task.exclusive else tuple(numbers)


def _best_without_rules(rows: LabeledProbs, per: Per) -> tuple[np.ndarray, bool]:
    """Return good thresholds, one per thresholded column, and whether they are optimal."""
    labels = rows.targets[:, None] if rows.task.exclusive else rows.targets
    probs, metric = _thresholded(rows.probs, rows.task), rows.metric
    width = probs.shape[1]
    if metric.is_micro and width > 1:
        if per == "class":
            return best_micro(probs, labels, metric.beta), True
        return np.full(width, best_global_micro(probs, labels, metric.beta)), True
    value = metric.label_value if width > 1 else metric.binary_value
    found = best_per_class(probs, labels, value or f_beta_of_label, metric.beta if value else 1.0)
    return found, value is not None and (per == "class" or width == 1)


def _search(rules: Thresholds, sample: LabeledProbs, start: np.ndarray, per: Per) -> tuple[float, ...]:
    """Return the thresholds that score best under the rules, found by trying quantiles of each column."""
    columns = _thresholded(sample.probs, sample.task)
    width = columns.shape[1]

    def score(values: np.ndarray) -> float:
        step = replace(rules, values=_one_per_class(values, sample.task))
        return sample.value(sample.probs, step.predict_labels(sample.probs, sample.task))

    if per == "all" or width == 1:
        tried = np.concatenate([quantiles(columns, NUM_CANDIDATES * 5), start[:1], [0.5]])
        best = np.full(width, max(tried, key=lambda value: score(np.full(width, value))))
    else:
        candidates = [quantiles(columns[:, c], NUM_CANDIDATES) for c in range(width)]
        better_start = max((start, np.full(width, 0.5)), key=score)
        best = coordinate_ascent(better_start, candidates, score)
    return _one_per_class(best, sample.task)
