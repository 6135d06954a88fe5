"""What one model said of one set of images, kept on disk until the predictions of all are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from kit.storage.files import written_whole


@dataclass(frozen=True)
class Answers:
    """What a model says of a set of images, through one view or several merged.

    Attributes:
        probs: (N, C), float32, rows in the set's order; those of unreadable images are zero.
        problems: Position -> what is wrong with the image.
        reading: Seconds that reading the images took.
        seconds: Beside that, the seconds that it took to make the views and to ask the model.
    """

    probs: np.ndarray
    problems: dict[int, str]
    reading: float
    seconds: float


def write_answers(path: Path, answers: Answers) -> None:
    """Write answers, whole or not at all."""
    problems = np.array(json.dumps(answers.problems))
    took = np.array([answers.reading, answers.seconds])
    with written_whole(path) as draft, draft.open("wb") as file:
        np.savez(file, probs=answers.probs, problems=problems, took=took)


def read_answers(path: Path) -> Answers | None:
    """Return what ``write_answers`` wrote, or None if there is nothing whole."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            problems = json.loads(str(arrays["problems"]))
            by_position = {int(position): text for position, text in problems.items()}
            reading, seconds = arrays["took"].tolist()
            return Answers(arrays["probs"], by_position, reading, seconds)
    except (OSError, KeyError, ValueError, BadZipFile):
        return None
