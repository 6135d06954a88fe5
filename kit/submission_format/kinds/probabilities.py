"""Kind ``probabilities``: a column per class, its probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import (
    different_numbers,
    in_class_order,
    number_column,
    numbers_in_class_order,
)
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.numbers import fixed_shares, parse_numbers, with_decimal_mark
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.tasks import Task

SUM_TOLERANCE = 1e-3  # how far from 1 the numbers of a sample's row may sum


@register_kind("probabilities")
class Probabilities(SubmissionKind):
    """A column per class: its probability."""

    description = "probabilities"
    cell_type = CellType.NUMBER
    class_columns = True
    multilabel = True
    is_probability = True
    inference_order = 1
    options = frozenset({"decimals"})
    likely_metrics = ("log_loss", "roc_auc", "accuracy")
    likely_metrics_for: ClassVar = {
        "multilabel": ("roc_auc", "f1_macro", "log_loss"),
        "soft": ("kl_divergence", "log_loss", "accuracy"),
    }

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return True: every metric follows from the probabilities."""
        return True

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return a column of numbers per class; rounded rows of an exclusive task still sum to 1."""
        order = [form.written.index(name) for name in form.columns]
        if form.decimals is None or not form.exclusive:
            return [number_column(predictions.probs[:, c], form) for c in order]
        shares = fixed_shares(predictions.probs[:, order], form.decimals)
        return [with_decimal_mark(text, form.dialect.decimal_mark) for text in shares]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the probabilities."""
        numbers = [parse_numbers(cells, form.dialect.decimal_mark) for cells in columns]
        probs = in_class_order(numbers, form, np.float32)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose probabilities differ."""
        return different_numbers(predictions.probs, read.probs, form)

    def is_default(self, task: Task, label_column: bool) -> bool:
        """Return whether an image has several probabilities and the config names no column of labels."""
        return task.target in ("classes", "distribution") and not label_column

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if the columns are the classes."""
        if not sample.has_class_columns(facts):
            return None
        return Evidence(f"one column per class, such as {', '.join(list(sample.columns)[:3])}")

    def infer_from_numbers(self, names: Sequence[str], numbers: np.ndarray) -> dict[str, Any] | None:
        """Return the columns as classes, if there are several."""
        if len(names) < 2:
            return None
        sums_to_one = bool(np.abs(numbers.sum(axis=1) - 1).max() <= SUM_TOLERANCE)
        return {"classes": tuple(names), "exclusive": sums_to_one}

    def numbers_by_image(
        self, numbers: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None, form: SubmissionFormat
    ) -> tuple[np.ndarray | None, np.ndarray] | None:
        """Return the probabilities in class order."""
        ordered = numbers_in_class_order(numbers, names, form)
        return None if ordered is None else (rows, ordered)
