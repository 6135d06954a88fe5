"""Parse CSV bytes into columns of text, fast: cells are not converted, and ragged rows are reported."""

from __future__ import annotations

import csv
import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

BLOCK = 1 << 22  # bytes per parsed block
OTHER_WIDTH = " columns, got "  # in the error of Arrow for a ragged row
PIECE = 1 << 18  # bytes that fit into the processor's cache
DELIMITERS = (",", "\t", ";")
TAB_SUFFIX = ".tsv"
BOM = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
BINARY_TYPES = {
    b"\x1f\x8b": "gzip-compressed",
    b"PK\x03\x04": "a zip archive, or a spreadsheet of Excel",
    b"PAR1": "a Parquet file",
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet of Excel",
    b"ARROW1": "a Feather file",
    b"%PDF": "a PDF",
}


@dataclass(frozen=True)
class RaggedRows:
    """Rows that do not have as many cells as the header.

    Attributes:
        count: The number of such rows.
        line: The number of the first one; the header is row 1.
        cells: The number of its cells.
        text: Its text, cut short.
    """

    count: int
    line: int
    cells: int
    text: str


@dataclass(frozen=True)
class ParsedCsv:
    """The cells of a CSV, as text.

    Attributes:
        header: The cells of the first row.
        columns: One column of text (N,) per header cell, without ragged rows.
        ragged: The rows that are left out; None if there are none.
    """

    header: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...] = field(repr=False)
    ragged: RaggedRows | None = None

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def binary_type(data: pa.Buffer) -> str | None:
    """Return the type of a binary file, from its first bytes; None if it may be text."""
    start = data[:16].to_pybytes()
    return next((what for magic, what in BINARY_TYPES.items() if start.startswith(magic)), None)


def find_delimiter(line: str, suffix: str) -> str:
    """Return the delimiter of a line: comma, tab or semicolon, in this order; in a ``.tsv`` tab first.

    Args:
        suffix: The suffix of the file name.
    """
    usual = DELIMITERS[1] if suffix.lower() == TAB_SUFFIX else DELIMITERS[0]
    return next((d for d in (usual, *DELIMITERS) if d in line), usual)


@contextmanager
def open_bytes(path: Path) -> Iterator[pa.Buffer]:
    """Yield the bytes of a file, memory-mapped."""
    if path.stat().st_size == 0:
        yield pa.py_buffer(b"")
        return
    with path.open("rb") as file:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # at once, not page by page
        yield pa.py_buffer(mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ))


def count_quotes(data: pa.Buffer) -> int:
    """Return the number of quotation marks; if it is odd, one is not closed."""
    return count_bytes(data, b'"')


def count_bytes(data: pa.Buffer, wanted: bytes) -> int:
    """Return how often a byte occurs."""
    cells = np.frombuffer(data, dtype=np.uint8)
    pieces = (cells[at : at + PIECE] for at in range(0, len(cells), PIECE))
    return sum(int(np.count_nonzero(piece == wanted[0])) for piece in pieces)


def first_row(data: pa.Buffer, delimiter: str) -> list[str]:
    """Return the cells of the first row that is not empty."""
    text = io.TextIOWrapper(pa.BufferReader(data), encoding="utf-8", errors="replace", newline="")
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(data)))
    try:
        return next((row for row in csv.reader(text, delimiter=delimiter) if row), [])
    finally:
        csv.field_size_limit(limit)


def parse_csv(data: pa.Buffer, delimiter: str, quoted: bool | None = None) -> ParsedCsv:
    """Return the cells of CSV bytes: UTF-8 without a byte-order mark, all quotation marks closed.

    Empty lines are skipped, unless a row has only one cell.

    Args:
        quoted: Whether the bytes contain quotation marks; None: look.

    Raises:
        pyarrow.ArrowInvalid: The bytes are not UTF-8.
    """
    header = first_row(data, delimiter)
    if not header:
        return ParsedCsv((), ())
    quoted = count_quotes(data) > 0 if quoted is None else quoted
    ragged = None
    try:
        table = _read(data, delimiter, len(header), quoted)
    except pa.ArrowInvalid as error:
        if OTHER_WIDTH not in str(error):
            raise
        table, ragged = _without_ragged(data, delimiter, len(header), quoted)
    columns = tuple(column.slice(1) for column in table.columns)
    return ParsedCsv(tuple(header), columns, ragged)


def _without_ragged(data: pa.Buffer, delimiter: str, width: int, quoted: bool) -> tuple[pa.Table, RaggedRows]:
    """Return the table without ragged rows, and those rows.

    In one thread: parallel parsing does not number rows, and an error in it may wait for ever for a thread
    that calls Python.
    """
    odd: list[pyarrow.csv.InvalidRow] = []
    table = _read(data, delimiter, width, quoted, odd)
    first = odd[0]
    return table, RaggedRows(len(odd), first.number, first.actual_columns, first.text[:80])


def _read(
    data: pa.Buffer,
    delimiter: str,
    width: int,
    quoted: bool,
    odd: list[pyarrow.csv.InvalidRow] | None = None,
) -> pa.Table:
    """Return the table of all rows, header included.

    A file with a cell larger than a block is parsed as one block.

    Args:
        odd: Receives the ragged rows, which are left out; None: they are an error.
    """
    try:
        return _read_blocks(data, delimiter, width, quoted, odd, BLOCK)
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise
        if odd is not None:
            odd.clear()
        return _read_blocks(data, delimiter, width, quoted, odd, len(data) + 1)


def _read_blocks(
    data: pa.Buffer,
    delimiter: str,
    width: int,
    quoted: bool,
    odd: list[pyarrow.csv.InvalidRow] | None,
    block: int,
) -> pa.Table:
    def skip(row: pyarrow.csv.InvalidRow) -> str:
        assert odd is not None  # else it is not called
        odd.append(row)
        return "skip"

    names = [f"f{position}" for position in range(width)]
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=odd is None, block_size=block),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=quoted,
            invalid_row_handler=None if odd is None else skip,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
