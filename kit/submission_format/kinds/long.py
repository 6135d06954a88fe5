"""Kind ``long``: a row per image and class, its probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kit.errors import KitError
from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.submission_format.kinds.columns import different_numbers, number_column
from kit.submission_format.kinds.registry import register_kind
from kit.submission_format.numbers import parse_numbers
from kit.submission_format.spec import CellType, LongRows, SubmissionFormat, SubmissionKind
from kit.tasks import Task

JOINTS = ("_", "-", ":", "/", ".", " ", "|", "__")  # between image and class in a row's id


@register_kind("long")
class Long(SubmissionKind):
    """A row per image and class: the probability."""

    description = "a probability per image and class"
    cell_type = CellType.NUMBER
    multilabel = True
    is_probability = True
    inference_order = 0
    options = frozenset({"decimals"})
    likely_metrics = ("log_loss", "roc_auc")

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return True: every metric follows from the probabilities."""
        return True

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the column of probabilities."""
        rows = _rows_of(form)
        return [number_column(predictions.probs[rows.image, rows.column], form)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return the probabilities, one row per image."""
        rows = _rows_of(form)
        probs = np.zeros((len(rows.images), len(form.classes)), dtype=np.float32)
        probs[rows.image, rows.column] = parse_numbers(columns[0], form.dialect.decimal_mark)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the images whose probabilities differ."""
        return different_numbers(predictions.probs, read.probs, form)

    def default_options(self, where: object, facts: CompetitionFacts) -> dict[str, Any]:
        """Raise: only a sample whose ids join image and class shows the rows."""
        raise KitError(
            where,
            f"ids do not join a test image, such as {next(iter(facts.images), None)}, and a class",
            "In the long format every row is one class of one image",
            code="ids_not_long",
        )

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return evidence if there is one column and the ids join image and class."""
        if len(sample.columns) != 1 or (rows := find_long_rows(sample.ids, facts)) is None:
            return None
        return Evidence(f"a row per image and class, such as {sample.ids[0]}", {"long_rows": rows})

    def numbers_by_image(
        self, numbers: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None, form: SubmissionFormat
    ) -> tuple[np.ndarray | None, np.ndarray] | None:
        """Return the probabilities, one row per image, in order."""
        long_rows = _rows_of(form)
        wide = np.zeros((len(long_rows.images), len(form.classes)))
        at = slice(None) if rows is None else rows
        wide[long_rows.image[at], long_rows.column[at]] = numbers[:, 0]
        return None, wide


def _rows_of(form: SubmissionFormat) -> LongRows:
    if form.long_rows is None:
        raise ValueError("a long format needs long_rows")
    return form.long_rows


def find_long_rows(ids: Sequence[str], facts: CompetitionFacts) -> LongRows | None:
    """Return the image and the class of each row; None if ids do not join an image and a class."""
    images, classes = set(facts.images), {name: c for c, name in enumerate(facts.classes)}
    for joint in JOINTS:
        for class_first in (False, True):
            if not ids or _split(ids[0], joint, class_first, images, classes) is None:
                continue
            parts = [_split(row_id, joint, class_first, images, classes) for row_id in ids]
            if None not in parts:
                return _long_rows([part for part in parts if part], classes, joint, class_first)
    return None


def _split(
    row_id: str, joint: str, class_first: bool, images: set[str], classes: dict[str, int]
) -> tuple[str, str] | None:
    """Return the image and the class that an id joins; the joint may also occur inside them."""
    at = row_id.find(joint)
    while at >= 0:
        before, after = row_id[:at], row_id[at + len(joint) :]
        image, name = (after, before) if class_first else (before, after)
        if name in classes and image in images:
            return image, name
        at = row_id.find(joint, at + 1)
    return None


def _long_rows(
    parts: Sequence[tuple[str, str]], classes: dict[str, int], joint: str, class_first: bool
) -> LongRows:
    position = {image: number for number, image in enumerate(dict.fromkeys(image for image, _ in parts))}
    return LongRows(
        images=tuple(position),
        image=np.array([position[image] for image, _ in parts]),
        column=np.array([classes[name] for _, name in parts]),
        joint=joint,
        class_first=class_first,
    )
