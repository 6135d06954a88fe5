"""Read a sample submission: its cells as text, and its CSV dialect."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError, counted, first_few
from kit.submission_format.parse import (
    BOM,
    UTF16_MARKS,
    ParsedCsv,
    binary_type,
    count_quotes,
    find_delimiter,
    open_bytes,
    parse_csv,
)
from kit.submission_format.spec import CsvDialect
from kit.submission_format.spelling import are_row_numbers, is_index_name

FIRST_BYTES = 1 << 16  # bytes that show how a file is written
RULE = "A sample is a CSV or TSV file, as downloaded"


@dataclass(frozen=True)
class Sample:
    """A sample file.

    Attributes:
        header: The names of all columns.
        columns: One column of text (N,) per name.
        dialect: How the file is written.
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]
    dialect: CsvDialect

    def cells(self, name: str) -> pa.ChunkedArray:
        """Return the cells of a column."""
        return self.columns[self.header.index(name)]

    def value_names(self, id_column: str) -> tuple[str, ...]:
        """Return the columns that say something of an id: all but the id and row numbers."""
        row_numbers = self.row_numbers(id_column)
        return tuple(name for name in self.header if name != id_column and name not in row_numbers)

    def row_numbers(self, id_column: str) -> dict[str, pa.ChunkedArray]:
        """Return the columns other than the id that count the rows, such as a column without a name."""
        others = (name for name in self.header if name != id_column and is_index_name(name))
        return {n: self.cells(n) for n in others if are_row_numbers(self.cells(n).to_pylist())}

    def beside(self, id_column: str) -> tuple[pa.ChunkedArray, ...]:
        """Return the columns that say something of an id."""
        return tuple(self.cells(name) for name in self.value_names(id_column))


def read_sample(path: Path) -> Sample:
    """Return a sample file.

    Raises:
        KitError: The file is missing, not text, not a table, or has no row.
    """
    if path.is_dir():
        raise KitError(path, "is a folder", RULE, "Name the file in it.", code="is_folder")
    if not path.is_file():
        raise KitError(path, "there is no such file", RULE, code="file_missing")
    with open_bytes(path) as data:
        if (what := binary_type(data)) is not None:
            raise KitError(path, f"is {what}", RULE, "Unpack it, or save it as CSV.", code="not_text")
        bom = data[: len(BOM)].to_pybytes() == BOM
        return _read(path, data[len(BOM) :] if bom else data, bom)


def _read(path: Path, data: pa.Buffer, bom: bool) -> Sample:
    start = data[:FIRST_BYTES].to_pybytes()
    if start[:2] in UTF16_MARKS:
        raise KitError(path, "is UTF-16", "A sample is UTF-8 text", "Save it as UTF-8.", code="not_utf8")
    quotes = count_quotes(data)
    if quotes % 2:
        raise KitError(path, "has a quotation mark that does not close", RULE, code="unclosed_quote")
    text = start.decode(errors="replace")
    delimiter = find_delimiter(text.partition("\n")[0], path.suffix)
    try:
        parsed = parse_csv(data, delimiter, quotes > 0)
    except pa.ArrowInvalid as error:
        raise KitError(path, "is not UTF-8", "A sample is UTF-8 text", code="not_utf8") from error
    _check_table(path, parsed)
    return Sample(path, parsed.header, parsed.columns, _dialect(text, delimiter, parsed, bom))


def _check_table(path: Path, parsed: ParsedCsv) -> None:
    twice = sorted(name for name, count in Counter(parsed.header).items() if count > 1)
    if twice:
        raise KitError(
            path,
            f"has columns with the same name ({first_few(twice)})",
            "Column names are unique",
            code="duplicate_columns",
        )
    if parsed.ragged is not None:
        odd = parsed.ragged
        raise KitError(
            path,
            f"{counted(odd.count, 'row does', 'rows do')} not have the header's "
            f"{counted(len(parsed.header), 'cell')} "
            f"(first: row {odd.line} with {odd.cells})",
            RULE,
            code="ragged_rows",
        )
    if len(parsed.header) < 2 or len(parsed) == 0:
        raise KitError(
            path,
            "has no id column, no value column or no row",
            "A sample shows the whole format",
            code="sample_empty",
        )


def _dialect(text: str, delimiter: str, parsed: ParsedCsv, bom: bool) -> CsvDialect:
    """Return how a file is written.

    Args:
        text: The beginning of the file.
    """
    header, *rows = _raw_cells(text, delimiter, len(parsed.header))
    whole = [row for row in rows if len(row) == len(parsed.header)]
    return CsvDialect(
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


def _raw_cells(text: str, delimiter: str, width: int) -> list[list[str]]:
    """Return the cells of the first rows, quotation marks included."""
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
    """Return whether a column of numbers has decimals after a comma, as in ``0,5``."""
    return any(
        pc.all(pc.match_substring_regex(column, r"^-?\d+(,\d+)?$")).as_py()
        and pc.any(pc.match_substring(column, ",")).as_py()
        for column in columns
    )
