"""Class codes: what a submission contains for each class, if a table translates the class names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kit.competition.survey import Survey
from kit.competition.tables.read import column, read_table
from kit.config import CodesConfig
from kit.errors import KitError, first_few


@dataclass(frozen=True)
class DetectedCodes:
    """A table that translates class names.

    Attributes:
        name: The table, relative to the competition's folder.
        classes: Its column of class names.
        code: Its column of codes.
        codes: Class name -> code.
    """

    name: str
    classes: str
    code: str
    codes: dict[str, str]


def read_codes(root: Path, source: CodesConfig, classes: Sequence[str]) -> dict[str, str]:
    """Return the code of each class.

    Raises:
        KitError: A class has no code or several, or two classes have the same.
    """
    path = root / source.file
    table = read_table(path)
    names = column(table, source.class_, path, "submission.codes.class", "allowed")
    codes = column(table, source.code, path, "submission.codes.code", "allowed")
    found = _one_to_one(names, codes, classes)
    if found is None:
        pairs = pd.DataFrame({"class": names, "code": codes}).drop_duplicates()
        counts = pairs["class"].value_counts().reindex(list(classes), fill_value=0)
        odd = list(counts[counts != 1].index) or list(classes)
        raise KitError(
            path,
            f"does not give each class one code of its own ({first_few(odd)})",
            f"Each class has one '{source.code}', and no two classes the same",
            "Correct the table, or remove submission.codes.",
            code="codes_ambiguous",
        )
    return found


def find_codes(survey: Survey, words: Collection[str], classes: Sequence[str]) -> DetectedCodes | None:
    """Return the table that translates the classes to the words of a sample submission; None if none does.

    If the sample has numbers of other classes, the codes are the first column of numbers.
    """
    if not words or set(words) <= set(classes):
        return None
    found = [
        DetectedCodes(name, names, code, codes)
        for name, table in _all_tables(survey)
        for names in map(str, table.columns)
        if set(classes) <= set(table[names])
        for code in map(str, table.columns)
        if code != names and (codes := _one_to_one(table[names], table[code], classes))
    ]
    exact = [each for each in found if set(words) <= set(each.codes.values())]
    alike = [each for each in found if _are_numbers(words) and _are_numbers(each.codes.values())]
    return next(iter(exact or ([] if _are_numbers(classes) else alike)), None)


def _are_numbers(words: Iterable[str]) -> bool:
    return all(word.isdecimal() for word in words)


def _all_tables(survey: Survey) -> Iterable[tuple[str, pd.DataFrame]]:
    yield from ((table.name, table.cells) for table in survey.tables)
    for name in survey.ignored:
        try:
            yield name, read_table(survey.root / name)
        except KitError:
            continue  # `kit init` says why the file is ignored


def _one_to_one(names: pd.Series, codes: pd.Series, classes: Sequence[str]) -> dict[str, str] | None:
    """Return the code of each class, or None unless every class has one code of its own."""
    pairs = pd.DataFrame({"name": names, "code": codes})
    pairs = pairs[pairs["name"].isin(set(classes)) & (pairs["code"] != "")].drop_duplicates()
    if len(pairs) != len(classes) or pairs["name"].duplicated().any() or pairs["code"].duplicated().any():
        return None
    return dict(zip(pairs["name"], pairs["code"], strict=True))
