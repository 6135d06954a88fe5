"""Infer which columns of a table hold the labels, the groups and the organizers' folds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from kit.competition.layouts.label_cells import LIST, are_votes, find_separator, split_labels
from kit.competition.survey import Survey
from kit.competition.tables.matching import Table
from kit.errors import KitError, counted
from kit.natural import natural_key
from kit.submission_format.spelling import are_row_numbers, is_index_name

LABEL_NAMES = ("label", "labels", "target", "class", "category", "species", "breed", "diagnosis", "tags")
CODE_NAMES = ("category", "class", "label")  # in a name such as category_id
ORDINAL_NAMES = ("diagnosis", "grade", "level", "severity", "stage", "rating", "score", "isup")
MAX_GRADES = 11
SAMPLE_WORDS = ("sample", "submission")
GROUP_NAMES = (  # the narrowest first: images of a patient may come from several sites
    "patient", "subject", "person", "lesion", "case", "study", "series", "user", "group", "video", "location",
    "site",
)  # fmt: skip
FOLD_NAMES = ("fold", "folds", "kfold", "cv_fold")


@dataclass(frozen=True)
class LabelColumns:
    """The inferred columns of a table.

    Attributes:
        label: The label column, or the 0/1 columns.
        because: The evidence.
        separator: What separates the classes in a cell.
        ordinal: The evidence that labels are grades, or "".
        votes: Whether the columns hold votes for classes.
        in_sample: Whether the sample submission has all the columns, too.
    """

    label: str | list[str]
    because: str
    separator: str | None = None
    group: str | None = None
    fold: str | None = None
    ordinal: str = ""
    votes: bool = False
    in_sample: bool = False

    @classmethod
    def of(cls, table: Table, given: Sequence[str], survey: Survey) -> LabelColumns:
        """Return the columns of a table of labels.

        Args:
            given: The label columns that the user gave.
            survey: The competition's folder; its sample submission and test table name columns, too.

        Raises:
            KitError: Several columns could be the label, or the given one does not exist.
        """
        group = _group_column(table, given)
        fold = next((c for c in table.others if c.lower() in FOLD_NAMES and c not in given), None)
        others = [c for c in table.others if c not in (group, fold) and not _counts_rows(table, c)]
        chosen, because = _choose_label(table, others, given, survey)
        if not isinstance(chosen, str):
            votes = not all(_is_flag(table.cells[name]) for name in chosen)
            in_sample = set(chosen) <= survey.columns_of(*SAMPLE_WORDS)
            return cls(chosen, because, None, group, fold, votes=votes, in_sample=in_sample)
        values = table.cells[chosen]
        are_columns = set(values) - {""} <= survey.columns_of(*SAMPLE_WORDS)
        separator = None if are_columns else find_separator(values)
        if separator is not None:
            shown = {" ": "spaces", LIST: "commas in a list"}.get(separator, f"'{separator}'")
            because = f"cells such as '{max(values, key=len)}' hold several classes, separated by {shown}"
        return cls(chosen, because, separator, group, fold, _grades(chosen, values))


def _grades(name: str, values: pd.Series) -> str:
    """Return the evidence that a column holds grades, or "": its name, and a range of whole numbers."""
    found = {v for v in values if v.isdecimal()}
    if not is_word(name, ORDINAL_NAMES) or set(values) != found or not 2 < len(found) <= MAX_GRADES:
        return ""
    low, high = min(map(int, found)), max(map(int, found))
    return f"'{name}' holds the grades {low} to {high}" if high - low + 1 == len(found) else ""


def is_word(name: str, words: Sequence[str]) -> bool:
    """Return whether a column name has one of some words: ``PatientID`` has ``patient``."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return any(part.lower() in words for part in parts)


def _group_column(table: Table, given: Sequence[str]) -> str | None:
    """Return the column named like a group whose values repeat: patients, else studies, else sites."""
    named = [
        (next(i for i, word in enumerate(GROUP_NAMES) if is_word(column, (word,))), column)
        for column in map(str, table.cells.columns)
        if column not in (*given, table.id) and is_word(column, GROUP_NAMES)
    ]
    repeating = [
        c for _, c in sorted(named) if table.cells[c].duplicated().any() and not _is_flag(table.cells[c])
    ]
    return next(iter(repeating), None)


