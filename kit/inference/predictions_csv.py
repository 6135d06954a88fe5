"""Write predictions as CSV for people and other tools: an id, a column per class, the label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.predictions import FinalPredictions, Predictions
from kit.storage.csv_text import csv_text
from kit.storage.files import write_text
from kit.submission_format.numbers import shortest_decimals
from kit.tasks import Task

SEPARATOR = "|"  # between the labels of an image


def write_predictions_csv(path: Path, predictions: Predictions, final: FinalPredictions, task: Task) -> None:
    """Write ``id``, one column per class (or ``value``), and the label; the file appears whole or not at all.

    The last column is ``label``: a class, or the number after postprocessing; of several classes it is
    ``labels``, joined by ``|``.

    Args:
        predictions: Before postprocessing, as ``kit predict`` stores them.
        final: The same rows after postprocessing.

    Raises:
        KitError: A class has the name of another column.
    """
    predictions.check(path)
    name = "labels" if not (task.exclusive or task.numeric) else "label"
    if name in predictions.classes:
        raise KitError(
            path,
            f"a class has the name of the column of labels, {name!r}",
            "",
            "Rename the class.",
            code="class_name_reserved",
        )
    columns = {"id": list(predictions.ids)}
    for c, each in enumerate(predictions.classes):
        columns[each] = shortest_decimals(predictions.probs[:, c]).to_pylist()
    columns[name] = _decided(final, predictions.classes, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, csv_text(pd.DataFrame(columns)))


def _decided(final: FinalPredictions, classes: tuple[str, ...], task: Task) -> list[str]:
    """Return the decided label of each row, as text."""
    if task.numeric:
        numbers: list[str] = shortest_decimals(final.decided[:, 0]).to_pylist()
        return numbers
    if task.exclusive:
        return [classes[index] for index in final.decided]
    return [SEPARATOR.join(classes[c] for c in np.flatnonzero(row)) for row in final.decided]
