"""Write a table as CSV that reads back equal, whatever its cells hold."""

from __future__ import annotations

import csv
from typing import Any


def csv_text(table: Any, index: bool = False, header: bool = True) -> str:
    """Return a pandas table as CSV, whose lines end with a line feed.

    Python before 3.13 leaves a cell with a carriage return bare, which ends the line for a reader.

    Args:
        index: Write the index as the first column.
        header: Write the names of the columns as the first line.
    """
    text: str = table.to_csv(index=index, header=header, lineterminator="\n")
    if "\r" not in text:
        return text
    quoted: str = table.to_csv(index=index, header=header, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return quoted
