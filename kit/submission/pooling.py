"""Pool the predictions of images that share a row of the submission, such as crops."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from kit.competition.samples import Competition
from kit.config import Component, PoolConfig
from kit.errors import KitError, counted, first_few
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics import get_metric
from kit.predictions import Predictions
from kit.tasks import MULTILABEL, Task

ROW = "row"  # the column of ``Competition.test`` with the row of an image


def row_names(pool: PoolConfig, ids: Iterable[str], where: str) -> list[str]:
    """Return the row that each id belongs to.

    Raises:
        KitError: The pattern does not match an id.
    """
    ids = list(ids)
    matches = [re.search(pool.image, each) for each in ids]
    unmatched = [each for each, match in zip(ids, matches, strict=True) if match is None]
    if unmatched:
        raise KitError(
            "submission.pool.image",
            f"'{pool.image}' does not match {counted(len(unmatched), f'{where} id')} "
            f"({first_few(unmatched)})",
            "The pattern must match the name of the row in every id",
            code="pattern_mismatch",
        )
    return [match[1] for match in matches if match is not None]


def test_rows(pool: PoolConfig | None, competition: Competition) -> pd.Series | None:
    """Return the row of the submission of each test image, by image id; None if a row is one image.

    Raises:
        KitError: The config gives the rows of images twice, or its pattern does not match an id.
    """
    test = competition.test
    if ROW not in test:
        return None if pool is None else pd.Series(row_names(pool, test["id"], "test"), index=test["id"])
    if pool is not None:
        raise KitError(
            "submission.pool",
            "names the rows of images, and so does competition.test.row",
            "The row of an image is known once",
            "Remove one of them.",
            code="rows_known_twice",
        )
    rows: pd.Series = test.set_index("id")[ROW]
    return rows


def submitted_ids(pool: PoolConfig | None, competition: Competition) -> tuple[str, ...]:
    """Return the ids of the submission's rows, each once, in order of the first image."""
    rows = test_rows(pool, competition)
    return tuple(competition.test["id"] if rows is None else dict.fromkeys(rows))


def task_of_rows(pool: PoolConfig | None, competition: Competition) -> Task:
    """Return the task of the rows: multi-label if the images of a row have different classes."""
    if pool is None or not competition.task.exclusive or competition.task.soft:
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


def pool_test(
    predictions: Predictions, pool: PoolConfig | None, competition: Competition, task: Task
) -> Predictions:
    """Return the test predictions of the submission's rows.

    Args:
        task: The task of the rows.
    """
    if pool is not None:
        return pool_rows(predictions, pool, task)
    rows = test_rows(pool, competition)
    return (
        predictions
        if rows is None
        else predictions.pooled(list(rows.loc[list(predictions.ids)]), "mean", task)
    )


def pool_labeled(
    labeled: LabeledPredictions, pool: PoolConfig, task: Task, metric: Component
) -> LabeledPredictions:
    """Return labeled OOF predictions pooled to the rows of the submission.

    Raises:
        KitError: The images of a row are in several folds, so that a model was trained on a part of a row
            that it predicts; or the metric does not suit the task of the rows.
    """
    names = row_names(pool, labeled.oof.ids, "training")
    first = pd.Series(np.arange(len(names))).groupby(names, sort=False).first().to_numpy()
    parts = pd.Series(labeled.parts).groupby(names, sort=False).nunique()
    split = list(parts.index[parts > 1])
    if split:
        raise KitError(
            "submission.pool.image",
            f"images of {len(split)} rows are in several folds ({first_few(split)})",
            "All images of a row must be in one fold; otherwise the score is optimistic",
            "Set `competition.group_pattern` to the same pattern, and train again.",
            code="groups_split",
        )
    one_hot = pd.DataFrame(labeled.task.one_hot(labeled.targets, len(labeled.oof.classes)))
    grouped = one_hot.groupby(names, sort=False)
    averaged = task.numeric or task.soft
    matrix = grouped.mean().to_numpy() if averaged else grouped.max().to_numpy(np.float32)
    targets = matrix.argmax(axis=1) if task.exclusive and not task.soft else matrix
    return LabeledPredictions(
        oof=pool_rows(labeled.oof, pool, task),
        validated=[mask[first] for mask in labeled.validated],
        targets=targets,
        parts=labeled.parts[first],
        units=None if labeled.units is None else labeled.units[first],
        task=task,
        metric=get_metric(metric, task).for_rows(targets, matrix.shape[1], task),
    )
