"""Check the ids: each once and no others; find the rule by which wrong ids differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.submission_check.numbers import is_number
from kit.submission_check.problem_codes import Problems, printable
from kit.submission_format.spec import SubmissionFormat

MATCHED = 0.5  # share of the missing ids that a rule must find
MANY = 500_000  # ids, above which pairs of rules are not tried
TRIED = 2000  # unknown ids that show whether a rule finds any
LONGEST_NUMBER = 15  # digits that a float64 keeps
PADDING = re.compile(r"(?<!\d)0+(?=\d)")


def rows_of_ids(
    ids: pa.ChunkedArray,
    values: Sequence[pa.ChunkedArray],
    form: SubmissionFormat,
    left_out: int,
    problems: Problems,
) -> np.ndarray | None:
    """Return each row's position in the format, (N,), −1 for unknown ids; None: the format's order.

    Args:
        values: The columns beside the ids.
        left_out: The number of rows that are not in ``ids`` because their problem is reported.
    """
    if ids.equals(form.ids):
        return None
    at = pc.index_in(ids, value_set=form.ids.combine_chunks()).fill_null(-1)
    rows = np.array(at.to_numpy(), dtype=np.int64)
    counts = np.bincount(rows[rows >= 0], minlength=len(form))
    if (counts > 1).any():
        _check_duplicates(ids, values, rows, counts, problems)
    missing, extra = np.flatnonzero(counts == 0), np.flatnonzero(rows < 0)
    if len(missing) and len(extra):
        _find_rule(ids, form, rows, missing, extra, problems)
        missing = np.setdiff1d(missing, rows, assume_unique=False)
        extra = np.flatnonzero(rows < 0)
    if len(missing) > left_out:
        problems.add("missing_ids", len(missing), _named(form.ids[int(missing[0])]))
    if len(extra):
        problems.add("extra_ids", len(extra), _named(ids[int(extra[0])]))
    return rows


def _named(sample_id: pa.StringScalar) -> str:
    return printable(sample_id.as_py()) or "a blank id"


def _check_duplicates(
    ids: pa.ChunkedArray,
    values: Sequence[pa.ChunkedArray],
    rows: np.ndarray,
    counts: np.ndarray,
    problems: Problems,
) -> None:
    """Add ids with several rows, and whether the rows are equal."""
    order = np.argsort(rows, kind="stable")
    again = np.flatnonzero((np.diff(rows[order]) == 0) & (rows[order][1:] >= 0))
    earlier, later = pa.array(order[again]), pa.array(order[again + 1])
    same = all(column.take(earlier).equals(column.take(later)) for column in values)
    row = int(order[again + 1].min())
    detail = ", with the same values" if same else ", with different values"
    first = f"{_named(ids[row])} again in row {row + 2}"
    problems.add("duplicate_ids", int((counts > 1).sum()), first, detail)


def _find_rule(
    ids: pa.ChunkedArray,
    form: SubmissionFormat,
    rows: np.ndarray,
    missing: np.ndarray,
    extra: np.ndarray,
    problems: Problems,
) -> None:
    """Add the one or two rules by which ids differ, and write the matched positions into ``rows``."""
    absent = form.ids.take(pa.array(missing)).to_pylist()
    there = ids.take(pa.array(extra)).to_pylist()
    pairs = combinations(RULES, 2) if len(absent) + len(there) <= MANY else ()
    for codes in (*((code,) for code in RULES), *pairs):
        plain = _apply(codes, absent)
        known = {name: number for number, name in enumerate(plain)}
        if len(known) < len(absent) or not any(n in known for n in _apply(codes, there[:TRIED])):
            continue  # the rule makes two ids of the format equal, or matches nothing
        found = np.array([known.get(name, -1) for name in _apply(codes, there)])
        hits = np.flatnonzero(found >= 0)
        if len(np.unique(found[hits])) < MATCHED * min(len(absent), len(there)):
            continue
        example = f"'{printable(there[hits[0]])}' for '{printable(absent[found[hits[0]]])}'"
        for code in codes:
            problems.add(code, len(hits), example)
        rows[extra[hits]] = missing[found[hits]]
        return


def _apply(codes: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return ids after removing the differences that the codes describe."""
    for code in codes:
        names = list(map(RULES[code], names))
    return list(names)


def _without_padding(name: str) -> str:
    """Return an id as if it had been read as a number: 7 for ``007``, ``7.0`` and ``7e0``."""
    text = name.strip()
    if not text.isdecimal() and is_number(text):
        value = float(text)
        if value.is_integer() and abs(value) < 10**LONGEST_NUMBER:
            return str(int(value))
    return PADDING.sub("", text)


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if len(suffix) > 1 and not suffix[1:].isdecimal() else name


RULES: dict[str, Callable[[str], str]] = {
    "ids_space": lambda name: "".join(name.split()),
    "ids_unicode": lambda name: unicodedata.normalize("NFC", name),
    "ids_case": str.casefold,
    "ids_path": lambda name: name.replace("\\", "/").rpartition("/")[2],
    "ids_extension": _stem,
    "ids_padding": _without_padding,
}
