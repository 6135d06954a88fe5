"""Corrected labels: a CSV of ids and labels, which replaces labels of the training images when they are read.

The data itself is never changed. A blank label takes an image out of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables.read import read_table, unique_ids
from kit.errors import KitError, counted, first_few
from kit.tasks import LABEL, NO_LABEL, UNKNOWN, VALUE, Task

KEY = "competition.corrections"


def with_corrections(
    samples: pd.DataFrame, path: Path, classes: Sequence[str], task: Task
) -> tuple[pd.DataFrame, frozenset[str]]:
    """Return the samples with corrected labels, and the ids that the file lists.

    Args:
        samples: ``id`` and the label columns of the task.
        path: The CSV: ``id`` and the same label columns.

    Raises:
        KitError: The file is missing or lacks a column, an id is unknown or repeated, or a label is no class.
    """
    if not path.is_file():
        remedy = f"Write it with `kit correct`, or remove {KEY}."
        raise KitError(path, "is missing", f"The config sets {KEY} to this file", remedy, code="file_missing")
    table = read_corrections(path, correctable_columns(task, classes))
    return corrected(samples, table, classes, path), frozenset(table["id"])


def correctable_columns(task: Task, classes: Sequence[str]) -> list[str]:
    """Return the label columns that a file of corrections has.

    Raises:
        KitError: The labels are distributions.
    """
    if task.soft:
        raise KitError(
            KEY,
            "cannot correct distributions",
            "Corrections are for tasks with a class, classes or a number per image",
            "Leave it out.",
            code="corrections_unsuitable",
        )
    return task.label_columns(classes)


def read_corrections(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the id and the label columns of a file, as text."""
    table = read_table(path)
    missing = [name for name in ("id", *columns) if name not in table]
    if missing:
        rule = f"Its columns are {first_few(['id', *columns])}"
        raise KitError(path, f"has no column {first_few(missing)}", rule, code="column_missing")
    return table[["id", *columns]]


def corrected(samples: pd.DataFrame, table: pd.DataFrame, classes: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the samples with the labels of a table."""
    positions = pd.Index(samples["id"]).get_indexer(pd.Index(unique_ids(table["id"], path)))
    unknown = list(table["id"][positions < 0])
    if unknown:
        problem = counted(len(unknown), "id is no training image", "ids are no training images")
        problem += f" ({first_few(unknown)})"
        raise KitError(path, problem, "The folds CSV lists the ids", code="ids_unknown")
    columns = {}
    for name in table.columns.drop("id"):
        columns[name] = samples[name].copy()
        columns[name].iloc[positions] = _parsed(table[name], name, classes, path)
    return samples.assign(**columns)


def _parsed(cells: pd.Series, name: str, classes: Sequence[str], path: Path) -> np.ndarray:
    """Return the cells of a column as labels; blank cells as the sign of a missing label."""
    values: np.ndarray
    if name == LABEL:
        wrong = ~cells.isin([*classes, NO_LABEL])
        rule, values = f"A label is one of {first_few(list(classes))}, or blank", cells.to_numpy(dtype=object)
    elif name == VALUE:
        numbers = pd.to_numeric(cells.where(cells != ""), errors="coerce")
        wrong = (cells != "") & ~np.isfinite(numbers)
        rule, values = "A label is a number, or blank", numbers.to_numpy(dtype=np.float64)
    else:
        wrong = ~cells.isin(["0", "1", ""])
        rule = "A class is 0 or 1, or blank for an image without labels"
        values = cells.map({"0": 0, "1": 1, "": UNKNOWN}).fillna(UNKNOWN).to_numpy(dtype=np.int8)
    if wrong.any():
        named = first_few([f"'{cell}'" for cell in cells[wrong]])
        raise KitError(path, f"column {name} has {named}", rule, code="label_unknown")
    return values
