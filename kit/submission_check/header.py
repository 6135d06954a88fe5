"""The first line: what is wrong with it, and which column of the file is which of the form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import first_few
from kit.registry import nearest
from kit.submission_check.numbers import is_number
from kit.submission_check.problem_codes import Problems, shown
from kit.submission_format.parse import Parsed
from kit.submission_format.spec import SubmissionFormat

INDEX_NAMES = ("", "unnamed: 0", "index")
MANY = 200  # columns, above which names are not compared for likeness


def columns_by_name(parsed: Parsed, form: SubmissionFormat, problems: Problems) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a file under the form's names, those that are there."""
    header, columns = list(parsed.header), list(parsed.columns)
    if parsed.header == form.header:
        return dict(zip(header, columns, strict=True))
    if _is_row(header, form):
        problems.add("no_header", 1, shown(form.look.delimiter.join(header)))
        return {
            name: pa.chunked_array([pa.array([cell], pa.string()), *column.chunks])
            for name, cell, column in zip(form.header, header, columns, strict=True)
        }
    in_front = len(header) == len(form.header) + 1 and tuple(header[1:]) == form.header
    if in_front and (header[0].strip().casefold() in INDEX_NAMES or _counts(columns[0])):
        problems.add("index_column", 1, shown(header[0]) or "a column without a name")
        return dict(zip(form.header, columns[1:], strict=True))
    return _by_likeness(header, columns, form, problems)


def _is_row(header: Sequence[str], form: SubmissionFormat) -> bool:
    """Tell whether a first line is a row: as many cells, none a name, and an id or values among them."""
    if len(header) != len(form.header) or set(header) & set(form.header):
        return False
    if pc.index(form.ids, header[form.id_position]).as_py() >= 0:
        return True
    values = [cell for position, cell in enumerate(header) if position != form.id_position]
    said = {*form.words} if form.kind == "flags" else {*form.written}
    return bool(values) and all(is_number(cell) if form.numeric else cell in said for cell in values)


def _counts(column: pa.ChunkedArray) -> bool:
    """Tell whether a column counts its rows from 0 or 1."""
    cells = column[:100].to_pylist()
    return any(cells == [str(number + start) for number in range(len(cells))] for start in (0, 1))


def _by_likeness(
    header: list[str], columns: list[pa.ChunkedArray], form: SubmissionFormat, problems: Problems
) -> dict[str, pa.ChunkedArray]:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        problems.add("duplicate_columns", len(twice), shown(first_few(twice)) or "columns without a name")
    found: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(header, columns, strict=True):
        found.setdefault(name, column)
    wanted = set(form.header)
    absent = [name for name in form.header if name not in found]
    foreign = [name for name in found if name not in wanted]
    meant = _meant(absent, foreign, len(header) == len(form.header) and not twice)
    if meant:
        asked, there = next(iter(meant.items()))
        problems.add("header_name", len(meant), f"'{shown(there)}' for '{shown(asked)}'")
    _tell_number(absent, foreign, meant, problems)
    by_name = {name: found[meant.get(name, name)] for name in form.header if name in found or name in meant}
    order = [name for name in _renamed(header, meant) if name in by_name]
    if not twice and order != list(by_name):
        first = next(a for a, b in zip(order, by_name, strict=True) if a != b)
        problems.add("header_order", len(order), shown(first))
    return by_name


def _tell_number(absent: list[str], foreign: list[str], meant: dict[str, str], problems: Problems) -> None:
    """Tell columns that are missing or too many, apart from those that are only called otherwise."""
    used = set(meant.values())
    lost = [name for name in absent if name not in meant]
    more = [name for name in foreign if name not in used]
    if lost:
        problems.add("missing_columns", len(lost), shown(lost[0]))
    if more:
        problems.add("extra_columns", len(more), shown(more[0]) or "a column without a name")


def _renamed(header: Sequence[str], meant: dict[str, str]) -> list[str]:
    """Return the file's names as the form calls them."""
    asked = {there: name for name, there in meant.items()}
    return [asked.get(name, name) for name in header]


def _meant(absent: list[str], foreign: list[str], as_many: bool) -> dict[str, str]:
    """Return for names that are not there which other name of the file is meant.

    Names that differ in case or white space are; so are names much alike; and the one name that is left of as
    many columns.
    """
    meant: dict[str, str] = {}
    plain = {name.strip().casefold(): name for name in foreign}
    for name in absent:
        there = plain.pop(name.strip().casefold(), None)
        if there is not None:
            meant[name] = there
    rest = dict.fromkeys(plain.values())
    for name in absent if len(absent) + len(foreign) <= MANY else []:
        close = nearest(name, rest, limit=1) if name not in meant else []
        if close:
            meant[name] = close[0]
            del rest[close[0]]
    left = [name for name in absent if name not in meant]
    if as_many and len(left) == len(rest) == 1:
        meant[left[0]] = next(iter(rest))
    return meant
