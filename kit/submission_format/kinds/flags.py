"""Kind ``flags``: a column per class, yes or no."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import (
    different_labels,
    in_class_order,
    label_matrix,
    labels_only,
    name_column,
    numbers_in_class_order,
)
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.submission_format.spelling import are_yes_no, no_yes_words
from kit.tasks import Task


@register_kind("flags")
class Flags(SubmissionKind):
    """A column per class: yes or no."""

    description = "yes or no per class"
    cell_type = CellType.FLAG
    class_columns = True
    multilabel = True
    holds_labels = True
    inference_order = 0
    constant_rows = 20
    likely_metrics = ("f1_macro", "exact_match", "accuracy")

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return whether the metric needs labels only."""
        return metric.needs == "labels"

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return a column of words per class."""
        labels = label_matrix(predictions, form)
        return [name_column(labels[:, form.written.index(name)], form.words) for name in form.columns]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the labels; for an exclusive task the first class that is flagged."""
        index = {word: value for value, word in enumerate(form.words)}
        labels = in_class_order([[index[cell] for cell in cells] for cells in columns], form, np.int64)
        return labels_only(labels.argmax(axis=1) if task.exclusive else labels, form, task)

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose labels differ."""
        return different_labels(predictions, read)

    def vocabulary(self, form: SubmissionFormat) -> tuple[str, ...]:
        """Return the words for no and yes."""
        return form.words

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if the columns are the classes and all cells are words for yes or no."""
        cells = {cell for column in sample.columns.values() for cell in column}
        if not sample.has_class_columns(facts) or not cells or not are_yes_no(cells):
            return None
        words = no_yes_words(sorted(cells))
        names = ", ".join(list(sample.columns)[:3])
        return Evidence(f"one column per class, such as {names}, with {' or '.join(words)}", {"words": words})

    def numbers_by_image(
        self, numbers: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None, form: SubmissionFormat
    ) -> tuple[np.ndarray | None, np.ndarray] | None:
        """Return 0 and 1 in class order."""
        ordered = numbers_in_class_order(numbers, names, form)
        return None if ordered is None else (rows, ordered)
