"""Infer which columns of a table hold the labels, the groups and the organizers' folds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from kit.competition.layouts.label_cells import LIST, find_separator, split_labels
from kit.competition.survey import Survey
from kit.competition.table_matching import Table
from kit.errors import KitError
from kit.natural import natural_key
from kit.submission_format.spelling import are_row_numbers

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
    """

    label: str | list[str]
    because: str
    separator: str | None = None
    group: str | None = None
    fold: str | None = None
    ordinal: str = ""

    @classmethod
    def of(cls, table: Table, label: str | None, survey: Survey) -> LabelColumns:
        """Return the columns of a table of labels.

        Args:
            label: The label column, if the user gave one.
            survey: The competition's folder; its sample submission and test table name columns, too.

        Raises:
            KitError: Several columns could be the label, or the given one does not exist.
        """
        group = _group_column(table, label)
        fold = next((c for c in table.others if c.lower() in FOLD_NAMES and c != label), None)
        others = [c for c in table.others if c not in (group, fold) and not _counts_rows(table, c)]
        chosen, because = _choose_label(table, others, label, survey)
        if not isinstance(chosen, str):
            return cls(chosen, because, None, group, fold)
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


def _group_column(table: Table, label: str | None) -> str | None:
    """Return the column named like a group whose values repeat: patients, else studies, else sites."""
    named = [
        (next(i for i, word in enumerate(GROUP_NAMES) if is_word(column, (word,))), column)
        for column in map(str, table.cells.columns)
        if column not in (label, table.id) and is_word(column, GROUP_NAMES)
    ]
    repeating = [
        c for _, c in sorted(named) if table.cells[c].duplicated().any() and not _is_flag(table.cells[c])
    ]
    return next(iter(repeating), None)


def _choose_label(
    table: Table, others: list[str], label: str | None, survey: Survey
) -> tuple[str | list[str], str]:
    if label is not None:
        if label not in table.others:
            others_are = f"Other columns: {', '.join(table.others)}"
            raise KitError(
                f"--label {label}", f"{table.name} has no such column", others_are, code="column_missing"
            )
        return label, "given by --label"
    if len(others) == 1:
        return others[0], f"the only column besides the id; {_examples(table.cells[others[0]])}"
    in_sample = [c for c in others if c in survey.columns_of(*SAMPLE_WORDS)]
    if len(in_sample) == 1:
        because = f"the sample submission has this column; {_examples(table.cells[in_sample[0]])}"
        return in_sample[0], because
    named = [c for c in others if c.lower() in LABEL_NAMES]
    if len(named) == 1:
        return named[0], f"the only column named like a label; {_examples(table.cells[named[0]])}"
    codes = [c for c in others if is_word(c, CODE_NAMES) and c.lower().endswith("id")]
    if not named and len(codes) == 1:
        return codes[0], f"the only column named like a class id; {_examples(table.cells[codes[0]])}"
    block = [c for c in others if _is_flag(table.cells[c])]
    if len(block) >= 2 and _list_the_block(table.cells, block, others):
        return block, f"{len(block)} columns of 0 and 1, which another column lists: one per class"
    if len(block) >= 2 and (len(block) == len(others) or is_one_hot(table.cells[block])):
        rest = f", among {len(others)}" if len(block) < len(others) else ""
        return block, f"{len(block)} columns of 0 and 1{rest}: one per class"
    in_test = survey.columns_of("test") - survey.columns_of(*SAMPLE_WORDS)
    only_here = [c for c in others if c not in in_test]
    if in_test and len(only_here) == 1:
        return only_here[
            0
        ], f"the only column that the test table lacks; {_examples(table.cells[only_here[0]])}"
    raise KitError(
        table.name,
        f"any of its columns {', '.join(others)} could be the label",
        "kit does not guess",
        "Choose one: `kit init DATA --label COLUMN`.",
        code="label_ambiguous",
    )


def _counts_rows(table: Table, name: str) -> bool:
    """Return whether a column is an index that pandas wrote; it has no name."""
    return are_row_numbers(name.removeprefix("Unnamed: 0"), list(table.cells[name]))


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
