"""Join OOF and held-out predictions with labels by id, and check that the folds have not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from kit.competition.tables.read import read_table
from kit.config import Config
from kit.config.load import load_stored_config
from kit.errors import KitError, counted, first_few
from kit.folds.table import Folds, read_folds
from kit.metrics import Metric, get_metric
from kit.postprocess.step import LabeledProbs
from kit.predictions import MIXED_FOLDS, Predictions, load_held_out, load_oof
from kit.runtime.seeds import stable_seed
from kit.storage.files import file_digest
from kit.storage.provenance import check_folder_name, renewal
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import Task, tasks
from kit.wrong_values import rule_for

NUM_PARTS = 5  # parts for nested cross-validation if one model validated all rows
GROUP = "group"


@dataclass(frozen=True)
class LabeledPredictions:
    """OOF or held-out predictions with labels, rows in the same order.

    Attributes:
        validated: For each model, the mask (N,) of the rows it was validated on.
        targets: As ``Task.targets`` returns them.
        parts: (N,), the part of each row for nested cross-validation: the fold of the first repeat, or one of
            five parts by group or id if one model validated all rows.
        units: (N,), the group of each row, drawn as a whole by the bootstrap; None: no groups.
    """

    oof: Predictions
    validated: list[np.ndarray]
    targets: np.ndarray
    parts: np.ndarray
    units: np.ndarray | None
    task: Task
    metric: Metric

    @property
    def rows(self) -> LabeledProbs:
        """Probabilities and labels, to fit postprocessing on."""
        return LabeledProbs(self.targets, self.oof.probs, self.oof.classes, self.task, self.metric)

    def score(self) -> float:
        """Return the metric over all rows."""
        return self.metric(self.targets, self.oof.probs, self.task)

    def of_classes(self, classes: Sequence[str]) -> LabeledPredictions:
        """Return the predictions and labels of some of the classes, which a submission contains.

        If classes are exclusive, the images of the other classes are left out; so are distributions without
        a share of these classes, and the shares of others are divided by their sum.
        """
        if set(classes) == set(self.oof.classes):
            return self
        columns = pd.Index(self.oof.classes).get_indexer(pd.Index(classes))
        if self.task.soft:
            rows = self.targets[:, columns].sum(axis=1) > 0
            targets = self.targets[rows][:, columns]
            targets = targets / targets.sum(axis=1, keepdims=True)
        elif self.task.exclusive:
            rows = np.isin(self.targets, columns)
            targets = np.argsort(columns)[np.searchsorted(np.sort(columns), self.targets[rows])]
        else:
            rows = np.ones(len(self.targets), dtype=bool)
            targets = self.targets[:, columns]
        oof = self.oof.of_ids([i for i, kept in zip(self.oof.ids, rows, strict=True) if kept])
        return replace(
            self,
            oof=oof.of_classes(classes, self.task),
            validated=[mask[rows] for mask in self.validated],
            targets=targets,
            parts=self.parts[rows],
            units=None if self.units is None else self.units[rows],
            metric=replace(self.metric, scored=None).for_rows(targets, len(classes), self.task),
        )


def config_of(run: RunFolder) -> Config:
    """Return the config of an experiment; for a blend, that of its first member.

    Raises:
        KitError: It is damaged, or the folder was renamed or copied.
    """
    if not run.config.exists():
        return _config_of_blend(run)
    config = load_stored_config(run.config)
    check_folder_name(run, f"{config.competition.name}/{config.name}")
    return config


def _config_of_blend(run: RunFolder) -> Config:
    values, _ = read_blend(run)
    try:
        return Config.model_validate(values["config"])
    except ValidationError as error:
        raise KitError(
            run.blend,
            f"has an invalid config: {rule_for(error.errors()[0])}",
            "`kit blend` writes that of the first member",
            f"Run `{values['command']}`.",
            code="file_damaged",
        ) from error


def load_labeled_oof(run: RunFolder, workspace: Workspace) -> LabeledPredictions:
    """Return a run's OOF predictions joined by id with the labels of the folds CSV.

    Raises:
        KitError: There are no predictions, the folds CSV has changed, or blend members have different folds.
    """
    oof = load_oof(run)
    if oof.origin.folds == MIXED_FOLDS:
        raise KitError(
            run.label,
            "has members that were trained on different folds",
            "A model may have been trained on the rows that another one predicts, so CV would be optimistic",
            f"`kit submit {run.label}` works without a score.",
            code="folds_mixed",
        )
    return label_oof(oof, config_of(run), workspace)


def label_oof(
    oof: Predictions, config: Config, workspace: Workspace, any_folds: bool = False
) -> LabeledPredictions:
    """Return OOF predictions joined by id with the labels of the folds CSV.

    Args:
        any_folds: Whether the predictions may come from other folds than those of the CSV.

    Raises:
        KitError: The folds CSV has changed, or lacks an id.
    """
    path = workspace.folds(config.competition.name)
    folds = read_folds(path, tasks.get(oof.origin.task).label_columns(oof.classes))
    if folds.fingerprint != oof.origin.folds and not any_folds:
        raise KitError(
            path,
            f"has changed since {oof.origin.experiment} was trained",
            "A score needs the folds that the models were trained on",
            "Restore the file, or train again with --fresh.",
            code="folds_differ",
        )
    return _join(oof, folds, config, path)


def load_labeled_held_out(
    run: RunFolder, name: str, workspace: Workspace, like: LabeledPredictions
) -> LabeledPredictions:
    """Return a run's predictions for a held-out set, with labels.

    Args:
        like: The run's OOF predictions, for the task and the metric.

    Raises:
        KitError: The set was predicted by other models than the OOF rows, or its labels have changed.
    """
    predicted = load_held_out(run, name)
    if predicted.origin.models != like.oof.origin.models:
        raise KitError(
            f"{run.label}, held out {name}",
            "was predicted by other models than the OOF predictions",
            next=f"Run `kit predict {run.label}` again.",
            code="models_differ",
        )
    path = workspace.truth(run.competition, name)
    if not path.exists() or file_digest(path) != predicted.origin.labels:
        raise KitError(
            path,
            "has changed since the predictions were made, or is missing",
            "Predictions are scored with the labels that the competition had then",
            f"Run `{renewal(run)}` again.",
            code="truth_changed",
        )
    truth = read_truth(path, predicted, like.task)
    targets = like.task.targets(truth, predicted.classes)
    one_part = np.zeros(len(targets), dtype=np.int64)
    return LabeledPredictions(predicted, [], targets, one_part, None, like.task, like.metric)


def _join(oof: Predictions, folds: Folds, config: Config, path: Path) -> LabeledPredictions:
    by_id = folds.table.set_index("id")
    missing = sorted(set(oof.ids) - set(by_id.index))
    if missing:
        raise KitError(
            path,
            f"lacks {counted(len(missing), 'id')} of {oof.origin.experiment} ({first_few(missing)})",
            code="ids_missing",
        )
    table, task = by_id.loc[list(oof.ids)].reset_index(), tasks.get(oof.origin.task)
    targets = task.targets(table, oof.classes)
    return LabeledPredictions(
        oof=oof,
        validated=[folds.validation(table, k) for k in range(folds.models)],
        targets=targets,
        parts=_parts(folds, table),
        units=_unit_names(table).factorize()[0] if GROUP in table else None,
        task=task,
        metric=get_metric(config.competition.metric, task).for_rows(targets, len(oof.classes), task),
    )


def _parts(folds: Folds, table: pd.DataFrame) -> np.ndarray:
    """Return each row's part for nested cross-validation, (N,); it depends only on the fold, group or id."""
    first = table[folds.columns[0]].to_numpy()
    if len(np.unique(first)) > 1:
        return first
    names = _unit_names(table)
    shuffled = sorted(names.unique(), key=lambda name: (stable_seed("part", name), name))
    return names.map({name: number % NUM_PARTS for number, name in enumerate(shuffled)}).to_numpy()


def _unit_names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each row's unit: its group, or its id if it has no group."""
    if GROUP not in table:
        return table["id"]
    own = "id " + table["id"]
    return ("group " + table[GROUP].astype(str)).where(table[GROUP].astype(str) != "", own)


def read_truth(path: Path, predicted: Predictions, task: Task) -> pd.DataFrame:
    """Return the rows of a label CSV in the order of the predictions.

    Raises:
        KitError: A column or an id is missing.
    """
    table = read_table(path)
    labels = task.label_columns(predicted.classes)
    lacking = [name for name in ("id", *labels) if name not in table]
    missing = [] if lacking else sorted(set(predicted.ids) - set(table["id"]))
    if lacking or missing:
        raise KitError(
            path,
            f"lacks {first_few(lacking or missing)}",
            "It must contain the labels of all predicted ids",
            f"Run `kit predict {predicted.origin.experiment}` again.",
            code="truth_incomplete",
        )
    return table.set_index("id").loc[list(predicted.ids)]
