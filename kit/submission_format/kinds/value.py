"""Kind ``value``: one number, the label of a regression or the expected grade of an ordinal task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError, counted
from kit.metrics import Metric
from kit.metrics.distances import predicted_numbers
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import different_numbers, number_column
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.numbers import fixed_decimals, parse_number, parse_numbers, with_decimal_mark
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.tasks import REGRESSION, Task

TOLERANCE = 1e-9  # the rounding of a float64 sum


@register_kind("value")
class Value(SubmissionKind):
    """One number: that of a regression, or the expected grade, for classes that are consecutive integers."""

    description = "one number per image"
    cell_type = CellType.NUMBER
    number = True
    options = frozenset({"decimals"})
    implied_task = "ordinal"
    likely_metrics = ("rmse", "mae")
    likely_metrics_for: ClassVar = {REGRESSION.name: REGRESSION.usual_metrics}

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return whether the metric is about the number, or the expected grade."""
        if _is_regression(form):
            return metric.suits(REGRESSION)
        return metric.ordinal and metric.needs == "probabilities"

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the column of numbers, within the format's range."""
        if _is_regression(form):
            return [number_column(_clipped(predictions, form), form)]
        values = _grades(predictions, form)
        exact = form.decimals is None
        text = pc.cast(pa.array(values), pa.string()) if exact else fixed_decimals(values, form.decimals or 0)
        return [with_decimal_mark(text, form.dialect.decimal_mark)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the numbers; for an ordinal task probabilities of the two grades around each number.

        The number is the expectation of those.
        """
        if task.numeric:
            numbers = parse_numbers(columns[0], form.dialect.decimal_mark)[:, None]
            return FinalPredictions(numbers, numbers)
        values = np.array([parse_number(cell, form.dialect.decimal_mark) for cell in columns[0]])
        grades = values - first_grade(form.classes)
        below = np.clip(np.floor(grades).astype(np.int64), 0, len(form.classes) - 2)
        rows, share = np.arange(len(grades)), grades - below
        probs = np.zeros((len(grades), len(form.classes)))
        probs[rows, below], probs[rows, below + 1] = 1 - share, share
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose number differs by more than rounding."""
        if _is_regression(form):
            return different_numbers(_clipped(predictions, form), read.probs[:, 0], form)
        tolerance = TOLERANCE if form.decimals is None else 10.0**-form.decimals
        return np.asarray(np.abs(_grades(predictions, form) - _grades(read, form)) > tolerance)

    def changes(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[str]:
        """Return a line if numbers are written as the lowest one that the metric scores."""
        below = int((predictions.probs[:, 0] < form.low).sum()) if _is_regression(form) else 0
        if not below:
            return []
        return [
            f"{counted(below, f'number below {form.low:g} is', f'numbers below {form.low:g} are')} "
            f"written as {form.low:g}, as the metric counts them"
        ]

    def check(self, form: SubmissionFormat) -> None:
        """Refuse classes that are not consecutive integers."""
        if not _is_regression(form):
            first_grade(form.classes)

    def default_options(self, where: object, facts: CompetitionFacts) -> dict[str, Any]:
        """Return the range of the grades; of numbers the range that the metric can score."""
        if facts.task.numeric:
            lowest = None if facts.metric is None else facts.metric.lowest
            return {"low": -np.inf if lowest is None else lowest, "high": np.inf}
        first = first_grade(facts.classes)
        return {"low": float(first), "high": float(first + len(facts.classes) - 1)}

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if cells of an ordinal task are numbers, and not all are integers.

        The one column of a regression is always its number.
        """
        if facts.task.numeric:
            shown = f", such as {sample.examples}" if sample.examples else ""
            because = f"column '{sample.name}' is the only one beside the id{shown}: the number"
            return Evidence(because, self.default_options(sample.name, facts))
        if not sample.says_numbers(facts) or not facts.task.ordinal:
            return None
        if all(value.lstrip("+-").isdecimal() for value in sample.filled):
            return None
        because = f"column '{sample.name}' holds numbers, such as {sample.examples}: the expected grade"
        return Evidence(because, self.default_options(sample.name, facts))

    def is_default(self, task: Task, label_column: bool) -> bool:
        """Return whether the task predicts numbers."""
        return task.numeric

    def numbers(self, predictions: FinalPredictions) -> np.ndarray:
        """Return the number, or the expected class index, (N, 1)."""
        return predicted_numbers(predictions.probs)[:, None]


def first_grade(classes: Sequence[str]) -> int:
    """Return the first of classes that are consecutive integers.

    Raises:
        KitError: They are not.
    """
    try:
        grades = [int(name) for name in classes]
    except ValueError:
        grades = []
    if len(grades) < 2 or grades != list(range(grades[0], grades[0] + len(grades))):
        raise KitError(
            "submission.kind",
            f"is value, and the classes are {', '.join(classes[:5])}",
            "An expected grade needs classes that are consecutive integers",
            "Set submission.kind: label.",
            code="kind_unsuitable",
        )
    return grades[0]


def _is_regression(form: SubmissionFormat) -> bool:
    """Return whether the number is the label itself: a grade is one of several exclusive classes."""
    return not form.exclusive


def _clipped(predictions: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return the numbers of a regression, (N,), float32, within the format's range."""
    return np.asarray(np.clip(predictions.probs[:, 0], np.float32(form.low), np.float32(form.high)))


def _grades(predictions: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return the expected grades, (N,), within the format's range."""
    expected = predicted_numbers(predictions.probs) + first_grade(form.classes)
    return np.asarray(np.clip(expected, form.low, form.high))
