"""Predictions -> CSV text -> predictions. The reader shares nothing with the writer but the format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from kit.errors import KitError
from kit.evaluation import Scored
from kit.predictions import Predictions
from kit.submission.format import SubmissionFormat
from kit.tasks import tasks


def render(predictions: Predictions, form: SubmissionFormat) -> str:
    """Return the CSV: the format's header, its ids in its order, one row each.

    Labels are class names as the data writes them; probabilities are the shortest text that reads back as
    the same float32.

    Raises:
        KitError: The predictions lack an id or have one too many.
    """
    aligned = predictions.aligned_to(form.ids, predictions.classes, predictions.origin.experiment)
    cells = _cells(aligned, form)
    rows = ([sample_id, *row] for sample_id, row in zip(form.ids, cells, strict=True))
    return "".join(_line(row, form) for row in (form.header, *rows))


def _line(cells: Iterable[str], form: SubmissionFormat) -> str:
    """Return one line; cells with a delimiter, a quote or any line end in them are quoted.

    Python's own writer leaves a lone carriage return bare where lines end in a newline, and readers stumble.
    """
    special = {form.delimiter, '"', "\r", "\n"}
    quoted = ('"' + c.replace('"', '""') + '"' if special & set(c) else c for c in cells)
    return form.delimiter.join(quoted) + form.newline


def _cells(predictions: Predictions, form: SubmissionFormat) -> list[list[str]]:
    if form.kind == "label":
        decided = tasks.get(predictions.origin.task).decide(predictions.probs)
        return [[predictions.classes[index]] for index in decided]
    names = predictions.classes[1:] if form.kind == "score" else form.columns
    columns = [predictions.classes.index(name) for name in names]
    cells: list[list[str]] = predictions.probs[:, columns].astype(str).tolist()
    return cells


def read_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a CSV text, the header first."""
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def read_submission(path: Path, delimiter: str = ",") -> list[list[str]]:
    """Return the rows of a CSV file, the header first.

    Raises:
        KitError: It is missing, not UTF-8, or its quotes do not close.
    """
    try:
        return read_rows(path.read_bytes().decode("utf-8-sig"), delimiter)
    except FileNotFoundError as error:
        raise KitError(path, "there is no such file") from error
    except IsADirectoryError as error:
        raise KitError(path, "is a folder, not a CSV") from error
    except UnicodeDecodeError as error:
        raise KitError(path, f"is not UTF-8 (byte {error.start})", "A submission is UTF-8 text") from error
    except csv.Error as error:
        raise KitError(path, f"is not a CSV: {error}", "Quotes close, rows end") from error


def scores_of_rows(rows: list[list[str]], form: SubmissionFormat, num_classes: int) -> np.ndarray:
    """Return what a leaderboard reads from checked rows: (N, C), float32, in the order of the rows.

    A label counts as certainty of its class.
    """
    classes = list(form.classes)
    if form.kind == "label":
        index = {name: number for number, name in enumerate(classes)}
        return np.eye(num_classes, dtype=np.float32)[[index[row[1]] for row in rows]]
    values = np.array([row[1:] for row in rows], dtype=np.float32)
    if form.kind == "score":
        return np.concatenate([1 - values, values], axis=1)
    order = [form.columns.index(name) for name in classes]
    return values[:, order]


def mirror_score(scored: Scored, form: SubmissionFormat) -> float | None:
    """Return the score of the OOF predictions after being written and read back as a submission would be.

    If training were the test, this is what the leaderboard would say. None where the format keeps less than
    the metric needs (labels for a metric of probabilities).
    """
    if form.kind == "label" and scored.metric.needs == "probabilities":
        return None
    mirrored = replace(form, ids=tuple(sorted(scored.oof.ids)), sample=None)
    rows = read_rows(render(scored.oof, mirrored), form.delimiter)[1:]
    values = scores_of_rows(rows, form, len(scored.oof.classes))
    position = {sample_id: number for number, sample_id in enumerate(scored.oof.ids)}
    targets = scored.targets[[position[row[0]] for row in rows]]
    return scored.metric(targets, values, scored.task)
