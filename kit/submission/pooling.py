"""Pool images that share a row of the submission, such as crops: their predictions become the row's."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from kit.competition.samples import Competition
from kit.config import Component, PoolConfig
from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics import get_metric
from kit.predictions import Predictions
from kit.tasks import MULTILABEL, Task


def row_names(pool: PoolConfig, ids: Iterable[str], where: str) -> list[str]:
    """Return the row that each id belongs to.

    Raises:
        KitError: The pattern does not match an id.
    """
    ids = list(ids)
    found = [re.search(pool.image, each) for each in ids]
    odd = [each for each, match in zip(ids, found, strict=True) if match is None]
    if odd:
        raise KitError(
            "submission.pool.image",
            f"'{pool.image}' does not match {len(odd)} {where} ids ({first_few(odd)})",
            "The pattern finds the name of the row in every id",
            code="pattern_mismatch",
        )
    return [match[1] for match in found if match is not None]


def pooled_ids(pool: PoolConfig | None, ids: Iterable[str]) -> tuple[str, ...]:
    """Return the rows that images belong to, each once, in order of the first image."""
    return tuple(ids) if pool is None else tuple(dict.fromkeys(row_names(pool, ids, "test")))


def task_of_rows(pool: PoolConfig | None, competition: Competition) -> Task:
    """Return the task of the rows: multi-label if the images of a row have different classes."""
    if pool is None or not competition.task.exclusive:
        return competition.task
    samples = competition.labeled
    rows = row_names(pool, samples["id"], "training")
    one_class = samples["label"].groupby(rows).nunique().le(1).all()
    return competition.task if one_class else MULTILABEL


def pool_rows(predictions: Predictions, pool: PoolConfig, task: Task) -> Predictions:
    """Return the predictions of the rows.

    Args:
        task: The task of the rows.
    """
    names = row_names(pool, predictions.ids, predictions.origin.kind)
    return predictions.pooled(names, pool.how, task)


def pool_scored(
    scored: LabeledPredictions, pool: PoolConfig, task: Task, metric: Component
) -> LabeledPredictions:
    """Return the OOF rows of the submission's rows.

    Raises:
        KitError: The images of a row are in several folds, so that a model saw a part of what it is scored
            on; or the metric does not suit the rows' task.
    """
    names = row_names(pool, scored.oof.ids, "training")
    first = pd.Series(np.arange(len(names))).groupby(names, sort=False).first().to_numpy()
    parts = pd.Series(scored.parts).groupby(names, sort=False).nunique()
    torn = list(parts.index[parts > 1])
    if torn:
        raise KitError(
            "submission.pool.image",
            f"images of {len(torn)} rows are in several folds ({first_few(torn)})",
            "The images of a row belong in one fold; otherwise the score is too good",
            "Set `competition.group_pattern` to the same pattern, and train again.",
            code="groups_split",
        )
    width = len(scored.oof.classes)
    truth = pd.DataFrame(scored.task.one_hot(scored.targets, width)).groupby(names, sort=False).max()
    matrix = truth.to_numpy(np.float32)
    return LabeledPredictions(
        oof=pool_rows(scored.oof, pool, task),
        validated=[mask[first] for mask in scored.validated],
        targets=matrix.argmax(axis=1) if task.exclusive else matrix,
        parts=scored.parts[first],
        units=None if scored.units is None else scored.units[first],
        task=task,
        metric=get_metric(metric, task),
    )
