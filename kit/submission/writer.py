"""Predictions -> CSV text -> predictions. The reader shares nothing with the writer but the format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.decisions.steps import Answers, Decision
from kit.errors import KitError
from kit.evaluation.scored import Scored
from kit.metrics import Metric
from kit.predictions import Predictions
from kit.submission.format import SubmissionFormat
from kit.tasks import Task, tasks


def render(predictions: Predictions, form: SubmissionFormat, decided: np.ndarray | None = None) -> str:
    """Return the CSV: the format's header, its ids in its order, one row each.

    Labels are class names as the data writes them; probabilities are the shortest text that reads back as
    the same float32.

    Args:
        decided: The decisions, in the order of the predictions; None: as the task decides.

    Raises:
        KitError: The predictions lack an id or have one too many.
    """
    aligned = predictions.aligned_to(form.ids, predictions.classes, predictions.origin.experiment)
    if decided is None:
        decided = tasks.get(predictions.origin.task).decide(predictions.probs)
    order = pd.Index(predictions.ids).get_indexer(pd.Index(form.ids))
    cells = _cells(aligned, decided[order], form)
    rows = ([sample_id, *row] for sample_id, row in zip(form.ids, cells, strict=True))
    return "".join(_line(row, form) for row in (form.header, *rows))


def _line(cells: Iterable[str], form: SubmissionFormat) -> str:
    """Return one line; cells with a delimiter, a quote or any line end in them are quoted.

    Python's own writer leaves a lone carriage return bare where lines end in a newline, and readers stumble.
    """
    special = {form.delimiter, '"', "\r", "\n"}
    quoted = ('"' + c.replace('"', '""') + '"' if special & set(c) else c for c in cells)
    return form.delimiter.join(quoted) + form.newline


def _cells(predictions: Predictions, decided: np.ndarray, form: SubmissionFormat) -> list[list[str]]:
    if form.kind == "label":
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


def keeps_score(metric: Metric, form: SubmissionFormat) -> bool:
    """Tell whether a file of that form holds what the metric needs: labels are less than probabilities."""
    return form.kind != "label" or metric.needs == "labels"


def held_by(form: SubmissionFormat, answers: Answers, decision: Decision, task: Task) -> Answers:
    """Return what a form holds of answers: one without labels takes learned decisions as 0 and 1."""
    if form.kind == "label" or not decision.decides:
        return answers
    return replace(answers, probs=task.one_hot(answers.decided, answers.probs.shape[1]).astype(np.float32))


def mirror_score(scored: Scored, answers: Answers, form: SubmissionFormat) -> float | None:
    """Return the score of answers for the OOF rows once they are written and read back like a submission.

    If training were the test, this is what the leaderboard would say. None where the form keeps less than
    the metric needs.
    """
    if not keeps_score(scored.metric, form):
        return None
    mirrored = replace(form, ids=tuple(sorted(scored.oof.ids)), sample=None)
    text = render(replace(scored.oof, probs=answers.probs), mirrored, answers.decided)
    rows = read_rows(text, form.delimiter)[1:]
    values = scores_of_rows(rows, form, len(scored.oof.classes))
    position = {sample_id: number for number, sample_id in enumerate(scored.oof.ids)}
    targets = scored.targets[[position[row[0]] for row in rows]]
    return scored.metric(targets, values, scored.task)
