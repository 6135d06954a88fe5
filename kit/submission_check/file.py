"""Read the cells of a submission file: encoding, delimiter, quotation marks."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError, counted
from kit.storage.files import check_regular_file
from kit.submission_check.numbers import is_number
from kit.submission_check.problem_codes import Problems, printable
from kit.submission_format.parse import (
    BOM,
    ParsedCsv,
    binary_type,
    count_bytes,
    count_quotes,
    first_row,
    open_bytes,
    parse_csv,
)
from kit.submission_format.spec import SubmissionFormat

DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MEGABYTE = 1e6
SIZE_FACTOR, SIZE_SLACK = 10, 10_000_000  # a larger file cannot be a submission, and takes minutes to read
WIDE_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MAX_FIXES = 20  # lines with an unclosed quotation mark that are fixed
START = 200  # bytes that show whether text has two bytes per character


@dataclass(frozen=True)
class ReadCells:
    """The cells of a file, and the number of rows left out because their problem is reported."""

    parsed: ParsedCsv
    left_out: int


def read_cells(
    path: Path, form: SubmissionFormat, problems: Problems, max_bytes: int | None
) -> ReadCells | None:
    """Return the cells of a file, fixed where possible; None if it cannot be read.

    Raises:
        KitError: The file is missing, or is a folder.
    """
    check_regular_file(path, "A submission is one CSV file")
    if not path.is_file():
        raise KitError(path, "does not exist", next="Run `kit submit` first.", code="file_missing")
    size = path.stat().st_size
    if max_bytes is not None and size > max_bytes:
        problems.add("too_large", 1, f"{size / MEGABYTE:.1f} MB", f": {max_bytes / MEGABYTE:g} MB")
    likely = form.most_bytes
    if size > SIZE_FACTOR * likely + SIZE_SLACK:
        limit = f": about {likely / MEGABYTE:.1f} MB for {counted(form.num_rows, 'row')}; it is not read"
        problems.add("too_large", 1, f"{size / MEGABYTE:.1f} MB", limit)
        return None
    with open_bytes(path) as data:
        if (what := binary_type(data)) is not None:
            problems.add("not_text", 1, what, f": it is {what}")
            return None
        text = _as_utf8(data, form, problems)
        if not any(cell.strip() for cell in first_row(text, form.dialect.delimiter)):
            problems.add("empty", 1, "line 1")
            return None
        return _read(text, form, problems)


def _as_utf8(data: pa.Buffer, form: SubmissionFormat, problems: Problems) -> pa.Buffer:
    """Return the text of bytes, without a byte-order mark."""
    if (name := _wide(data[:START].to_pybytes())) is not None:
        problems.add("encoding", 1, "byte 0", f": it looks like {name.upper()}")
        return pa.py_buffer(data.to_pybytes().decode(name, errors="replace").lstrip("\ufeff").encode())
    if data[: len(BOM)].to_pybytes() == BOM:
        data = data[len(BOM) :]
        if not form.dialect.bom:
            problems.add("bom", 1, "byte 0")
    if number := count_bytes(data, b"\0"):
        problems.add("nul_bytes", number, f"byte {data.to_pybytes().index(0)}")
    if _is_utf8(data):
        return data
    raw = data.to_pybytes()
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        problems.add("encoding", 1, f"byte {wrong.start}", "; it looks like Latin-1 or Windows-1252")
    return pa.py_buffer(raw.decode("latin-1").encode())


def _is_utf8(data: pa.Buffer) -> bool:
    """Return whether bytes are UTF-8; Arrow validates them as one cell."""
    ends = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, data]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _wide(start: bytes) -> str | None:
    """Return the encoding of text with several bytes per character, from its BOM or its NUL bytes."""
    for mark, name in WIDE_MARKS.items():
        if start.startswith(mark):
            return name
    ends = {"utf-16-le": start[1::2], "utf-16-be": start[::2]}
    return next((name for name, half in ends.items() if len(half) > 1 and not any(half)), None)


def _read(data: pa.Buffer, form: SubmissionFormat, problems: Problems) -> ReadCells | None:
    """Return the cells of text; problems that can be fixed are reported and fixed."""
    quotes = count_quotes(data)
    if quotes % 2:
        data = _without_open_quotes(data, form.dialect.delimiter, problems)
    delimiter = _delimiter(data, form)
    if delimiter != form.dialect.delimiter:
        ours, theirs = (DELIMITER_NAMES.get(d, repr(d)) for d in (delimiter, form.dialect.delimiter))
        header = delimiter.join(first_row(data, delimiter))
        problems.add("delimiter", 1, printable(header), f": by {ours}, not {theirs}")
    parsed = _parsed(data, delimiter, quotes > 0, problems)
    if quotes and parsed is not None and len(parsed) < form.num_rows:
        data = _without_open_quotes(
            data, delimiter, problems
        )  # two unclosed quotation marks enclose the rows between them
        parsed = _parsed(data, delimiter, True, problems)
    if parsed is None or parsed.ragged is None:
        return None if parsed is None else ReadCells(parsed, 0)
    if _has_split_numbers(parsed, delimiter, form):
        return _join_numbers(data, parsed, delimiter, form, problems)
    odd = parsed.ragged
    problems.add(
        "ragged", odd.count, f"row {odd.line}: {counted(odd.cells, 'cell')}", f"'s {len(parsed.header)}"
    )
    return ReadCells(parsed, odd.count)


def _parsed(data: pa.Buffer, delimiter: str, quoted: bool, problems: Problems) -> ParsedCsv | None:
    """Return the cells of text; None if it cannot be parsed."""
    try:
        return parse_csv(data, delimiter, quoted)
    except pa.ArrowInvalid as error:
        problems.add("not_text", 1, printable(error), f": {printable(error)}")
        return None


def _delimiter(data: pa.Buffer, form: SubmissionFormat) -> str:
    """Return the format's delimiter, unless the first line has only another one."""
    own = form.dialect.delimiter
    if len(form.header) == 1 or len(first_row(data, own)) > 1:
        return own
    widths = {other: len(first_row(data, other)) for other in DELIMITER_NAMES}
    best = min(widths, key=lambda d: (abs(widths[d] - len(form.header)), d != own))
    return best if widths[best] > 1 else own


