"""What out-of-fold predictions are worth: the score, per fold, per class, and where the errors are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.competition.cells import read_table
from kit.config import Config
from kit.config_file import load_config
from kit.errors import KitError, first_few
from kit.folds.table import read_folds
from kit.metrics import Metric, get_metric
from kit.predictions import Predictions, load_predictions
from kit.tasks import Task, tasks
from kit.workspace import RunFolder, Workspace, read_json, write_json

MOST_CONFUSED = 10


@dataclass(frozen=True)
class ClassScore:
    """How one class fares: shares of its predictions and of its images that are right, F1, its images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confusion:
    """How many images of class ``true`` were decided to be ``predicted``."""

    true: str
    predicted: str
    count: int


@dataclass(frozen=True)
class Evaluation:
    """The scores of an experiment or blend.

    Attributes:
        cv: The metric over all out-of-fold rows.
        folds: The metric of each fold.
        nested: For a blend, the score that nothing was fitted on; None for an experiment.
        held_out: Name of a labelled set that nothing was trained on -> the metric there.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    cv: float
    folds: list[float]
    nested: float | None
    held_out: dict[str, float]
    rows: int
    tta: list[str]
    classes: list[ClassScore]
    confused: list[Confusion]

    @property
    def mean(self) -> float:
        """The mean of the folds' scores."""
        return float(np.mean(self.folds))

    @property
    def sd(self) -> float:
        """The standard deviation of the folds' scores (n - 1); 0 for a single one."""
        return float(np.std(self.folds, ddof=1)) if len(self.folds) > 1 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation under the keys that ``--json`` promises; ``nested`` only for blends."""
        values = asdict(self) | {"mean": self.mean, "sd": self.sd}
        if self.nested is None:
            del values["nested"]
        return values


@dataclass(frozen=True)
class Scored:
    """OOF predictions beside the truth, rows in the same order.

    Attributes:
        validated: Which rows each model was validated on, (N,), bool; of repeats, the rows' mean is scored.
        targets: As ``Task.targets`` gives them.
    """

    oof: Predictions
    validated: list[np.ndarray]
    targets: np.ndarray
    task: Task
    metric: Metric

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
        KitError: There are none yet, or the folds CSV has changed since.
    """
    config = config_of(run)
    oof = load_predictions(run.oof)
    task = tasks.get(oof.origin.task)
    path = workspace.folds(config.competition.name)
    folds = read_folds(path, task.label_columns(oof.classes))
    if folds.fingerprint != oof.origin.folds:
        raise KitError(
            path,
            f"has changed since {oof.origin.experiment} was trained",
            "A score needs the labels and folds it was made with",
            "Bring the file back, or train anew with --fresh.",
        )
    table = folds.table.set_index("id").loc[list(oof.ids)]
    targets = task.targets(table, oof.classes)
    metric = get_metric(config.competition.metric, task)
    validated = [folds.validation(table, k) for k in range(folds.models)]
    return Scored(oof, validated, targets, task, metric)


def evaluate(run: RunFolder, workspace: Workspace) -> Evaluation:
    """Return the scores of a run's OOF predictions, and write them to its ``metrics.json``."""
    scored = beside_truth(run, workspace)
    targets, probs, task = scored.targets, scored.oof.probs, scored.task
    cv = scored.score()
    result = Evaluation(
        experiment=run.label,
        metric=scored.metric.name,
        higher_is_better=scored.metric.higher_is_better,
        cv=cv,
        folds=[scored.metric(targets[rows], probs[rows], task) for rows in scored.validated],
        nested=cv if run.blend.exists() else None,  # no method so far fits anything
        held_out=_held_out_scores(run, workspace, scored),
        rows=len(targets),
        tta=list(scored.oof.origin.tta),
        classes=_class_scores(scored),
        confused=_confused(scored),
    )
    write_json(run.metrics, result.as_dict())
    return result


def _held_out_scores(run: RunFolder, workspace: Workspace, scored: Scored) -> dict[str, float]:
    """Return the metric on every held-out set that the run predicted."""
    scores = {}
    for name in run.held_out_sets():
        predicted = load_predictions(run.held_out(name))
        truth = read_truth(workspace.truth(run.competition, name), predicted, scored.task)
        targets = scored.task.targets(truth, predicted.classes)
        scores[name] = scored.metric(targets, predicted.probs, scored.task)
    return scores


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
        )
    return table.set_index("id").loc[list(predicted.ids)]


def _class_scores(scored: Scored) -> list[ClassScore]:
    num_classes = len(scored.oof.classes)
    truth = scored.task.one_hot(scored.targets, num_classes)
    decided = scored.task.one_hot(scored.task.decide(scored.oof.probs), num_classes)
    hits, predicted, support = ((truth * decided).sum(axis=0), decided.sum(axis=0), truth.sum(axis=0))
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    columns = zip(scored.oof.classes, precision, recall, f1, support, strict=True)
    return [ClassScore(name, float(p), float(r), float(f), int(s)) for name, p, r, f, s in columns]


def _confused(scored: Scored) -> list[Confusion]:
    """Return the pairs of classes most often taken for each other, the most frequent first."""
    if not scored.task.exclusive:
        return []
    names = np.array(scored.oof.classes, dtype=object)
    pairs = pd.DataFrame(
        {"true": names[scored.targets], "predicted": names[scored.task.decide(scored.oof.probs)]}
    )
    wrong = pairs[pairs["true"] != pairs["predicted"]].value_counts().head(MOST_CONFUSED)
    counts = wrong.rename("count").reset_index().itertuples(index=False, name=None)
    return [Confusion(str(true), str(predicted), int(count)) for true, predicted, count in counts]
