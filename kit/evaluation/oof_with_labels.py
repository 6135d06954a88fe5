"""OOF predictions beside the truth: they meet by id, and only on the folds they were made with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables import read_table
from kit.config import Config
from kit.config.load import load_config
from kit.errors import KitError, first_few
from kit.folds.table import Folds, read_folds
from kit.metrics import Metric, get_metric
from kit.postprocess.fit import Rows
from kit.predictions import MIXED_FOLDS, Predictions, load_predictions
from kit.runtime.seeds import stable_seed
from kit.storage.files import read_json
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import Task, tasks

PARTS = 5  # of rows that one model validated: what is learned on them is proved on a fifth left out
GROUP = "group"


@dataclass(frozen=True)
class Scored:
    """OOF predictions beside the truth, rows in the same order.

    Attributes:
        validated: Which rows each model was validated on, (N,), bool; of repeats, the rows' mean is scored.
        targets: As ``Task.targets`` gives them.
        parts: (N,), which rows are left out together when something is learned on OOF: the folds of the
            first repeat, or fifths of the groups or ids where one model validated all.
        units: (N,), which rows share a group: they are drawn together for an interval; None: no groups.
    """

    oof: Predictions
    validated: list[np.ndarray]
    targets: np.ndarray
    parts: np.ndarray
    units: np.ndarray | None
    task: Task
    metric: Metric

    @property
    def rows(self) -> Rows:
        """The rows as decisions are learned from them."""
        return Rows(self.targets, self.oof.probs, self.oof.classes, self.task, self.metric)

    def score(self) -> float:
        """Return the metric over all rows."""
        return self.metric(self.targets, self.oof.probs, self.task)


def config_of(run: RunFolder) -> Config:
    """Return the config of an experiment, or the one that a blend took over from its first member."""
    if run.config.exists():
        return load_config(run.config)
    return Config.model_validate(read_json(run.blend)["config"])


def beside_truth(run: RunFolder, workspace: Workspace) -> Scored:
    """Return a run's OOF predictions joined by id to the labels in the folds CSV.

    Raises:
        KitError: There are none yet, the folds CSV has changed since, or they come from different folds.
    """
    oof = load_predictions(run.oof)
    if oof.origin.folds == MIXED_FOLDS:
        raise KitError(
            run.label,
            "its members were trained on different folds",
            "A score would not be honest: there is none",
            f"`kit submit {run.label}` works all the same.",
            code="folds_mixed",
        )
    return scored(oof, config_of(run), workspace)


def scored(oof: Predictions, config: Config, workspace: Workspace) -> Scored:
    """Return OOF predictions joined by id to the labels in the folds CSV that they were made with.

    Raises:
        KitError: The folds CSV has changed since, or lacks an id.
    """
    path = workspace.folds(config.competition.name)
    folds = _folds(oof, path)
    if folds.fingerprint != oof.origin.folds:
        raise KitError(
            path,
            f"has changed since {oof.origin.experiment} was trained",
            "A score needs the labels and folds it was made with",
            "Bring the file back, or train anew with --fresh.",
            code="folds_differ",
        )
    return _joined(oof, folds, config, path)


def beside_labels(oof: Predictions, config: Config, workspace: Workspace) -> Scored:
    """Return OOF predictions joined by id to the labels in the folds CSV, whichever folds they come from.

    Raises:
        KitError: The folds CSV lacks an id.
    """
    path = workspace.folds(config.competition.name)
    return _joined(oof, _folds(oof, path), config, path)


def held_out(run: RunFolder, name: str, workspace: Workspace, like: Scored) -> Scored:
    """Return a run's predictions for a held-out set beside its labels.

    Args:
        like: The run's OOF rows, with the task and the metric.

    Raises:
        KitError: Other models predicted the set than the OOF rows, or its labels lack an id.
    """
    predicted = load_predictions(run.held_out(name))
    if predicted.origin.models != like.oof.origin.models:
        raise KitError(
            f"{run.label}, held out {name}",
            f"other models predicted it: run `kit predict {run.label}` again",
            code="models_differ",
        )
    truth = read_truth(workspace.truth(run.competition, name), predicted, like.task)
    targets = like.task.targets(truth, predicted.classes)
    alone = np.zeros(len(targets), dtype=np.int64)
    return Scored(predicted, [], targets, alone, None, like.task, like.metric)


def _folds(oof: Predictions, path: Path) -> Folds:
    return read_folds(path, tasks.get(oof.origin.task).label_columns(oof.classes))


def _joined(oof: Predictions, folds: Folds, config: Config, path: Path) -> Scored:
    by_id = folds.table.set_index("id")
    missing = sorted(set(oof.ids) - set(by_id.index))
    if missing:
        raise KitError(
            path,
            f"lacks {len(missing)} ids of {oof.origin.experiment} ({first_few(missing)})",
            code="ids_missing",
        )
    table, task = by_id.loc[list(oof.ids)].reset_index(), tasks.get(oof.origin.task)
    return Scored(
        oof=oof,
        validated=[folds.validation(table, k) for k in range(folds.models)],
        targets=task.targets(table, oof.classes),
        parts=_parts(folds, table),
        units=_names(table).factorize()[0] if GROUP in table else None,
        task=task,
        metric=get_metric(config.competition.metric, task),
    )


def _parts(folds: Folds, table: pd.DataFrame) -> np.ndarray:
    """Return which rows are left out together, (N,): a row's part depends on its id or group alone."""
    first = table[folds.columns[0]].to_numpy()
    if len(np.unique(first)) > 1:
        return first
    names = _names(table)
    dealt = sorted(names.unique(), key=lambda name: (stable_seed("part", name), name))
    return names.map({name: number % PARTS for number, name in enumerate(dealt)}).to_numpy()


def _names(table: pd.DataFrame) -> pd.Series:
    """Return what each row stands and falls with: its group, or its own id where it has none."""
    if GROUP not in table:
        return table["id"]
    own = "id " + table["id"]
    return ("group " + table[GROUP].astype(str)).where(table[GROUP].astype(str) != "", own)


def read_truth(path: Path, predicted: Predictions, task: Task) -> pd.DataFrame:
    """Return the rows of a truth CSV that belong to predictions, in their order.

    Raises:
        KitError: An id is missing: the set has changed since.
    """
    table = read_table(path)
    labels = task.label_columns(predicted.classes)
    lacking = [name for name in ("id", *labels) if name not in table]
    missing = [] if lacking else sorted(set(predicted.ids) - set(table["id"]))
    if lacking or missing:
        raise KitError(
            path,
            f"lacks {first_few(lacking or missing)}",
            "It holds the labels of what was predicted",
            f"Run `kit predict {predicted.origin.experiment}` again.",
            code="truth_incomplete",
        )
    return table.set_index("id").loc[list(predicted.ids)]
