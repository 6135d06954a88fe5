"""CSV bytes -> columns of text, at the speed of the disk: nothing is converted, nothing is dropped unsaid."""

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

BLOCK = 1 << 22  # bytes that are parsed at once
PIECE = 1 << 18
DELIMITERS = (",", "\t", ";")
TAB_SUFFIX = ".tsv"
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")
NO_TEXT = {
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
class Ragged:
    """Rows whose number of cells is not that of the header.

    Attributes:
        count: How many there are.
        line: The row of the first of them, the header being row 1.
        cells: How many cells it has.
        text: The row as it stands, cut short.
    """

    count: int
    line: int
    cells: int
    text: str


@dataclass(frozen=True)
class Parsed:
    """The cells of a CSV, as text.

    Attributes:
        header: The cells of the first row.
        columns: The other rows that have as many cells: a column of text (N,) for each.
        ragged: The rows that do not.
    """

    header: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...] = field(repr=False)
    ragged: Ragged | None = None

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def no_text(data: pa.Buffer) -> str | None:
    """Return what bytes are that are no text, told by how they begin; None if they may be text."""
    start = data[:16].to_pybytes()
    return next((what for magic, what in NO_TEXT.items() if start.startswith(magic)), None)


def delimiter_of(line: str, suffix: str) -> str:
    """Return what stands between the cells of a line: commas, or else tabs or semicolons.

    In a ``.tsv`` tabs come first.

    Args:
        suffix: The ending of the file's name.
    """
    usual = DELIMITERS[1] if suffix.lower() == TAB_SUFFIX else DELIMITERS[0]
    return next((d for d in (usual, *DELIMITERS) if d in line), usual)


@contextmanager
def opened(path: Path) -> Iterator[pa.Buffer]:
    """Yield the bytes of a file without reading them into memory."""
    if path.stat().st_size == 0:
        yield pa.py_buffer(b"")
        return
    with path.open("rb") as file:
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # at once, not page by page
        yield pa.py_buffer(mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ))


def count_quotes(data: pa.Buffer) -> int:
    """Return how many quotation marks there are: an odd number leaves one open."""
    return count_bytes(data, b'"')


def count_bytes(data: pa.Buffer, wanted: bytes) -> int:
    """Return how often a byte occurs, looked at in pieces that stay in the processor's cache."""
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


def parse(data: pa.Buffer, delimiter: str, quoted: bool | None = None) -> Parsed:
    """Return the cells of CSV bytes without a byte-order mark, which are UTF-8 and whose quotes close.

    Empty lines are passed over, unless a row has one cell.

    Args:
        quoted: Whether there are quotation marks; None: look.

    Raises:
        pyarrow.ArrowInvalid: The bytes are not UTF-8.
    """
    header = first_row(data, delimiter)
    if not header:
        return Parsed((), ())
    odd: list[pyarrow.csv.InvalidRow] = []
    quoted = count_quotes(data) > 0 if quoted is None else quoted
    table = _read(data, delimiter, len(header), quoted, odd)
    ragged = _ragged(data, delimiter, len(header), quoted) if odd else None
    columns = tuple(column.slice(1) for column in table.columns)
    return Parsed(tuple(header), columns, ragged)


def _read(
    data: pa.Buffer,
    delimiter: str,
    width: int,
    quoted: bool,
    odd: list[pyarrow.csv.InvalidRow],
    threads: bool = True,
) -> pa.Table:
    """Return the table of all rows, the header among them; rows that are odd are put aside.

    Rows are read in blocks; one with a cell larger than a block takes the whole file as one.
    """
    try:
        return _read_blocks(data, delimiter, width, quoted, odd, threads, BLOCK)
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise
        odd.clear()
        return _read_blocks(data, delimiter, width, quoted, odd, threads, len(data) + 1)


def _read_blocks(
    data: pa.Buffer,
    delimiter: str,
    width: int,
    quoted: bool,
    odd: list[pyarrow.csv.InvalidRow],
    threads: bool,
    block: int,
) -> pa.Table:
    def pass_over(row: pyarrow.csv.InvalidRow) -> str:
        odd.append(row)
        return "skip"

    names = [f"f{position}" for position in range(width)]
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=threads, block_size=block),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=quoted, invalid_row_handler=pass_over
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _ragged(data: pa.Buffer, delimiter: str, width: int, quoted: bool) -> Ragged:
    """Return the odd rows, read once more in order: threads do not know which row they are at."""
    odd: list[pyarrow.csv.InvalidRow] = []
    _read(data, delimiter, width, quoted, odd, threads=False)
    first = odd[0]
    return Ragged(len(odd), first.number, first.actual_columns, first.text[:80])
