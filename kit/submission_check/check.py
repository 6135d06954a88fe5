"""Check a submission file against its format: every problem at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError
from kit.submission_check.compare import FileContent, compare, compare_previous
from kit.submission_check.context import NO_CONTEXT, CheckContext
from kit.submission_check.file import read_cells
from kit.submission_check.header import columns_by_name
from kit.submission_check.ids import rows_of_ids
from kit.submission_check.labels import check_flags, check_text, read_classes
from kit.submission_check.numbers import (
    ValueColumns,
    check_numbers,
    is_constant,
    only_numbers,
    read_numbers,
)
from kit.submission_check.problem_codes import Problem, Problems, printable
from kit.submission_format.spec import CellType, SubmissionFormat, text_column

FEW = 20  # rows, which may all have the same class by chance
ONE_CLASS = 1e-6  # the probability below which one class for all rows is suspicious

Values = tuple[np.ndarray | None, np.ndarray | None]  # classes (N,) or numbers (N, K)


def check_file(path: Path, form: SubmissionFormat, context: CheckContext = NO_CONTEXT) -> list[Problem]:
    """Return every problem of a file, errors first; an empty list means that it can be submitted.

    Args:
        context: What to compare the file with.

    Raises:
        KitError: The file is missing, or is a folder.
    """
    problems = Problems()
    _check_stale(context, problems)
    content = _content(path, form, context, problems)
    if content is not None:
        compare(content, form, context, problems)
        if context.previous is not None and "is_sample" not in problems:
            _compare_previous(content, form, context.previous, problems)
    return problems.listed()


def _content(
    path: Path, form: SubmissionFormat, context: CheckContext, problems: Problems
) -> FileContent | None:
    """Add the problems of a file alone, and return its content if it can be compared."""
    read = read_cells(path, form, problems, context.max_bytes)
    if read is None:
        return None
    by_name = columns_by_name(read.parsed, form, problems)
    num_rows = max(map(len, by_name.values()), default=0)
    if num_rows == 0:
        if by_name and not read.left_out:
            problems.add("empty", 1, "line 2")
        return None
    ids = by_name.pop(form.id_column, None)
    for name in form.row_numbers:
        by_name.pop(name, None)
    if ids is not None and form.repeats is not None:
        ids, by_name = _each_id_once(ids, by_name, form, form.repeats)
    names, columns = tuple(by_name), tuple(by_name.values())
    if ids is None:
        numbered = text_column([f"of row {row + 2}" for row in range(num_rows)])
        _check_values(ValueColumns(numbered, names, columns), form, problems)
        return None
    rows = rows_of_ids(ids, columns, form, read.left_out, problems)
    cells = ValueColumns(ids, names, columns)
    if not columns:
        return None
    classes, numbers = _check_values(cells, form, problems)
    _check_constant(cells, rows, form, problems)
    content = _by_image(cells, rows, classes, numbers, form)
    if content is not None:
        _check_one_class(content, form, context, problems)
    return content


def _each_id_once(
    ids: pa.ChunkedArray, by_name: dict[str, pa.ChunkedArray], form: SubmissionFormat, repeats: np.ndarray
) -> tuple[pa.ChunkedArray, dict[str, pa.ChunkedArray]]:
    """Return the rows of a file whose ids have as many rows as in the sample; equal rows of an id are one."""
    own, wanted = pc.value_counts(ids), np.bincount(repeats, minlength=len(form))
    counts = dict(zip(own.field("values").to_pylist(), own.field("counts").to_pylist(), strict=True))
    if counts != dict(zip(form.ids.to_pylist(), wanted.tolist(), strict=True)):
        return ids, by_name  # ids are missing, unknown, or have too many or too few rows
    rows = pd.DataFrame({"id": ids.to_pandas(), **{n: c.to_pandas() for n, c in by_name.items()}})
    first = pa.array(np.flatnonzero(~rows.duplicated().to_numpy()))
    return ids.take(first), {name: column.take(first) for name, column in by_name.items()}


def _check_values(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> Values:
    """Add the problems of values; return the classes or the numbers, None where a cell has neither."""
    return CHECKS[form.kind.cell_type](cells, form, problems)


def _check_number_cells(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> Values:
    numbers = read_numbers(cells, form, problems)
    check_numbers(cells, numbers, form, problems)
    return None, numbers


def _check_flag_cells(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> Values:
    return None, check_flags(cells, form, problems)


def _check_class_cells(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> Values:
    return read_classes(cells, form, problems), None


def _check_any_cells(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> Values:
    """Check cells of unknown kind: numbers if the sample has numbers in that column, else text."""
    for name, column in zip(cells.names, cells.columns, strict=True):
        one = ValueColumns(cells.ids, (name,), (column,))
        position = form.columns.index(name)
        if form.sample is not None and only_numbers(form.sample[position], form.dialect.decimal_mark):
            read_numbers(one, form, problems)
        else:
            check_text(one, position, form, problems)
    return None, None


CHECKS: dict[CellType, Callable[[ValueColumns, SubmissionFormat, Problems], Values]] = {
    CellType.NUMBER: _check_number_cells,
    CellType.FLAG: _check_flag_cells,
    CellType.CLASSES: _check_class_cells,
    CellType.ANYTHING: _check_any_cells,
}


def _by_image(
    cells: ValueColumns,
    rows: np.ndarray | None,
    classes: np.ndarray | None,
    numbers: np.ndarray | None,
    form: SubmissionFormat,
) -> FileContent | None:
    """Return the values of the rows; None if an image has no row or no valid value."""
    if len(cells.ids) != len(form) or (rows is not None and len(np.unique(rows[rows >= 0])) < len(form)):
        return None
    if classes is not None:
        return FileContent(rows, classes, None, cells.columns)
    if numbers is None or np.isnan(numbers).any():
        return None
    found = form.kind.numbers_by_image(numbers, cells.names, rows, form)
    return None if found is None else FileContent(found[0], None, found[1], threshold=form.kind.threshold)


def _check_constant(
    cells: ValueColumns, rows: np.ndarray | None, form: SubmissionFormat, problems: Problems
) -> None:
    """Add a problem if the file is the unchanged sample, or all rows have the same values."""
    if _is_sample(cells, rows, form):
        problems.add("is_sample", len(cells.ids), _first_row(cells))
        return
    enough = form.kind.constant_rows
    if enough is not None and cells.columns[0][0].as_py() in ("0", "1"):
        enough = FEW
    if enough is not None and len(cells.ids) >= enough and is_constant(cells.columns):
        problems.add("constant", len(cells.ids), _first_row(cells))


def _check_one_class(
    content: FileContent, form: SubmissionFormat, context: CheckContext, problems: Problems
) -> None:
    """Add a problem if all rows have the same class.

    Probabilities of two classes are only compared with predictions: all probabilities of a rare class may be
    below one half.
    """
    may_be_rare = form.kind.numeric and len(form.classes) == 2 and not context.counts_are_predictions
    if not form.exclusive or "constant" in problems or may_be_rare:
        return
    classes = content.decided
    if classes is None:
        return
    only = int(classes[0])
    if only >= 0 and (classes == only).all() and _is_unlikely(len(classes), only, context.class_counts):
        problems.add("one_class", len(classes), f"'{printable(form.written[only])}'")


def _is_unlikely(num_rows: int, only: int, counts: np.ndarray | None) -> bool:
    """Return whether it is unlikely by chance that all rows have one class."""
    if counts is None or counts.sum() == 0:
        return num_rows >= FEW
    share = (counts[only] + 1) / (counts.sum() + 2)
    return bool(num_rows * np.log(share) < np.log(ONE_CLASS))


def _is_sample(cells: ValueColumns, rows: np.ndarray | None, form: SubmissionFormat) -> bool:
    """Return whether every cell equals the sample's, in any order of rows."""
    if form.sample is None or len(cells.ids) != len(form) or cells.names != form.columns:
        return False
    if rows is None:
        return all(own.equals(there) for own, there in zip(cells.columns, form.sample, strict=True))
    if (rows < 0).any():
        return False
    at = pa.array(rows)
    return all(own.equals(there.take(at)) for own, there in zip(cells.columns, form.sample, strict=True))


def _first_row(cells: ValueColumns) -> str:
    return cells.example(0, " ".join(str(column[0].as_py()) for column in cells.columns[:5]))


def _check_stale(context: CheckContext, problems: Problems) -> None:
    for names, what in ((context.unlisted, "is not listed"), (context.vanished, "is not a test image")):
        if names:
            problems.add("stale_sample", len(names), f"{printable(names[0])} {what}")


def _compare_previous(content: FileContent, form: SubmissionFormat, path: Path, problems: Problems) -> None:
    """Compare a file with the previous submission if it has the same format and no error."""
    aside = Problems()
    try:
        before = _content(path, form, NO_CONTEXT, aside)
    except (KitError, OSError):
        return
    if before is not None and not any(p.severity == "error" for p in aside.listed()):
        compare_previous(content, before, path.name, problems)
