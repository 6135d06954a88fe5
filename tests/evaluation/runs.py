"""Write a run with out-of-fold predictions, without images or training."""

from dataclasses import replace

import numpy as np
import pandas as pd

from kit.config import Config
from kit.config.load import config_yaml
from kit.folds.table import Folds, save_folds
from kit.predictions import Origin, Predictions
from kit.storage.files import text_digest, write_text
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks

VIEWS = ("identity",)


def write_run(
    workspace: Workspace,
    task: str,
    metric,
    targets: np.ndarray,
    probs: np.ndarray,
    classes: tuple[str, ...],
    folds: np.ndarray | None = None,
    name: str = "made",
    groups=None,
    **more,
) -> RunFolder:
    """Write the config, folds, OOF predictions and empty test predictions of a run, and return the run."""
    number, kind = len(targets), tasks.get(task)
    ids = [f"id {n:04d}" for n in range(number)]
    fold = np.arange(number) % 5 if folds is None else folds
    table = pd.DataFrame({"id": ids, "fold": fold})
    if groups is not None:
        table["group"] = groups
    labels = (
        {"label": np.array(classes)[targets]}
        if kind.exclusive
        else dict(zip(classes, targets.T.astype(int), strict=True))
    )
    split = Folds(table.assign(**labels), kind.label_columns(classes), int(fold.max()) + 1)
    save_folds(split, workspace.folds("made"))
    values = {
        "name": name,
        "competition": {
            "name": "made",
            "data": "made",
            "task": task,
            "metric": metric,
            "train": {"layout": "class_folders"},
            "test": None,
        },
        "model": {"name": "simple_cnn", "pretrained": False},
        **more,
    }
    run = workspace.run("made", name)
    write_text(run.config, config_yaml(Config.model_validate(values)))
    origin = Origin("oof", task, run.label, split.fingerprint, VIEWS, "m", "i")
    Predictions(tuple(ids), classes, kind.normalized(probs), origin).save(run.oof)
    empty = Predictions((), classes, np.zeros((0, len(classes)), np.float32), replace(origin, kind="test"))
    empty.save(run.test)
    return run


def write_held_out(workspace: Workspace, run: RunFolder, targets, probs, classes, models="m") -> None:
    """Write the probabilities and labels of the held-out set ``later`` of a multilabel run."""
    ids = [f"held {n}" for n in range(len(targets))]
    truth = pd.DataFrame(targets.astype(int), columns=list(classes))
    truth.insert(0, "id", ids)
    text = truth.to_csv(index=False, lineterminator="\n")
    write_text(workspace.truth("made", "later"), text)
    labels = text_digest(text)
    origin = Origin("held_out", "multilabel", run.label, "f", VIEWS, models, "i", part="later", labels=labels)
    Predictions(tuple(ids), classes, probs, origin).save(run.held_out("later"))
