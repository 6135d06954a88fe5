"""A sample file: its cells as text, and how it is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError, first_few
from kit.submission_format.parse import (
    BOM,
    WIDE,
    Parsed,
    count_quotes,
    delimiter_of,
    no_text,
    opened,
    parse,
)
from kit.submission_format.spec import Look

LOOKED_AT = 1 << 16  # bytes at the beginning, from which is seen how a file is written
TEXT = "A sample is a CSV or TSV as the organisers gave it"


@dataclass(frozen=True)
class Sample:
    """A sample file.

    Attributes:
        header: The names of all columns.
        columns: The cells of each, as text (N,).
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]
    look: Look

    def cells(self, name: str) -> pa.ChunkedArray:
        """Return the cells of a column."""
        return self.columns[self.header.index(name)]

    def beside(self, id_column: str) -> tuple[pa.ChunkedArray, ...]:
        """Return the columns beside the ids."""
        return tuple(self.cells(name) for name in self.header if name != id_column)


def read_sample(path: Path) -> Sample:
    """Return a sample file.

    Raises:
        KitError: It is missing, a folder, compressed, no text, no table, or has no row.
    """
    if path.is_dir():
        raise KitError(path, "is a folder", TEXT, "Name the file in it.")
    if not path.is_file():
        raise KitError(path, "there is no such file", TEXT)
    with opened(path) as data:
        if (what := no_text(data)) is not None:
            raise KitError(path, f"is {what}", TEXT, "Unpack it, or save it as CSV.")
        bom = data[: len(BOM)].to_pybytes() == BOM
        return _read(path, data[len(BOM) :] if bom else data, bom)


def _read(path: Path, data: pa.Buffer, bom: bool) -> Sample:
    start = data[:LOOKED_AT].to_pybytes()
    if start[:2] in WIDE:
        raise KitError(path, "is UTF-16", "A sample is UTF-8 text", "Save it as UTF-8.")
    quotes = count_quotes(data)
    if quotes % 2:
        raise KitError(path, "has a quotation mark that does not close", TEXT)
    text = start.decode(errors="replace")
    delimiter = delimiter_of(text.partition("\n")[0], path.suffix)
    try:
        parsed = parse(data, delimiter, quotes > 0)
    except pa.ArrowInvalid as error:
        raise KitError(path, f"cannot be read: {error}", "A sample is UTF-8 text") from error
    _refuse_no_table(path, parsed)
    return Sample(path, parsed.header, parsed.columns, _look(text, delimiter, parsed, bom))


def _refuse_no_table(path: Path, parsed: Parsed) -> None:
    twice = sorted(name for name, count in Counter(parsed.header).items() if count > 1)
    if twice:
        raise KitError(path, f"has columns twice ({first_few(twice)})", "Every column has a name")
    if parsed.ragged is not None:
        odd = parsed.ragged
        raise KitError(
            path,
            f"{odd.count} rows have another number of cells than the header's {len(parsed.header)} "
            f"(first: row {odd.line} with {odd.cells})",
            TEXT,
        )
    if len(parsed.header) < 2 or len(parsed) == 0:
        raise KitError(path, "has no id column, no value column or no row", "A sample shows the whole form")


def _look(text: str, delimiter: str, parsed: Parsed, bom: bool) -> Look:
    header, *rows = _marked_cells(text, delimiter, len(parsed.header))
    whole = [row for row in rows if len(row) == len(parsed.header)]
    return Look(
        delimiter=delimiter,
        newline="\r\n" if text.partition("\n")[0].endswith("\r") else "\n",
        quoted_header=all(cell.startswith('"') for cell in header),
        quoted=frozenset(
            position
            for position in range(len(parsed.header))
            if whole and all(row[position].startswith('"') for row in whole)
        ),
        decimal_mark="," if delimiter != "," and _has_decimal_commas(parsed.columns) else ".",
        bom=bom,
    )


def _marked_cells(text: str, delimiter: str, width: int) -> list[list[str]]:
    """Return the cells of the first rows with their quotation marks."""
    d = re.escape(delimiter)
    rows: list[list[str]] = [[]]
    for cell, end in re.findall(rf'("(?:[^"]|"")*"|[^{d}\r\n]*)({d}|\r?\n|$)', text):
        rows[-1].append(cell)
        if end != delimiter:
            rows.append([])
        if len(rows[-1]) > width:
            break
    return [row for row in rows[:-1] if row != [""]] or [[""]]


def _has_decimal_commas(columns: Sequence[pa.ChunkedArray]) -> bool:
    """Tell whether numbers are written ``0,5``: those of a column have decimals after a comma."""
    return any(
        pc.all(pc.match_substring_regex(column, r"^-?\d+(,\d+)?$")).as_py()
        and pc.any(pc.match_substring(column, ",")).as_py()
        for column in columns
    )
