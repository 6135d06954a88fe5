"""Read tables as text, so that ``007`` never becomes 7."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.images.decode import is_image
from kit.competition.tables.json_tables import read_json, read_json_lines
from kit.errors import KitError, counted, first_few
from kit.submission_format.parse import find_delimiter

JOINT = "/"  # between columns that together are the path of an image
CELL_END = re.compile(r"[ \t]*[,\t][ \t]*|[ \t]+")


def read_table(path: Path) -> pd.DataFrame:
    """Return a table as text: nothing is parsed, and no cell is missing. A file of unknown suffix is CSV.

    Raises:
        KitError: The file is missing, empty, not UTF-8, or not a table.
    """
    if not path.is_file():
        raise KitError(path, "there is no such file", code="file_missing")
    try:
        return table_readers.get(path.suffix.lower(), read_csv)(path)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error


def read_csv(path: Path) -> pd.DataFrame:
    """Return a CSV or TSV as text; a byte-order mark is removed.

    The delimiter is inferred from the first line: commas (tabs in a ``.tsv``), or else tabs or semicolons.
    Spaces after delimiters are removed if the first line has them.

    Raises:
        KitError: The file is empty, has a column twice, or its rows differ in length.
    """
    header, delimiter, spaced = _first_line(path)
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        problem = f"has {len(twice)} repeated column names ({first_few(twice)})"
        raise KitError(path, problem, "Column names must be unique", code="duplicate_columns")
    try:
        table = pd.read_csv(
            path,
            sep=delimiter,
            dtype=str,
            na_filter=False,
            encoding="utf-8-sig",
            skipinitialspace=spaced,
        )
    except pd.errors.EmptyDataError as error:
        raise KitError(path, "is empty", "The first line names the columns", code="file_empty") from error
    except pd.errors.ParserError as error:
        rule = "Every row has as many cells as the header"
        raise KitError(path, _raggedness(path, delimiter, len(header)), rule, code="ragged_rows") from error
    if not isinstance(table.index, pd.RangeIndex):
        problem = "its rows have more cells than its header"
        raise KitError(path, problem, "Every column needs a name", code="ragged_rows")
    return table


def _raggedness(path: Path, delimiter: str, width: int) -> str:
    """Return what is wrong with the rows of a file that is no table: one is too long, or a quote is open."""
    with path.open(encoding="utf-8-sig", newline="") as file, suppress(csv.Error):
        rows = csv.reader(file, delimiter=delimiter)
        for row in rows:
            if len(row) > width:
                return f"line {rows.line_num} has {counted(len(row), 'cell')}, and the header {width}"
    return "has a quotation mark that does not close"


def _first_line(path: Path) -> tuple[list[str], str, bool]:
    """Return the column names, the delimiter, and whether spaces follow it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = file.readline()
    delimiter = find_delimiter(line, path.suffix)
    names = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    spaced = len(names) > 1 and all(name.startswith(" ") for name in names[1:])
    return [name.strip() if spaced else name for name in names], delimiter, spaced


def read_text_list(path: Path) -> pd.DataFrame:
    """Return a text file without header whose lines are ``path label``, as columns of these names.

    With several labels in a line the columns are ``path label_1 label_2 …``. A path may contain spaces: it
    ends with the suffix of an image, or else at the first space, tab or comma.

    Raises:
        KitError: A line has a single cell, or lines differ in the number of cells.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    rows = [_list_cells(line) for line in lines]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {1}:
        rule = "Each line of a text list is an image and its label"
        raise KitError(path, "is no list of images and labels", rule, code="not_a_table")
    labels = ["label"] if widths == {2} else [f"label_{n}" for n in range(1, len(rows[0]))]
    return pd.DataFrame(rows, columns=["path", *labels], dtype=str)


def _list_cells(line: str) -> list[str]:
    """Return the path and the labels of a line."""
    ends = list(CELL_END.finditer(line))
    end = next((match for match in ends if is_image(line[: match.start()])), ends[0] if ends else None)
    return [line] if end is None else [line[: end.start()], *CELL_END.split(line[end.end() :])]


def _not_utf8(path: Path, error: UnicodeDecodeError) -> KitError:
    with path.open("rb") as file:
        is_utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    looks = "; it looks like UTF-16" if is_utf16 else ""
    return KitError(
        path,
        f"is not UTF-8 (byte {error.start}{looks})",
        "Tables must be UTF-8 text",
        "Save it as UTF-8.",
        code="not_utf8",
    )


# Suffix -> reader; a table is read by its suffix.
table_readers: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".txt": read_text_list,
}
TABLE_SUFFIXES = frozenset(table_readers) - {".txt"}  # a text file is a table only if its lines name images


def column(table: pd.DataFrame, name: str, path: Path, key: str, blank: str = "") -> pd.Series:
    """Return one column of a table; ``patient/file`` is two columns, joined by a slash.

    Args:
        key: The config key that names it, for messages.
        blank: ``"allowed"``, or else the next step for the error about blank cells.

    Raises:
        KitError: There is no such column, or cells are blank and that is not allowed.
    """
    if name not in table and (joined := joined_columns(table, name)) is not None:
        return joined
    if name not in table:
        known = ", ".join(map(str, table.columns))
        raise KitError(
            path,
            f"has no column '{name}' ({key})",
            f"Its columns: {known}",
            f"Set {key}.",
            code="column_missing",
        )
    cells = table[name]
    empty = (cells.str.strip() == "").to_numpy(dtype=bool)
    if empty.any() and blank != "allowed":
        lines = first_few(line_numbers(empty))
        raise KitError(
            path,
            f"column '{name}' is blank in {counted(empty.sum(), 'row')} (lines {lines})",
            "Every row needs a value",
            blank,
            code="cells_blank",
        )
    return cells


def joined_columns(table: pd.DataFrame, name: str) -> pd.Series | None:
    """Return the cells of columns such as ``patient/file`` joined by slashes; None if a column is missing."""
    first, *others = name.split(JOINT)
    if not others or not {first, *others} <= set(table.columns):
        return None
    joined: pd.Series = table[first].str.cat(table[others], sep=JOINT)
    return joined


def line_numbers(rows: np.ndarray) -> list[int]:
    """Return the line numbers of rows (N,), bool, in the file of their table; the header is line 1."""
    return [int(number) + 2 for number in np.flatnonzero(rows)]


def unique_ids(ids: pd.Series, path: Path) -> pd.Series:
    """Return the ids unchanged; refuse an id that occurs twice."""
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].unique()
        problem = f"{counted(len(twice), 'id occurs', 'ids occur')} more than once ({first_few(list(twice))})"
        raise KitError(path, problem, "Each id has one row", code="ids_duplicate")
    return ids
