"""What else is known when a file is checked: predictions, shares of classes, the submission before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.predictions import FinalPredictions


@dataclass(frozen=True)
class Surroundings:
    """What else is known; every part may be missing.

    Attributes:
        decided: How many images have each class, (C,), in the order of the form's classes.
        decided_of: Of what: the out-of-fold predictions of a run, or the training labels.
        predicted: Whether those are predictions, so that a file of predictions should have the same shares.
        answers: What a run says of the test images, in the order of the form's images.
        answers_of: The run.
        previous: The submission that was written before this one.
        unlisted: Test images that the sample does not list.
        vanished: Ids of the sample that are no test image.
        max_bytes: How large the file may be.
    """

    decided: np.ndarray | None = None
    decided_of: str = ""
    predicted: bool = False
    answers: FinalPredictions | None = None
    answers_of: str = ""
    previous: Path | None = None
    unlisted: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    max_bytes: int | None = None


NOTHING = Surroundings()
