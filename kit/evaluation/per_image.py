"""Pool predictions of crops into predictions of the images they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables.read import read_table
from kit.errors import KitError
from kit.metrics import get_metric
from kit.predictions import Pooling, Predictions, load_held_out, load_oof
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import MULTILABEL, tasks

SCORES = ("f1_macro", "roc_auc")


@dataclass(frozen=True)
class PerImage:
    """The scores of predictions pooled per image.

    Attributes:
        name: ``oof``, or the name of a held-out set.
        scores: Metric -> score on the images, as a multi-label task; None if it cannot be computed.
        file: The file of the pooled predictions.
    """

    name: str
    images: int
    scores: dict[str, float | None]
    file: Path


def pool(predictions: Predictions, image_of: pd.Series, how: Pooling) -> Predictions:
    """Return predictions per image: for each class the maximum or the mean over the image's crops.

    Args:
        image_of: Crop id (the index) -> image id.

    Returns:
        Multi-label predictions, one row per image, in order of their first crop.

    Raises:
        KitError: The image of a crop is unknown.
    """
    unknown = [i for i in predictions.ids if i not in image_of.index]
    if unknown:
        raise KitError(
            predictions.origin.experiment,
            f"{len(unknown)} crops belong to no image (first: {unknown[0]})",
            code="image_unknown",
        )
    return predictions.pooled(list(image_of.loc[list(predictions.ids)]), how, MULTILABEL)


def pool_run(run: RunFolder, workspace: Workspace, how: Pooling) -> list[PerImage]:
    """Write a run's OOF and held-out predictions per image, and return their scores.

    An image has a class if one of its crops has it.

    Raises:
        KitError: The run's samples are whole images.
    """
    tables = {"oof": (load_oof(run), read_table(workspace.folds(run.competition)))}
    for name in run.held_out_sets():
        truth = read_table(workspace.truth(run.competition, name))
        tables[name] = (load_held_out(run, name), truth)
    results = []
    for name, (predictions, table) in tables.items():
        is_soft = tasks.get(predictions.origin.task).soft
        if not {"group", "label"} <= set(table.columns) or is_soft:
            raise KitError(
                run.label,
                "predicts whole images",
                "Only crops (voc.as: crops) can be pooled per image",
                code="no_crops",
            )
        pooled = pool(predictions, table.set_index("id")["group"], how)
        pooled.save(run.per_image(name))
        results.append(PerImage(name, len(pooled.ids), _scores(pooled, table), run.per_image(name)))
    return results


def _scores(pooled: Predictions, table: pd.DataFrame) -> dict[str, float | None]:
    task = MULTILABEL
    shown = pd.crosstab(table["group"], table["label"]).clip(upper=1)
    truth = shown.reindex(index=list(pooled.ids), columns=list(pooled.classes), fill_value=0)
    scores: dict[str, float | None] = {}
    for name in SCORES:
        try:
            scores[name] = get_metric(name, task)(truth.to_numpy(np.float32), pooled.probs, task)
        except KitError:
            scores[name] = None  # every image, or none, has some class
    return scores
