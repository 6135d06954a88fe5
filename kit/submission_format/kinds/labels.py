"""Kind ``labels``: all classes of an image in one cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import check_separator, different_labels, label_matrix, labels_only
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.submission_format.spelling import ClassIndex
from kit.tasks import Task


@register_kind("labels")
class Labels(SubmissionKind):
    """All classes of an image in one cell; an image without a class has the fallback or a blank cell."""

    description = "all classes of an image"
    cell_type = CellType.CLASSES
    multilabel = True
    holds_labels = True
    separated = True
    allows_blank = True
    constant_rows = None
    options = frozenset({"fallback", "blank", "most"})
    likely_metrics = ("f1_samples", "f1_macro", "exact_match")

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return whether the metric needs labels only."""
        return metric.needs == "labels"

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the column of joined class names."""
        images, classes = np.nonzero(label_matrix(predictions, form))
        ends = np.searchsorted(images, np.arange(len(predictions.decided) + 1))
        words = pc.take(pa.array(form.written, pa.string()), pa.array(classes))
        cells = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), words), form.separator)
        if form.fallback is None:
            return [cells]
        return [pc.if_else(pc.equal(cells, ""), pa.scalar(form.fallback), cells)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the labels, (N, C)."""
        index = ClassIndex(form.classes, form.spelled)
        labels = np.zeros((len(columns[0]), len(form.classes)), dtype=np.int64)
        for row, cell in enumerate(columns[0]):
            labels[row, [index[word] for word in _words(cell, form)]] = 1
        return labels_only(labels, form, task)

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose labels differ."""
        return different_labels(predictions, read)

    def check(self, form: SubmissionFormat) -> None:
        """Refuse a separator that occurs in a class name."""
        check_separator(form)

    def is_default(self, task: Task, label_column: bool) -> bool:
        """Return whether an image can have several classes and the config names the column."""
        return task.target == "classes" and label_column

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if cells hold several classes, and an image can have several."""
        found = sample.separator(facts)
        if found is None or facts.task.exclusive:
            return None
        because = f"column '{sample.name}' holds several classes, such as {sample.examples}"
        return Evidence(because, {"separator": found[0], "blank": sample.has_blank})

    def infer_from_class_names(
        self, because: str, sample: SampleValues, facts: CompetitionFacts
    ) -> Evidence | None:
        """Return evidence if an image can have several classes."""
        return None if facts.task.exclusive else Evidence(because, {"blank": sample.has_blank})

    def with_fallback(
        self, predictions: FinalPredictions, form: SubmissionFormat, classes: Sequence[str]
    ) -> FinalPredictions:
        """Return predictions in which an image without a class has the fallback, if that is a class."""
        if form.fallback is None or form.fallback not in classes or predictions.decided.ndim == 1:
            return predictions
        decided = predictions.decided.copy()
        decided[decided.sum(axis=1) == 0, list(classes).index(form.fallback)] = 1
        return replace(predictions, decided=decided)

    def unwritable(self, predictions: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
        """Return the rows without a class, if the format has neither blank cells nor a fallback."""
        if form.blank or form.fallback is not None:
            return np.array([], dtype=np.int64)
        return np.flatnonzero(label_matrix(predictions, form).sum(axis=1) == 0)


def _words(cell: str, form: SubmissionFormat) -> list[str]:
    """Return the classes in a cell; none for a fallback that is not a class."""
    if cell == form.fallback and cell not in form.classes:
        return []
    return [word for word in cell.split(form.separator) if word]
