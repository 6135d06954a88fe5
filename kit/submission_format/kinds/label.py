"""Kind ``label``: one class, by name or grade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import different_labels, labels_only, name_column
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.submission_format.spelling import (
    NUMBER,
    ClassIndex,
    are_yes_no,
    no_yes_words,
    normalize_spelling,
)
from kit.tasks import Task


@register_kind("label")
class Label(SubmissionKind):
    """One class: its name, or a grade."""

    description = "labels"
    cell_type = CellType.CLASSES
    holds_labels = True
    constant_rows = None
    likely_metrics = ("accuracy", "balanced_accuracy", "f1_macro")
    likely_metrics_for: ClassVar = {"ordinal": ("quadratic_kappa", "accuracy")}

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return whether the metric needs labels only."""
        return metric.needs == "labels"

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the column of class names."""
        return [name_column(predictions.decided, form.written)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the labels."""
        index = ClassIndex(form.classes, form.spelled)
        return labels_only(np.array([index[cell] for cell in columns[0]], dtype=np.int64), form, task)

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose labels differ."""
        return different_labels(predictions, read)

    def is_default(self, task: Task, label_column: bool) -> bool:
        """Return whether an image has one class and the config names the column."""
        return task.exclusive and label_column

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if all cells are classes in another spelling, as ``True`` for class ``1``."""
        if sample.separator(facts) or not (facts.task.exclusive and sample.says_other_spellings(facts)):
            return None
        because = f"column '{sample.name}' holds the classes as {sample.examples}"
        return Evidence(because, {"spelled": _spelled(sample.filled, facts.classes)})

    def infer_from_class_names(
        self, because: str, sample: SampleValues, facts: CompetitionFacts
    ) -> Evidence | None:
        """Return evidence unless the metric needs more than a label."""
        metric = facts.metric
        if not facts.task.exclusive or facts.metric_k is not None:
            return None
        if metric is not None and metric.needs != "labels" and len(facts.classes) == 2:
            return None
        return Evidence(because)


def _spelled(filled: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Return the spelling of each class, from a sample that may show only some of them."""
    if are_yes_no(filled):
        words = no_yes_words(filled)
        return tuple(words[int(normalize_spelling(name))] for name in classes)
    if all(NUMBER.fullmatch(value) for value in filled):
        decimals = max(len(value.partition(".")[2]) for value in filled)
        return tuple(f"{float(name):.{decimals}f}" for name in classes)
    shown = {normalize_spelling(value): value for value in filled}
    return tuple(shown.get(normalize_spelling(name), name) for name in classes)
