"""Cells that are to be numbers: which are not, and why; and whether they can be what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.submission_check.problem_codes import Problems, shown
from kit.submission_format.spec import SubmissionFormat

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
COMMA = re.compile(r"[+-]?\d+,\d+")
THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+([.,]\d+)?")
PERCENT = re.compile(r"[+-]?\d+([.,]\d+)?\s*%")
NO_VALUE = {"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "na", "n/a", "null", "none", "nil", "<na>"}
LOOKED_AT = 1000  # rows from which the number of decimals is told
EXACT = 1e-6  # how near to 1 the sum of a row of probabilities must be
HUNDRED = 1.5  # how near to 100 that of percentages is


@dataclass(frozen=True)
class Cells:
    """The columns of a file that hold values, and the ids beside them."""

    ids: pa.ChunkedArray
    names: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]

    def example(self, row: int, cell: object) -> str:
        """Return a row's id and a cell, for people."""
        seen = shown(cell)
        return f"id {shown(self.ids[row].as_py())}: {seen if seen.strip() else repr(seen)}"


def read_numbers(cells: Cells, form: SubmissionFormat, problems: Problems) -> np.ndarray:
    """Return the numbers in cells, (N, K), float64; NaN for those that are none, which are told."""
    found = [_numbers(cells, column, form, problems) for column in cells.columns]
    return np.stack(found, axis=1) if len(found) > 1 else found[0][:, None]


def _numbers(cells: Cells, column: pa.ChunkedArray, form: SubmissionFormat, problems: Problems) -> np.ndarray:
    text = _with_points(column, form.look.decimal_mark)
    values = _all_at_once(text)
    return _odd_numbers(cells, column, pc.utf8_trim_whitespace(text), problems) if values is None else values


def _all_at_once(text: pa.ChunkedArray) -> np.ndarray | None:
    """Return cells as numbers, the quick way; None where one is none, or not finite."""
    try:
        values = np.asarray(pc.cast(text, pa.float64()).to_numpy())
    except pa.ArrowInvalid:
        return None
    return values if np.isfinite(values).all() else None


def _with_points(column: pa.ChunkedArray, mark: str) -> pa.ChunkedArray:
    """Return numbers with a point before their decimals; one that had it already becomes none."""
    if mark == ".":
        return column
    return pc.replace_substring(pc.replace_substring(column, ".", "?"), mark, ".")


def _odd_numbers(
    cells: Cells, column: pa.ChunkedArray, text: pa.ChunkedArray, problems: Problems
) -> np.ndarray:
    """Return the numbers of a column of which some cells are none, which are told."""
    fine = pc.match_substring_regex(text, NUMBER)
    values = np.full(len(column), np.nan)
    good = np.asarray(fine.to_numpy(), dtype=bool)
    values[good] = [float(cell) for cell in text.filter(fine).to_pylist()]
    values[np.isinf(values)] = np.nan  # 1e999
    odd = np.flatnonzero(np.isnan(values))
    rows: dict[str, list[int]] = {}
    for row, cell in zip(odd, column.take(pa.array(odd)).to_pylist(), strict=True):
        rows.setdefault(_why_no_number(cell), []).append(int(row))
    for code, at in rows.items():
        problems.add(code, len(at), cells.example(at[0], column[at[0]].as_py()))
    return values


def _why_no_number(cell: str) -> str:
    text = cell.strip()
    if not text:
        return "blank"
    if text.casefold() in NO_VALUE or (is_number(text) and np.isinf(float(text))):
        return "not_finite"  # a number beyond all that can be stored reads as infinite
    if PERCENT.fullmatch(text):
        return "percent"
    if COMMA.fullmatch(text) and (text.lstrip("+-").startswith("0") or len(text.partition(",")[2]) != 3):
        return "decimal_comma"
    if THOUSANDS.fullmatch(text):
        return "thousands"
    return "formula" if is_formula(text) else "not_a_number"


def is_number(text: str) -> bool:
    """Tell whether a cell is a number as every program writes it."""
    return re.fullmatch(NUMBER, text.strip(), re.ASCII) is not None


