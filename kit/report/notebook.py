"""Turn the tables and lines of the command line, plots and pictures into HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image
from rich.table import Table
from rich.text import Text

from kit.report.pages import data_url, render

Part = Table | str | Markup | Path  # Markup: a plot as SVG; Path: a picture
Parts = Sequence[Part]


def html_of_parts(parts: Parts) -> str:
    """Return tables, lines, plots and pictures as HTML; colors and other styles of text are left out."""
    return render("tables.html", parts=[_values(part) for part in parts])


def _values(part: Part) -> dict[str, Any]:
    if isinstance(part, Markup):
        return {"plot": part}
    if isinstance(part, Path):
        return {"plot": _picture(part)}
    if isinstance(part, str):
        return {"lines": [line for line in _plain(part).splitlines() if line]}
    columns = [(_plain(each.header), "right" if each.justify == "right" else "left") for each in part.columns]
    rows = zip(*([_plain(cell) for cell in each.cells] for each in part.columns), strict=True)
    return {"title": _plain(part.title or ""), "columns": columns, "rows": list(rows)}


def _picture(path: Path) -> Markup:
    with Image.open(path) as image:
        address = data_url(image.convert("RGB"))
    return Markup('<img style="max-width: 100%" alt="{}" src="{}">').format(path.name, address)


def _plain(cell: object) -> str:
    """Return a cell or line without styles."""
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
