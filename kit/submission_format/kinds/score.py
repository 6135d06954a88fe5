"""Kind ``score``: the probability of the second of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kit.errors import KitError, counted
from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import different_numbers, number_column
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.numbers import parse_numbers
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.tasks import Task


@register_kind("score")
class Score(SubmissionKind):
    """The probability of the second of two classes."""

    description = "one score per image"
    cell_type = CellType.NUMBER
    multilabel = True
    is_probability = True
    threshold = 0.5
    options = frozenset({"decimals"})
    likely_metrics = ("roc_auc", "log_loss")

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return True: every metric follows from the probabilities."""
        return True

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the column of the second class's probabilities."""
        return [number_column(predictions.probs[:, 1], form)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the probabilities of both classes."""
        second = parse_numbers(columns[0], form.dialect.decimal_mark)
        probs = np.stack([1 - second, second], axis=1)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows whose probabilities differ."""
        return different_numbers(predictions.probs, read.probs, form)

    def check(self, form: SubmissionFormat) -> None:
        """Refuse any number of classes but two."""
        if len(form.classes) != 2:
            raise KitError(
                "submission.kind",
                f"is {self.name}, and there are {counted(len(form.classes), 'class', 'classes')}",
                "A score needs two classes",
                code="kind_unsuitable",
            )

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if cells are numbers and there are two exclusive classes."""
        if not (sample.says_numbers(facts) and facts.task.exclusive and len(facts.classes) == 2):
            return None
        because = f"column '{sample.name}' holds numbers: the probability of {facts.classes[1]}"
        return Evidence(because)

    def infer_from_class_names(
        self, because: str, sample: SampleValues, facts: CompetitionFacts
    ) -> Evidence | None:
        """Return evidence if the metric reads probabilities of two exclusive classes."""
        metric = facts.metric
        if metric is None or metric.needs == "labels" or facts.metric_k is not None:
            return None
        if not facts.task.exclusive or len(facts.classes) != 2:
            return None
        return Evidence(f"{because}; {metric.name} takes the probability of {facts.classes[1]}")

    def infer_from_numbers(self, names: Sequence[str], numbers: np.ndarray) -> dict[str, Any] | None:
        """Return two classes for one column that is not all 0 and 1."""
        if len(names) != 1 or np.isin(numbers, (0.0, 1.0)).all():
            return None
        return {"classes": ("0", "1"), "exclusive": True}

    def numbers(self, predictions: FinalPredictions) -> np.ndarray:
        """Return the second class's probabilities, (N, 1)."""
        return predictions.probs[:, 1:]
