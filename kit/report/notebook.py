"""Turn the tables and lines of the command line into HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from kit.report.pages import render

Parts = Sequence[Table | str]


def html_of_parts(parts: Parts) -> str:
    """Return tables and lines as HTML; colors and other styles are left out."""
    return render("tables.html", parts=[_values(part) for part in parts])


def _values(part: Table | str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"lines": [line for line in _plain(part).splitlines() if line]}
    columns = [(_plain(each.header), "right" if each.justify == "right" else "left") for each in part.columns]
    rows = zip(*([_plain(cell) for cell in each.cells] for each in part.columns), strict=True)
    return {"title": _plain(part.title or ""), "columns": columns, "rows": list(rows)}


def _plain(cell: object) -> str:
    """Return a cell or line without styles."""
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
