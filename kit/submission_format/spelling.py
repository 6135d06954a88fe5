"""Spellings of classes, yes and no, and numbers in submission cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NO_YES = (("false", "no", "f", "n"), ("true", "yes", "t", "y"))  # words for 0 and for 1
SEPARATORS = (" ", "|", ",", ";")  # between the classes of a cell
INDEX_NAMES = ("", "unnamed: 0", "index")  # of a column of row numbers, in lower case
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def is_index_name(name: str) -> bool:
    """Return whether a column is named like an index: ``index``, ``Unnamed: 0``, or not at all."""
    return name.strip().casefold() in INDEX_NAMES


def are_row_numbers(cells: Sequence[str]) -> bool:
    """Return whether cells count rows from 0 or 1."""
    return any(list(cells) == [str(start + n) for n in range(len(cells))] for start in (0, 1))


def normalize_spelling(cell: str) -> str:
    """Return a cell without differences of case, white space, and ``1.0`` or ``True`` for 1."""
    text = cell.strip().casefold()
    for value, words in enumerate(NO_YES):
        if text in words:
            return str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def are_yes_no(cells: Iterable[str]) -> bool:
    """Return whether all cells are words for yes or no."""
    return all(cell.strip().casefold() in {*NO_YES[0], *NO_YES[1]} for cell in cells)


def no_yes_words(cells: Sequence[str]) -> tuple[str, str]:
    """Return the words for no and yes in the case that the cells use; cells may show only one of them."""
    sample = min(cells)
    place = next(i for words in NO_YES for i, word in enumerate(words) if word == sample.strip().casefold())
    no, yes = NO_YES[0][place], NO_YES[1][place]
    if sample.isupper() and len(sample) > 1:
        return no.upper(), yes.upper()
    return (no.capitalize(), yes.capitalize()) if sample[0].isupper() else (no, yes)


class ClassIndex:
    """Word in a cell -> class index.

    Where the format spells classes differently from the data, words are compared without their spelling.
    Codes that are no spelling of a class are compared as written.

    Args:
        classes: The class names.
        spelled: What is written for each class; empty: the class names.
    """

    def __init__(self, classes: Sequence[str], spelled: Sequence[str]) -> None:
        names, words = map(normalize_spelling, classes), set(map(normalize_spelling, spelled))
        self._ignore_spelling = words == set(map(normalize_spelling, classes))
        known = names if self._ignore_spelling else spelled or classes
        self._index = {name: number for number, name in enumerate(known)}

    def __getitem__(self, word: str) -> int:
        return self._index[normalize_spelling(word) if self._ignore_spelling else word]
