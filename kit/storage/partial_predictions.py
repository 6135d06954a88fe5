"""Store the predictions of one model for one set of images until all models have predicted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from kit.storage.files import atomic_write


@dataclass(frozen=True)
class PartialPredictions:
    """Predictions of one model for a set of images, with one view or several merged.

    Attributes:
        probs: (N, C), float32, rows in the set's order; zeros for unreadable images.
        problems: Row -> why the image is unreadable.
        read_seconds: Seconds spent on reading images.
        predict_seconds: Seconds spent on views and the model.
    """

    probs: np.ndarray
    problems: dict[int, str]
    read_seconds: float
    predict_seconds: float


def partial_file(folder: Path, fold: int, key: str) -> Path:
    """Return the path of a fold's predictions in a folder of partial predictions.

    Args:
        key: What decides the predictions: the model, the images, the views.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return folder / f"fold-{fold}-{digest}.npz"


def write_partial_predictions(path: Path, predictions: PartialPredictions) -> None:
    """Write predictions atomically."""
    problems = np.array(json.dumps(predictions.problems))
    seconds = np.array([predictions.read_seconds, predictions.predict_seconds])
    with atomic_write(path) as draft, draft.open("wb") as file:
        np.savez(file, probs=predictions.probs, problems=problems, took=seconds)


def read_partial_predictions(path: Path) -> PartialPredictions | None:
    """Return the predictions in a file, or None if the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            problems = {int(row): text for row, text in json.loads(str(arrays["problems"])).items()}
            read_seconds, predict_seconds = arrays["took"].tolist()
            return PartialPredictions(arrays["probs"], problems, read_seconds, predict_seconds)
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