def _choose_label(
    table: Table, others: list[str], given: Sequence[str], survey: Survey
) -> tuple[str | list[str], str]:
    """Return the label column, or the columns of the classes, and the evidence.

    Raises:
        KitError: Several columns could be the label, or a given one does not exist.
    """
    if given:
        return _given_label(table, given)
    if len(others) == 1:
        return others[0], f"the only column besides the id; {_examples(table.cells[others[0]])}"
    found = _named_label(table, others, survey) or _label_block(table, others, survey)
    return found or _only_in_train(table, others, survey)


def _given_label(table: Table, given: Sequence[str]) -> tuple[str | list[str], str]:
    unknown = [name for name in given if name not in table.others]
    if unknown:
        others_are = f"Other columns: {', '.join(table.others)}"
        raise KitError(
            f"--label {unknown[0]}", f"{table.name} has no such column", others_are, code="column_missing"
        )
    return given[0] if len(given) == 1 else list(given), "given by --label"


def _named_label(table: Table, others: list[str], survey: Survey) -> tuple[str, str] | None:
    """Return the one column that the sample has, or that is named like a label."""
    in_sample = [c for c in others if c in survey.columns_of(*SAMPLE_WORDS)]
    named = [c for c in others if c.lower() in LABEL_NAMES]
    codes = [] if named else [c for c in others if is_word(c, CODE_NAMES) and c.lower().endswith("id")]
    for found, because in (
        (in_sample, "the sample submission has this column"),
        (named, "the only column named like a label"),
        (codes, "the only column named like a class id"),
    ):
        if len(found) == 1:
            return found[0], f"{because}; {_examples(table.cells[found[0]])}"
        if found is in_sample and found:
            return None  # columns of the classes
    return None


def _label_block(table: Table, others: list[str], survey: Survey) -> tuple[list[str], str] | None:
    """Return the columns of the classes: of 0 and 1, or of votes that the sample has, too."""
    block = [c for c in others if _is_flag(table.cells[c])]
    in_sample = [c for c in others if c in survey.columns_of(*SAMPLE_WORDS)]
    count = f"{counted(len(block), 'column')} of 0 and 1"
    if len(block) >= 2 and _list_the_block(table.cells, block, others):
        return block, f"{count}, which another column lists: one per class"
    if len(block) >= 2 and (len(block) == len(others) or is_one_hot(table.cells[block])):
        return block, f"{count}{_among(block, others)}: one per class"
    if len(in_sample) >= 2 and all(are_votes(table.cells[c]) for c in in_sample):
        what = "0 and 1" if set(in_sample) <= set(block) else "votes"
        return (
            in_sample,
            f"{counted(len(in_sample), 'column')} of {what} that the sample has{_among(in_sample, others)}",
        )
    return None


def _among(block: Sequence[str], others: Sequence[str]) -> str:
    return f", among {len(others)}" if len(block) < len(others) else ""


def _only_in_train(table: Table, others: list[str], survey: Survey) -> tuple[str, str]:
    """Return the one column that the test table lacks.

    Raises:
        KitError: It has all columns, or lacks several.
    """
    in_test = survey.columns_of("test") - survey.columns_of(*SAMPLE_WORDS)
    only_here = [c for c in others if c not in in_test]
    if in_test and len(only_here) == 1:
        shown = _examples(table.cells[only_here[0]])
        return only_here[0], f"the only column that the test table lacks; {shown}"
    raise KitError(
        table.name,
        f"any of its columns {', '.join(others)} could be the label",
        "kit does not guess",
        "Choose one: `kit init DATA --label COLUMN`; several if each is a class of 0 and 1.",
        code="label_ambiguous",
    )


def _counts_rows(table: Table, name: str) -> bool:
    """Return whether a column is an index, as pandas writes it."""
    return is_index_name(name) and are_row_numbers(list(table.cells[name]))


def _is_flag(cells: pd.Series) -> bool:
    """Return whether a column holds only 0, 1, -1 and blanks: it may be a class, but not a group."""
    return bool(cells.str.strip().isin(["0", "1", "0.0", "1.0", "-1", ""]).all())


def _list_the_block(cells: pd.DataFrame, block: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether every other column lists the 0/1 columns that are 1: ``['Comedy', 'Drama']``."""
    for name in set(others) - set(block):
        separator = find_separator(cells[name])
        if separator is None or not set(split_labels(cells[name], separator).columns) <= set(block):
            return False
    return len(block) < len(others)


def is_one_hot(block: pd.DataFrame) -> bool:
    """Return whether the columns sum to 1 in every row."""
    return bool((block.apply(pd.to_numeric, errors="coerce").sum(axis=1) == 1).all())


def _examples(values: Iterable[str]) -> str:
    return f"values such as {', '.join(sorted(set(values), key=natural_key)[:3])}"
