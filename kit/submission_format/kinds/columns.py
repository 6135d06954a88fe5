"""Parts that several kinds share: label and number columns, and their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kit.errors import KitError, first_few
from kit.predictions import FinalPredictions
from kit.submission_format.numbers import fixed_decimals, shortest_decimals, with_decimal_mark
from kit.submission_format.spec import SubmissionFormat
from kit.tasks import Task

FLOAT32_STEP = 2.0**-23  # the distance of float32 numbers near 1


def number_column(values: np.ndarray, form: SubmissionFormat) -> pa.StringArray:
    """Return numbers (N,) as the format writes them."""
    text = shortest_decimals(values) if form.decimals is None else fixed_decimals(values, form.decimals)
    return with_decimal_mark(text, form.dialect.decimal_mark)


def name_column(positions: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    """Return positions (N,) as names, each stored once."""
    at = pa.array(np.ascontiguousarray(positions, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(at, pa.array(names, pa.string()))


def labels_only(decided: np.ndarray, form: SubmissionFormat, task: Task) -> FinalPredictions:
    """Return predictions of which only the labels are known: their probabilities are 0 and 1."""
    return FinalPredictions(task.one_hot(decided, len(form.classes)).astype(np.float32), decided)


def different_labels(predictions: FinalPredictions, read: FinalPredictions) -> np.ndarray:
    """Return the rows, (N,) bool, whose labels differ."""
    return np.asarray((predictions.decided != read.decided).reshape(len(read.decided), -1).any(axis=1))


def different_numbers(wanted: np.ndarray, read: np.ndarray, form: SubmissionFormat) -> np.ndarray:
    """Return the rows, (N,) bool, whose numbers (N, ...) differ by more than the format's rounding."""
    tolerance = 0.0 if form.decimals is None else 10.0**-form.decimals + FLOAT32_STEP
    wide = wanted.astype(np.float64).reshape(len(wanted), -1)
    return np.asarray((np.abs(wide - read.reshape(wide.shape)) > tolerance).any(axis=1))


def label_matrix(predictions: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return the labels as a matrix (N, C), 0 or 1."""
    if predictions.decided.ndim == 2:
        return predictions.decided.astype(np.int64)
    matrix: np.ndarray = np.eye(len(form.classes), dtype=np.int64)[predictions.decided]
    return matrix


def in_class_order(columns: Sequence[Any], form: SubmissionFormat, dtype: type) -> np.ndarray:
    """Return columns in file order as a matrix (N, C) in class order."""
    order = [form.columns.index(name) for name in form.written]
    return np.stack([np.asarray(columns[position], dtype=dtype) for position in order], axis=1)


def numbers_in_class_order(
    numbers: np.ndarray, names: tuple[str, ...], form: SubmissionFormat
) -> np.ndarray | None:
    """Return numbers (N, K) of some columns in class order; None unless the columns are the classes."""
    if names == form.written:
        return numbers
    if set(names) != set(form.written):
        return None
    return numbers[:, [names.index(name) for name in form.written]]


def check_separator(form: SubmissionFormat) -> None:
    """Refuse a separator that occurs in a class name.

    Raises:
        KitError: The message names the first classes.
    """
    odd = [name for name in form.written if form.separator in name]
    if odd:
        raise KitError(
            "submission.separator",
            f"'{form.separator}' occurs in class names ({first_few(odd)})",
            "The separator must not occur in a class name",
            "Set another separator, if the rules allow it.",
            code="separator_in_class_name",
        )
