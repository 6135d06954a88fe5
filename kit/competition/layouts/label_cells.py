"""Split label cells that hold several classes, such as ``scab rust`` or ``['Comedy', 'Drama']``."""

from __future__ import annotations

import ast
from collections import Counter

import pandas as pd

LIST = "[]"  # in place of a separator: cells are lists, as Python or JSON writes them
SEPARATORS = (" ", "|", ",", ";")


def split_labels(cells: pd.Series, separator: str) -> pd.DataFrame:
    """Return one 0/1 column per class; a blank cell has no class.

    Args:
        separator: What separates the classes in a cell, or ``[]`` for lists.
    """
    named = cells.map(lambda cell: _classes_in(cell, separator)).explode().dropna()
    counts = pd.crosstab(named.index, named).reindex(cells.index, fill_value=0)
    zero_one: pd.DataFrame = counts.clip(upper=1).astype("int8").rename_axis(columns=None, index=None)
    return zero_one


def find_separator(values: pd.Series) -> str | None:
    """Return what separates the classes in cells, if they hold several.

    ``brown spot`` may be two classes or one class name. Words are classes if they are numbers, if each also
    occurs alone, or if they occur in more than two combinations on average. Other separators are not part of
    names: one repeated word is enough.
    """
    cells = sorted(set(values) - {""})
    if cells and all(_is_list(cell) for cell in cells):
        return LIST
    for separator in SEPARATORS:
        if not any(separator in cell.strip() for cell in cells):
            continue
        uses = Counter(word for cell in cells for word in set(_classes_in(cell, separator)))
        are_numbers = all(word.isdecimal() for word in uses)
        alone = set(uses) <= {cell.strip() for cell in cells}
        combined = uses.total() > 2 * len(uses) if separator == " " else max(uses.values()) > 1
        if alone or combined or (are_numbers and max(uses.values()) > 1):
            return separator
    return None


def _classes_in(cell: str, separator: str) -> list[str]:
    if separator == LIST:
        return _items(cell)
    words = cell.strip().split(separator if separator.strip() else None)
    return [word for word in map(str.strip, words) if word]


def _is_list(cell: str) -> bool:
    return cell.strip().startswith("[") and cell.strip().endswith("]")


def _items(cell: str) -> list[str]:
    """Return the items of a list such as ``['Comedy', 'Drama']``, ``["a"]`` or ``[a, b]``."""
    try:
        items = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError):
        items = cell.strip().removeprefix("[").removesuffix("]").split(",")
    return [text for text in (str(item).strip() for item in items) if text]
