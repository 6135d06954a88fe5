"""Check before training that the metric can score every fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kit.errors import KitError, first_few
from kit.training.data import TrainingData


def check_scorable(data: TrainingData, folds: Sequence[int]) -> None:
    """Refuse a fold on whose validation images the metric is undefined.

    Raises:
        KitError: Names the fold, and the classes that none or all of its images have.
    """
    _score_prior(data, np.arange(len(data.samples)))  # raises if the metric does not suit the task
    metric = data.competition.metric
    for k in folds:
        rows = np.flatnonzero(data.folds.validation(data.samples, k))
        try:
            _score_prior(data, rows)
        except KitError as error:
            odd = _oddities(data, data.targets()[rows])
            raise KitError(
                f"fold {k}",
                f"{metric.name} cannot be computed on its {len(rows)} validation images ({first_few(odd)})",
                error.rule,
                "Use fewer folds (`folds.count`) or another `competition.metric`.",
                code="metric_not_computable",
            ) from error


def _oddities(data: TrainingData, targets: np.ndarray) -> list[str]:
    """Return what is unusual about the labels of some images."""
    competition, number = data.competition, len(targets)
    if competition.task.numeric:
        return [f"their labels range from {targets.min():g} to {targets.max():g}"]
    counts = competition.task.one_hot(targets, len(competition.classes)).sum(axis=0)
    of_classes = list(zip(competition.classes, counts, strict=True))
    odd = [f"none has {name}" for name, n in of_classes if n == 0]
    return odd + [f"all have {name}" for name, n in of_classes if n == number]


def _score_prior(data: TrainingData, rows: np.ndarray) -> float:
    """Return the score of the class prior as prediction for some samples."""
    competition, targets = data.competition, data.targets()[rows]
    prior = competition.task.prior(targets, len(competition.classes))
    return competition.metric(targets, np.tile(prior, (len(rows), 1)), competition.task)
