"""What one model said of one set of images, kept on disk until the predictions of all are written."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from kit.workspace import written_whole


def write_answers(path: Path, probs: np.ndarray, problems: dict[int, str]) -> None:
    """Write probabilities (N, C) and position -> what was wrong with the image, whole or not at all."""
    with written_whole(path) as draft, draft.open("wb") as file:
        np.savez(file, probs=probs, problems=np.array(json.dumps(problems)))


def read_answers(path: Path) -> tuple[np.ndarray, dict[int, str]] | None:
    """Return what ``write_answers`` wrote, or None if there is nothing whole."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            problems = json.loads(str(arrays["problems"]))
            return arrays["probs"], {int(position): text for position, text in problems.items()}
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
