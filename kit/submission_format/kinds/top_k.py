"""Kind ``top_k``: the most likely classes in one cell, most likely first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import counted
from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import check_separator
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.submission_format.spelling import ClassIndex
from kit.tasks import Task


@register_kind("top_k")
class TopK(SubmissionKind):
    """The most likely classes in one cell, most likely first."""

    description = "ranked classes"
    cell_type = CellType.CLASSES
    separated = True
    ranked = True
    options = frozenset({"most"})
    likely_metrics = ("map_at_k", "top_k", "accuracy")

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return whether the metric reads no more ranks than a cell has, or labels only."""
        k = metric.options.get("k")
        return metric.needs == "labels" if k is None else int(k) <= _length(form)

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the column of ranked class names."""
        ranked = _ranked(predictions, form)
        names = pa.array(form.written, pa.string())
        words = [pc.take(names, pa.array(np.ascontiguousarray(column))) for column in ranked.T]
        return [words[0] if len(words) == 1 else pc.binary_join_element_wise(*words, form.separator)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return ranks as probabilities: each is half of the one before, and 0 for classes not named."""
        index = ClassIndex(form.classes, form.spelled)
        probs = np.zeros((len(columns[0]), len(form.classes)), dtype=np.float32)
        for row, cell in enumerate(columns[0]):
            named = [index[word] for word in cell.split(form.separator) if word]
            probs[row, named] = 0.5 ** np.arange(1, len(named) + 1)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose ranking differs."""
        return np.asarray((_ranked(predictions, form) != _ranked(read, form)).any(axis=1))

    def check(self, form: SubmissionFormat) -> None:
        """Refuse a separator that occurs in a class name."""
        check_separator(form)

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if cells hold several classes, and an image has one."""
        found = sample.separator(facts)
        if found is None or not facts.task.exclusive:
            return None
        separator, most = found
        because = (
            f"column '{sample.name}' ranks {counted(most, 'class', 'classes')}, such as {sample.filled[0]}"
        )
        return Evidence(because, {"separator": separator, "most": most})

    def infer_from_class_names(
        self, because: str, sample: SampleValues, facts: CompetitionFacts
    ) -> Evidence | None:
        """Return evidence if the metric reads ranks."""
        if facts.metric is None or facts.metric_k is None or not facts.task.exclusive:
            return None
        return Evidence(f"{because}; {facts.metric.name} ranks them", {"most": facts.metric_k})


def _ranked(predictions: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return the most likely classes of each image, (N, K), most likely first."""
    return np.argsort(-predictions.probs, axis=1, kind="stable")[:, : _length(form)]


def _length(form: SubmissionFormat) -> int:
    """Return the number of classes in a cell."""
    return len(form.classes) if form.most is None else min(form.most, len(form.classes))
