"""Check cells that must be numbers: their notation, range and row sums."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.submission_check.problem_codes import Problems, printable
from kit.submission_format.spec import SubmissionFormat

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
COMMA = re.compile(r"[+-]?\d+,\d+")
THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d+)?")
PERCENT = re.compile(r"[+-]?\d+([.,]\d+)?\s*%")
NO_VALUE = {"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "na", "n/a", "null", "none", "nil", "<na>"}
FIRST_ROWS = 1000  # rows that show the number of decimals
SUM_TOLERANCE = 1e-6  # of the sum of a row of probabilities
PERCENT_TOLERANCE = 1.5  # of the sum of a row of percentages


@dataclass(frozen=True)
class ValueColumns:
    """The value columns of a file, and its ids."""

    ids: pa.ChunkedArray
    names: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]

    def example(self, row: int, cell: object) -> str:
        """Return a row's id and a cell, for messages."""
        seen = printable(cell)
        return f"id {printable(self.ids[row].as_py())}: {seen if seen.strip() else repr(seen)}"


def read_numbers(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> np.ndarray:
    """Return the numbers in cells, (N, K), float64, NaN for other cells. Add the problems of those."""
    found = [_numbers(cells, column, form, problems) for column in cells.columns]
    return np.stack(found, axis=1) if len(found) > 1 else found[0][:, None]


def _numbers(
    cells: ValueColumns, column: pa.ChunkedArray, form: SubmissionFormat, problems: Problems
) -> np.ndarray:
    text = _with_points(column, form.dialect.decimal_mark)
    values = _parse_fast(text)
    return _parse_each(cells, column, pc.utf8_trim_whitespace(text), problems) if values is None else values


def _parse_fast(text: pa.ChunkedArray) -> np.ndarray | None:
    """Return cells as numbers, (N,); None if a cell is not a finite number."""
    try:
        values = np.asarray(pc.cast(text, pa.float64()).to_numpy())
    except pa.ArrowInvalid:
        return None
    return values if np.isfinite(values).all() else None


def _with_points(column: pa.ChunkedArray, mark: str) -> pa.ChunkedArray:
    """Return numbers with a decimal point; a number that already has one becomes invalid."""
    if mark == ".":
        return column
    return pc.replace_substring(pc.replace_substring(column, ".", "?"), mark, ".")


def _parse_each(
    cells: ValueColumns, column: pa.ChunkedArray, text: pa.ChunkedArray, problems: Problems
) -> np.ndarray:
    """Return the numbers of a column, (N,), NaN for other cells. Add the problems of those."""
    fine = pc.match_substring_regex(text, NUMBER)
    values = np.full(len(column), np.nan)
    good = np.asarray(fine.to_numpy(), dtype=bool)
    values[good] = [float(cell) for cell in text.filter(fine).to_pylist()]
    values[np.isinf(values)] = np.nan  # 1e999
    odd = np.flatnonzero(np.isnan(values))
    rows: dict[str, list[int]] = {}
    for row, cell in zip(odd, column.take(pa.array(odd)).to_pylist(), strict=True):
        rows.setdefault(_number_fault(cell), []).append(int(row))
    for code, at in rows.items():
        problems.add(code, len(at), cells.example(at[0], column[at[0]].as_py()))
    return values


def _number_fault(cell: str) -> str:
    """Return the problem code of a cell that is not a number."""
    text = cell.strip()
    if not text:
        return "blank"
    if text.casefold() in NO_VALUE or (is_number(text) and np.isinf(float(text))):
        return "not_finite"  # a number too large for float64 is infinite
    if PERCENT.fullmatch(text):
        return "percent"
    if COMMA.fullmatch(text) and (text.lstrip("+-").startswith("0") or len(text.partition(",")[2]) != 3):
        return "decimal_comma"
    if THOUSANDS.fullmatch(text):
        return "thousands"
    return "formula" if is_formula(text) else "not_a_number"


def is_number(text: str) -> bool:
    """Return whether a cell is a number in plain decimal or scientific notation."""
    return re.fullmatch(NUMBER, text.strip(), re.ASCII) is not None


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would evaluate a cell."""
    return text.startswith(("=", "@", "\t")) or (text.startswith(("+", "-")) and not is_number(text))


def check_numbers(
    cells: ValueColumns, values: np.ndarray, form: SubmissionFormat, problems: Problems
) -> None:
    """Add numbers that are out of range, or rows of probabilities that do not sum to 1.

    Args:
        values: (N, K), in the order of the cells' columns.
    """
    outside = (values < form.low - SUM_TOLERANCE) | (values > form.high + SUM_TOLERANCE)
    if outside.any():
        _add_outside(cells, values, outside, form, problems)
    elif form.kind.class_columns and form.exclusive and len(cells.columns) == len(form.columns):
        _check_sums(cells, values, form, problems)


def _add_outside(
    cells: ValueColumns, values: np.ndarray, outside: np.ndarray, form: SubmissionFormat, problems: Problems
) -> None:
    rows = np.flatnonzero(outside.any(axis=1))
    row = int(rows[0])
    example = cells.example(row, " ".join(f"{value:g}" for value in values[row][:5]))
    limits = f": {form.low:g} to {form.high:g}"
    if not form.kind.is_probability:
        problems.add("out_of_range", len(rows), example, limits)
    elif _are_percentages(values, form):
        problems.add("percentages", len(rows), example)
    elif np.nanmin(values) < 0 and (np.nanmax(values) > 1 or len(rows) > len(values) / 2):
        function = "softmax" if form.exclusive and values.shape[1] > 1 else "sigmoid"
        problems.add("logits", len(rows), example, limits, f"Apply {function} before writing.")
    else:
        problems.add("out_of_range", len(rows), example, limits)


def _are_percentages(values: np.ndarray, form: SubmissionFormat) -> bool:
    """Return whether numbers are percentages: rows sum to 100, or some numbers are above 10."""
    if np.nanmin(values) < 0 or np.nanmax(values) > 100 + PERCENT_TOLERANCE:
        return False
    if form.exclusive and values.shape[1] > 1:
        return bool(np.abs(np.nanmean(values.sum(axis=1)) - 100) < PERCENT_TOLERANCE)
    return bool(np.nanmax(values) > 10)


def _check_sums(cells: ValueColumns, values: np.ndarray, form: SubmissionFormat, problems: Problems) -> None:
    off = np.abs(values.sum(axis=1) - 1)
    bad = np.flatnonzero(off > SUM_TOLERANCE)  # NaN is reported already
    if not len(bad):
        return
    decimals = max(_decimals(column, form.dialect.decimal_mark) for column in cells.columns)
    rounding = values.shape[1] * 0.5 * 10.0**-decimals + SUM_TOLERANCE
    worst = int(bad[np.argmax(off[bad])])
    example = cells.example(worst, f"{values[worst].sum():.6f}")
    if off[worst] <= rounding:
        problems.add("row_sum_rounding", len(bad), example, f" to {decimals} decimals")
    else:
        problems.add("row_sum", len(bad), example)


def _decimals(column: pa.ChunkedArray, mark: str) -> int:
    return max((len(cell.partition(mark)[2]) for cell in _first(column)), default=0)


def _first(column: pa.ChunkedArray) -> Sequence[str]:
    cells: list[str] = column[:FIRST_ROWS].to_pylist()
    return [cell for cell in cells if "e" not in cell and "E" not in cell]


def only_numbers(column: pa.ChunkedArray, mark: str) -> bool:
    """Return whether all cells of a column are numbers."""
    return bool(pc.all(pc.match_substring_regex(_with_points(column, mark), NUMBER)).as_py())


def is_constant(columns: Sequence[pa.ChunkedArray]) -> bool:
    """Return whether all rows have the same cells."""
    return all(_is_one(column) for column in columns)


def _is_one(column: pa.ChunkedArray) -> bool:
    """Return whether all cells are equal; the first rows, checked first, usually differ."""
    first = column[0]
    return all(pc.all(pc.equal(part, first)).as_py() for part in (column[:FIRST_ROWS], column))
