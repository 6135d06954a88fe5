"""What the submission check compares a file with: predictions, class counts, the previous submission."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kit.predictions import FinalPredictions


@dataclass(frozen=True)
class CheckContext:
    """What a submission is compared with; every part is optional.

    Attributes:
        class_counts: Images per class, (C,), in the order of the format's classes.
        counts_source: The source of the counts: a run's OOF predictions, or the training labels.
        counts_are_predictions: Whether the counts are of predictions, which a submission should resemble.
        training_range: The smallest and the largest number of the training images, for a regression.
        predictions: A run's test predictions, in the order of the format's images.
        predictions_source: The name of the run.
        previous: The previous submission.
        unlisted: Test images that the sample does not list.
        vanished: Ids of the sample that are not test images.
        max_bytes: The largest allowed file size.
    """

    class_counts: np.ndarray | None = None
    counts_source: str = ""
    counts_are_predictions: bool = False
    training_range: tuple[float, float] | None = None
    predictions: FinalPredictions | None = None
    predictions_source: str = ""
    previous: Path | None = None
    unlisted: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    max_bytes: int | None = None


NO_CONTEXT = CheckContext()
