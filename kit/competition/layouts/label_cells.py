"""Read label cells: several classes in a cell, such as ``scab rust``, or votes in several columns."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables.read import line_numbers
from kit.errors import KitError, counted, first_few

LIST = "[]"  # in place of a separator: cells are lists, as Python or JSON writes them
SEPARATORS = (" ", "|", ",", ";")
SUM_TOLERANCE = 0.01  # of rows of probabilities or percentages, relative


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


def are_votes(cells: pd.Series) -> bool:
    """Return whether a column holds votes or probabilities: numbers that are at least 0."""
    numbers = pd.to_numeric(cells, errors="coerce")
    return bool((numbers >= 0).all())


def most_voted(block: pd.DataFrame, path: Path) -> pd.Series:
    """Return the column with the most votes of each row, (N,); of several, the first.

    Raises:
        KitError: A cell is no finite number of at least 0, or a row has no vote.
    """
    winners: pd.Series = _votes(block, path).idxmax(axis=1).astype(str)
    return winners


def vote_shares(block: pd.DataFrame, path: Path, may_be_blank: bool = False) -> pd.DataFrame:
    """Return each row's votes or probabilities divided by their sum, (N, C), float64.

    Args:
        may_be_blank: Whether a row of blank cells has no label; its shares are NaN.

    Raises:
        KitError: A cell is no finite number of at least 0, or a row has no vote.
    """
    without_label = (block.apply(lambda cells: cells.str.strip()) == "").all(axis=1) & may_be_blank
    votes = _votes(block.mask(without_label, "1"), path)
    shares: pd.DataFrame = votes.div(votes.sum(axis=1), axis=0).mask(without_label)
    return shares


def are_distributions(block: pd.DataFrame) -> bool:
    """Return whether rows of votes are distributions: counts, or numbers with the same sum in all rows."""
    votes = block.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    total = votes.sum(axis=1)
    return bool((votes == np.rint(votes)).all() or np.ptp(total) <= SUM_TOLERANCE * total.max())


def _votes(block: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return votes as numbers, (N, C), float64.

    Raises:
        KitError: A cell is no finite number of at least 0, or a row has no vote.
    """
    numbers: pd.DataFrame = block.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    valid = ((numbers >= 0) & np.isfinite(numbers)).all(axis=1)
    invalid = ~valid | ~(numbers.sum(axis=1) > 0)
    if invalid.any():
        raise KitError(
            path,
            f"{counted(invalid.sum(), 'row has', 'rows have')} no valid votes (lines "
            f"{first_few(line_numbers(invalid.to_numpy()))})",
            "Votes are finite numbers of at least 0, one of them above 0",
            code="label_invalid",
        )
    return numbers


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
