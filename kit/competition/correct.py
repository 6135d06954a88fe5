"""Write the corrected label of a training image to a file of corrections (``kit correct``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kit.competition.corrections import correctable_columns, corrected, read_corrections
from kit.competition.samples import Competition
from kit.errors import KitError, counted, first_few
from kit.natural import natural_key
from kit.storage.csv_text import csv_text
from kit.storage.files import write_text
from kit.storage.locks import exclusive_lock
from kit.tasks import LABEL, VALUE


@dataclass(frozen=True)
class Correction:
    """The label of a training image before and after; a blank label: the image is not used."""

    id: str
    before: str
    after: str


def write_correction(
    path: Path, competition: Competition, sample_id: str, labels: Sequence[str] | None
) -> Correction:
    """Write the label of one training image to a file of corrections.

    Args:
        labels: The class, the classes of a multi-label task, or the number; None: the image is not used.

    Raises:
        KitError: The id or a label is unknown, or the number of labels is wrong; the file stays as it is.
    """
    columns = correctable_columns(competition.task, competition.classes)
    new = pd.DataFrame([{"id": sample_id} | _cells(labels, columns, path)], dtype=str)
    with exclusive_lock(path.with_suffix(".lock"), "another correction"):
        table = read_corrections(path, columns) if path.is_file() else new[:0]
        table = pd.concat([table[table["id"] != sample_id], new], ignore_index=True)
        after = corrected(competition.train, table, competition.classes, path)
        write_text(path, csv_text(table.sort_values("id", key=lambda ids: ids.map(natural_key))))
    return Correction(sample_id, *(_text(each, sample_id, columns) for each in (competition.train, after)))


def _cells(labels: Sequence[str] | None, columns: Sequence[str], path: Path) -> dict[str, str]:
    """Return the cells of an image by column."""
    if labels is None:
        return dict.fromkeys(columns, "")
    if columns[0] in (LABEL, VALUE):
        if len(labels) != 1:
            problem = f"{counted(len(labels), 'label')} given ({first_few(list(labels))})"
            raise KitError(path, problem, "An image of this task has one label", code="one_label_needed")
        return {columns[0]: labels[0]}
    unknown = [label for label in labels if label not in columns]
    if unknown:
        rule = f"The classes are {first_few(list(columns))}"
        raise KitError(path, f"there is no class {first_few(unknown)}", rule, code="label_unknown")
    return {name: str(int(name in labels)) for name in columns}


def _text(samples: pd.DataFrame, sample_id: str, columns: Sequence[str]) -> str:
    row = samples.loc[samples["id"] == sample_id, columns].iloc[0]
    if columns[0] == LABEL:
        return str(row.iloc[0])
    if columns[0] == VALUE:
        return "" if pd.isna(row.iloc[0]) else f"{row.iloc[0]:.8g}"
    return " ".join(name for name, given in zip(columns, row, strict=True) if given == 1)
