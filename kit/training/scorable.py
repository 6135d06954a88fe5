"""Check before training that the metric can score every fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit.errors import KitError, counted, first_few
from kit.runtime.progress import Progress
from kit.training.data import TrainingData

FEWER_FOLDS = "Use fewer folds (`folds.count`) or another `competition.metric`."
MORE_IMAGES = "Add training images, or set another `competition.metric`."


def check_scorable(data: TrainingData, folds: Sequence[int], progress: Progress) -> None:
    """Refuse folds on whose validation images the metric is undefined; name classes that have no score.

    Raises:
        KitError: Names the fold, and the classes that none or all of its images have.
    """
    name = data.competition.metric.name
    masks = [data.folds.validation(data.samples, k) for k in range(data.folds.models)]
    everywhere = _without_score(data, np.any(masks, axis=0), "folds", MORE_IMAGES)
    if everywhere:
        needed = "it needs validated images with and without a class"
        progress.warn(f"{name} leaves out {first_few(everywhere)}: {needed}")
    for k in folds:
        without = _without_score(data, masks[k], f"fold {k}", FEWER_FOLDS)
        left_out = [each for each in without if each not in everywhere]
        if left_out:
            why = "which none or all of its validation images have"
            progress.note(f"fold {k}: the score of its epochs leaves out {first_few(left_out)}, {why}")


def _oddities(data: TrainingData, targets: np.ndarray) -> list[str]:
    """Return what is unusual about the labels of some images."""
    competition, number = data.competition, len(targets)
    if competition.task.numeric:
        return [f"their labels range from {targets.min():g} to {targets.max():g}"]
    classes = competition.task.majority(targets)
    counts = competition.task.one_hot(classes, len(competition.classes)).sum(axis=0)
    of_classes = list(zip(competition.classes, counts, strict=True))
    odd = [f"none has {name}" for name, n in of_classes if n == 0]
    return odd + [f"all have {name}" for name, n in of_classes if n == number]


def _without_score(data: TrainingData, rows: np.ndarray, where: str, remedy: str) -> list[str]:
    """Return the classes that the metric leaves out on some samples, (N,) bool.

    Raises:
        KitError: The metric cannot be computed on these samples.
    """
    classes, task, targets = data.competition.classes, data.competition.task, data.targets()[rows]
    try:
        metric = data.competition.metric.for_rows(targets, len(classes), task)
        metric(targets, np.tile(task.prior(targets, len(classes)), (len(targets), 1)), task)
    except KitError as error:
        if not (odd := _oddities(data, targets)):
            raise
        raise KitError(
            where,
            f"{data.competition.metric.name} cannot be computed on "
            f"{counted(rows.sum(), 'validation image')} ({first_few(odd)})",
            error.rule,
            remedy,
            code="metric_not_computable",
        ) from error
    return [] if metric.scored is None else [n for c, n in enumerate(classes) if c not in metric.scored]
