"""Several test images, such as crops, that share a row: their predictions become those of the row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from kit.competition.samples import Competition
from kit.config import Component, PoolConfig
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import Scored
from kit.metrics import get_metric
from kit.predictions import Predictions
from kit.tasks import Task, tasks

SEVERAL = "multilabel"


def row_names(pool: PoolConfig, ids: Iterable[str], where: str) -> list[str]:
    """Return the row that each id belongs to.

    Raises:
        KitError: The pattern finds nothing in an id.
    """
    ids = list(ids)
    found = [re.search(pool.image, each) for each in ids]
    odd = [each for each, match in zip(ids, found, strict=True) if match is None]
    if odd:
        raise KitError(
            "submission.pool.image",
            f"'{pool.image}' finds nothing in {len(odd)} {where} ids ({first_few(odd)})",
            "It finds in every id what its row is called",
        )
    return [match[1] for match in found if match is not None]


def pooled_names(pool: PoolConfig | None, ids: Iterable[str]) -> tuple[str, ...]:
    """Return the rows that images belong to, each once, in order of the first image."""
    return tuple(ids) if pool is None else tuple(dict.fromkeys(row_names(pool, ids, "test")))


def task_of_rows(pool: PoolConfig | None, competition: Competition) -> Task:
    """Return the task of the rows: their images may have one class each, and the row several."""
    if pool is None or not competition.task.exclusive:
        return competition.task
    samples = competition.labelled
    rows = row_names(pool, samples["id"], "training")
    alike = samples["label"].groupby(rows).nunique().le(1).all()
    return competition.task if alike else tasks.get(SEVERAL)


def pooled(predictions: Predictions, pool: PoolConfig, task: Task) -> Predictions:
    """Return the predictions of the rows: per class the mean, or the largest, of their images'.

    Args:
        task: Of the rows; of exclusive classes the probabilities sum to 1 again.
    """
    names = row_names(pool, predictions.ids, predictions.origin.kind)
    table = pd.DataFrame(predictions.probs.astype(np.float64))
    shares = table.groupby(names, sort=False).agg(pool.how)
    origin = replace(predictions.origin, task=task.name)
    probs = task.normalised(shares.to_numpy())
    return Predictions(tuple(map(str, shares.index)), predictions.classes, probs, origin)


def pooled_scored(scored: Scored, pool: PoolConfig, task: Task, metric: Component) -> Scored:
    """Return the OOF rows of images that share a row as one.

    Raises:
        KitError: Images of a row lie in several folds, so that a model saw a part of what it is scored on; or
            the metric does not suit the rows' task.
    """
    names = row_names(pool, scored.oof.ids, "training")
    first = pd.Series(np.arange(len(names))).groupby(names, sort=False).first().to_numpy()
    parts = pd.Series(scored.parts).groupby(names, sort=False).nunique()
    torn = list(parts.index[parts > 1])
    if torn:
        raise KitError(
            "submission.pool.image",
            f"images of {len(torn)} rows lie in several folds ({first_few(torn)})",
            "What shares a row shares a fold, or its score is too good",
            "Set `competition.group_pattern` likewise, and train anew.",
        )
    width = len(scored.oof.classes)
    truth = pd.DataFrame(scored.task.one_hot(scored.targets, width)).groupby(names, sort=False).max()
    several = truth.to_numpy(np.float32)
    return Scored(
        oof=pooled(scored.oof, pool, task),
        validated=[mask[first] for mask in scored.validated],
        targets=several.argmax(axis=1) if task.exclusive else several,
        parts=scored.parts[first],
        units=None if scored.units is None else scored.units[first],
        task=task,
        metric=get_metric(metric, task),
    )