def _without_open_quotes(data: pa.Buffer, delimiter: str, problems: Problems) -> pa.Buffer:
    """Return text without the quotation marks of lines with an unclosed one; report the lines."""
    for _ in range(MAX_FIXES):
        line = _open_quote(data, delimiter)
        if line is None:
            break
        problems.add("unclosed_quote", 1, f"line {line}")
        data = _without_quotes(data, line)
    return data


def _open_quote(data: pa.Buffer, delimiter: str) -> int | None:
    """Return the line of the first cell with an unclosed quotation mark; None if all are closed."""
    text = io.TextIOWrapper(pa.BufferReader(data), encoding="utf-8", errors="replace", newline="")
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(data)))
    rows, begins = csv.reader(text, delimiter=delimiter, strict=True), 1
    try:
        for _ in rows:
            begins = rows.line_num + 1
    except csv.Error:
        return begins
    finally:
        csv.field_size_limit(limit)
    return None


def _without_quotes(data: pa.Buffer, line: int) -> pa.Buffer:
    """Return text without the quotation marks of one line."""
    lines = data.to_pybytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b'"', b"")
    return pa.py_buffer(b"".join(lines))


def _has_split_numbers(parsed: ParsedCsv, delimiter: str, form: SubmissionFormat) -> bool:
    """Return whether decimal commas split numbers: most rows have two cells per value."""
    odd, values = parsed.ragged, len(parsed.header) - 1
    if odd is None or delimiter != "," or odd.cells != 2 * values + 1 or odd.count < len(parsed):
        return False
    cells = odd.text.rstrip("\r\n").split(delimiter)
    at = form.id_position
    return all(is_number(cell) for cell in (*cells[:at], *cells[at + 1 : len(cells) - 1]))


def _join_numbers(
    data: pa.Buffer, parsed: ParsedCsv, delimiter: str, form: SubmissionFormat, problems: Problems
) -> ReadCells:
    """Return the cells of text, after joining numbers that decimal commas split."""
    odd = parsed.ragged
    assert odd is not None  # checked by the caller
    problems.add("decimal_comma", odd.count, f"row {odd.line}: {printable(odd.text)}", ", which splits them")
    _, end, rows = data.to_pybytes().partition(b"\n")
    header = delimiter.join(f"c{number}" for number in range(odd.cells)).encode()
    wide = parse_csv(pa.py_buffer(header + end + rows), delimiter)
    columns, parts = [], iter(wide.columns)
    for position in range(len(parsed.header)):
        whole = next(parts)
        if position != form.id_position:
            whole = pc.binary_join_element_wise(whole, next(parts), ".")
        columns.append(whole)
    left_out = wide.ragged.count if wide.ragged is not None else 0
    return ReadCells(replace(parsed, columns=tuple(columns), ragged=None), left_out)
