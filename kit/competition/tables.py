"""Tables the way competitions write them: cells stay text, so that ``007`` is never 7."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError, first_few
from kit.submission_format.parse import find_delimiter

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})


def read_table(path: Path) -> pd.DataFrame:
    """Return a CSV or TSV as text: nothing is parsed, no cell is missing, a byte-order mark goes.

    Cells are separated by what the first line shows: commas (tabs in a ``.tsv``), or else tabs or semicolons.
    Where blanks follow the delimiters of the first line, they belong to no cell.

    Raises:
        KitError: The file is missing, empty, not UTF-8, names a column twice, or its rows differ in length.
    """
    header, delimiter, spaced = _first_line(path)
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise KitError(
            path, f"has {len(twice)} columns twice ({first_few(twice)})", "Every column has a name"
        )
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
        raise KitError(path, "is empty", "Its first line names the columns") from error
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except pd.errors.ParserError as error:
        raise KitError(
            path, f"is not a table: {error}", "Every row has as many cells as the header"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):
        raise KitError(path, "its rows have more cells than its header", "Every column needs a name")
    return table


def _first_line(path: Path) -> tuple[list[str], str, bool]:
    """Return the names of the columns, the delimiter, and whether blanks follow it."""
    if not path.is_file():
        raise KitError(path, "there is no such file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    delimiter = find_delimiter(line, path.suffix)
    names = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    spaced = len(names) > 1 and all(name.startswith(" ") for name in names[1:])
    return [name.strip() if spaced else name for name in names], delimiter, spaced


def _not_utf8(path: Path, error: UnicodeDecodeError) -> KitError:
    with path.open("rb") as file:
        wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    looks = "; it begins like UTF-16" if wide else ""
    return KitError(
        path,
        f"was read as UTF-8 and is not (byte {error.start}{looks})",
        "Tables are UTF-8 text",
        "Save it as UTF-8.",
    )


def column(table: pd.DataFrame, name: str, path: Path, key: str, blank: str = "") -> pd.Series:
    """Return one column of a table.

    Args:
        key: Which config key named it.
        blank: What to do about blank cells, where there is something; ``"allowed"`` lets them pass.

    Raises:
        KitError: There is no such column, or cells are blank and may not be.
    """
    if name not in table:
        known = ", ".join(map(str, table.columns))
        raise KitError(path, f"has no column '{name}' ({key})", f"Its columns: {known}", f"Set {key}.")
    cells = table[name]
    empty = (cells.str.strip() == "").to_numpy(dtype=bool)
    if empty.any() and blank != "allowed":
        lines = first_few(line_numbers(empty))
        raise KitError(
            path,
            f"column '{name}' is blank in {empty.sum()} rows (lines {lines})",
            "Every row has one",
            blank,
        )
    return cells


def line_numbers(rows: np.ndarray) -> list[int]:
    """Return the lines of a file, from 1, on which some rows of its table stand; the header is line 1."""
    return [int(number) + 2 for number in np.flatnonzero(rows)]


def unique_ids(ids: pd.Series, path: Path) -> pd.Series:
    """Return the ids unchanged, refusing one that occurs twice."""
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].unique()
        raise KitError(
            path, f"{len(twice)} ids occur more than once ({first_few(list(twice))})", "One row per id"
        )
    return ids
