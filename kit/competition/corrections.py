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
from kit.tasks import LABEL, UNKNOWN, VALUE, Task

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
    if task.soft:
        raise KitError(
            KEY,
            "cannot correct distributions",
            "Corrections are for tasks with a class, classes or a number per image",
            "Leave it out.",
            code="corrections_unsuitable",
        )
    if not path.is_file():
        raise KitError(
            path, "is missing", f"{KEY} names it", f"Write it, or remove {KEY}.", code="file_missing"
        )
    columns = task.label_columns(classes)
    table = read_table(path)
    missing = [name for name in ("id", *columns) if name not in table]
    if missing:
        rule = f"Columns: {', '.join(['id', *columns][:6])}"
        raise KitError(path, f"has no column {first_few(missing)}", rule, code="column_missing")
    ids = unique_ids(table["id"], path)
    positions = pd.Index(samples["id"]).get_indexer(pd.Index(ids))
    unknown = list(ids[positions < 0])
    if unknown:
        problem = counted(len(unknown), "id is no training image", "ids are no training images")
        raise KitError(
            path, f"{problem} ({first_few(unknown)})", "Copy ids from the folds", code="ids_unknown"
        )
    corrected = {}
    for name in columns:
        corrected[name] = samples[name].copy()
        corrected[name].iloc[positions] = _parsed(table[name], name, classes, path)
    return samples.assign(**corrected), frozenset(ids)


def _parsed(cells: pd.Series, name: str, classes: Sequence[str], path: Path) -> np.ndarray:
    """Return the cells of a column as labels; blank cells as the sign of a missing label."""
    if name == LABEL:
        wrong = ~cells.isin([*classes, ""])
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
