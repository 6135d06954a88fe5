"""Check the header, and match the columns of the file with those of the format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import first_few
from kit.registry import nearest
from kit.submission_check.numbers import is_number
from kit.submission_check.problem_codes import Problems, printable
from kit.submission_format.parse import ParsedCsv
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.spelling import INDEX_NAMES

MANY = 200  # columns, above which similar names are not searched


def columns_by_name(
    parsed: ParsedCsv, form: SubmissionFormat, problems: Problems
) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a file under the format's names; missing columns are left out."""
    header, columns = list(parsed.header), list(parsed.columns)
    if parsed.header == form.header:
        return dict(zip(header, columns, strict=True))
    if _is_row(header, form):
        problems.add("no_header", 1, printable(form.dialect.delimiter.join(header)))
        return {
            name: pa.chunked_array([pa.array([cell], pa.string()), *column.chunks])
            for name, cell, column in zip(form.header, header, columns, strict=True)
        }
    extra_first = len(header) == len(form.header) + 1 and tuple(header[1:]) == form.header
    if extra_first and (header[0].strip().casefold() in INDEX_NAMES or _is_index(columns[0])):
        problems.add("index_column", 1, printable(header[0]) or "a column without a name")
        return dict(zip(form.header, columns[1:], strict=True))
    return _by_similar_names(header, columns, form, problems)


def _is_row(header: Sequence[str], form: SubmissionFormat) -> bool:
    """Return whether the first line is a row: it has no column name, but an id or only values."""
    if len(header) != len(form.header) or set(header) & set(form.header):
        return False
    if pc.index(form.ids, header[form.id_position]).as_py() >= 0:
        return True
    values = [cell for position, cell in enumerate(header) if position != form.id_position]
    if form.kind.numeric:
        return bool(values) and all(map(is_number, values))
    return bool(values) and set(values) <= set(form.kind.vocabulary(form))


def _is_index(column: pa.ChunkedArray) -> bool:
    """Return whether a column counts rows from 0 or 1."""
    cells = column[:100].to_pylist()
    return any(cells == [str(number + start) for number in range(len(cells))] for start in (0, 1))


def _by_similar_names(
    header: list[str], columns: list[pa.ChunkedArray], form: SubmissionFormat, problems: Problems
) -> dict[str, pa.ChunkedArray]:
    duplicates = [name for name, count in Counter(header).items() if count > 1]
    if duplicates:
        example = printable(first_few(duplicates)) or "columns without a name"
        problems.add("duplicate_columns", len(duplicates), example)
    found: dict[str, pa.ChunkedArray] = {}
    for name, column in zip(header, columns, strict=True):
        found.setdefault(name, column)
    wanted = set(form.header)
    missing = [name for name in form.header if name not in found]
    unknown = [name for name in found if name not in wanted]
    renamed = _match_names(missing, unknown, len(header) == len(form.header) and not duplicates)
    if renamed:
        name, there = next(iter(renamed.items()))
        problems.add("header_name", len(renamed), f"'{printable(there)}' for '{printable(name)}'")
    _check_number(missing, unknown, renamed, problems)
    by_name = {n: found[renamed.get(n, n)] for n in form.header if n in found or n in renamed}
    back = {there: name for name, there in renamed.items()}
    order = [name for name in (back.get(each, each) for each in header) if name in by_name]
    if not duplicates and order != list(by_name):
        first = next(a for a, b in zip(order, by_name, strict=True) if a != b)
        problems.add("header_order", len(order), printable(first))
    return by_name


def _check_number(
    missing: list[str], unknown: list[str], renamed: dict[str, str], problems: Problems
) -> None:
    """Add missing and extra columns, other than renamed ones."""
    used = set(renamed.values())
    lost = [name for name in missing if name not in renamed]
    extra = [name for name in unknown if name not in used]
    if lost:
        problems.add("missing_columns", len(lost), printable(lost[0]))
    if extra:
        problems.add("extra_columns", len(extra), printable(extra[0]) or "a column without a name")


def _match_names(missing: list[str], unknown: list[str], same_number: bool) -> dict[str, str]:
    """Return missing name -> the name in the file that probably stands for it.

    Names match if they differ in case or white space only, if they are similar, or if they are the only ones
    left in a file with the right number of columns.
    """
    matched: dict[str, str] = {}
    plain = {name.strip().casefold(): name for name in unknown}
    for name in missing:
        there = plain.pop(name.strip().casefold(), None)
        if there is not None:
            matched[name] = there
    rest = dict.fromkeys(plain.values())
    for name in missing if len(missing) + len(unknown) <= MANY else []:
        close = nearest(name, rest, limit=1) if name not in matched else []
        if close:
            matched[name] = close[0]
            del rest[close[0]]
    left = [name for name in missing if name not in matched]
    if same_number and len(left) == len(rest) == 1:
        matched[left[0]] = next(iter(rest))
    return matched