def is_formula(text: str) -> bool:
    """Tell whether a spreadsheet would run a cell."""
    return text.startswith(("=", "@", "\t")) or (text.startswith(("+", "-")) and not is_number(text))


def check_numbers(cells: Cells, values: np.ndarray, form: SubmissionFormat, problems: Problems) -> None:
    """Tell numbers that cannot be what the form says.

    Args:
        values: (N, K), in the order of the cells' columns.
    """
    outside = (values < form.low - EXACT) | (values > form.high + EXACT)
    if outside.any():
        _tell_outside(cells, values, outside, form, problems)
    elif form.kind == "probabilities" and form.exclusive and len(cells.columns) == len(form.columns):
        _check_sums(cells, values, form, problems)


def _tell_outside(
    cells: Cells, values: np.ndarray, outside: np.ndarray, form: SubmissionFormat, problems: Problems
) -> None:
    rows = np.flatnonzero(outside.any(axis=1))
    row = int(rows[0])
    example = cells.example(row, " ".join(f"{value:g}" for value in values[row][:5]))
    limits = f": {form.low:g} to {form.high:g}"
    if form.kind == "value":
        problems.add("out_of_range", len(rows), example, limits)
    elif _are_percentages(values, form):
        problems.add("percentages", len(rows), example)
    elif np.nanmin(values) < 0 and (np.nanmax(values) > 1 or len(rows) > len(values) / 2):
        function = "softmax" if form.exclusive and values.shape[1] > 1 else "sigmoid"
        problems.add("logits", len(rows), example, limits, f"Apply {function} before writing.")
    else:
        problems.add("out_of_range", len(rows), example, limits)


def _are_percentages(values: np.ndarray, form: SubmissionFormat) -> bool:
    """Tell whether numbers go from 0 to 100: rows sum to that, or some come near it."""
    if np.nanmin(values) < 0 or np.nanmax(values) > 100 + HUNDRED:
        return False
    if form.exclusive and values.shape[1] > 1:
        return bool(np.abs(np.nanmean(values.sum(axis=1)) - 100) < HUNDRED)
    return bool(np.nanmax(values) > 10)


def _check_sums(cells: Cells, values: np.ndarray, form: SubmissionFormat, problems: Problems) -> None:
    off = np.abs(values.sum(axis=1) - 1)
    bad = np.flatnonzero(off > EXACT)  # a row with NaN is told already
    if not len(bad):
        return
    decimals = max(_decimals(column, form.look.decimal_mark) for column in cells.columns)
    rounding = values.shape[1] * 0.5 * 10.0**-decimals + EXACT
    worst = int(bad[np.argmax(off[bad])])
    example = cells.example(worst, f"{values[worst].sum():.6f}")
    if off[worst] <= rounding:
        problems.add("row_sum_rounding", len(bad), example, f" to {decimals} decimals")
    else:
        problems.add("row_sum", len(bad), example)


def _decimals(column: pa.ChunkedArray, mark: str) -> int:
    return max((len(cell.partition(mark)[2]) for cell in _first(column)), default=0)


def _first(column: pa.ChunkedArray) -> Sequence[str]:
    cells: list[str] = column[:LOOKED_AT].to_pylist()
    return [cell for cell in cells if "e" not in cell and "E" not in cell]


def numbers_alone(column: pa.ChunkedArray, mark: str) -> bool:
    """Tell whether a column holds nothing but numbers."""
    return bool(pc.all(pc.match_substring_regex(_with_points(column, mark), NUMBER)).as_py())


def all_equal(columns: Sequence[pa.ChunkedArray]) -> bool:
    """Tell whether every row has the same cells."""
    return all(_is_one(column) for column in columns)


def _is_one(column: pa.ChunkedArray) -> bool:
    """Tell whether all cells are the first; most columns are seen through by a few of them."""
    first = column[0]
    return all(pc.all(pc.equal(part, first)).as_py() for part in (column[:LOOKED_AT], column))
