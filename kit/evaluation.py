"""What out-of-fold predictions are worth: the score, per fold, per class, and where the errors are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit.config import Config
from kit.config_file import load_config
from kit.errors import KitError
from kit.folds import read_folds
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
    """

    experiment: str
    metric: str
    higher_is_better: bool
    cv: float
    folds: list[float]
    nested: float | None
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
        """The standard deviation of the folds' scores (n - 1)."""
        return float(np.std(self.folds, ddof=1))

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
        folds: The fold of each row.
        targets: As ``Task.targets`` gives them.
    """

    oof: Predictions
    folds: np.ndarray
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
    return Scored(oof, table["fold"].to_numpy(), targets, task, metric)


def evaluate(run: RunFolder, workspace: Workspace) -> Evaluation:
    """Return the scores of a run's OOF predictions, and write them to its ``metrics.json``."""
    scored = beside_truth(run, workspace)
    numbers = sorted(set(scored.folds.tolist()))
    rows_of = [scored.folds == k for k in numbers]
    targets, probs, task = scored.targets, scored.oof.probs, scored.task
    cv = scored.score()
    result = Evaluation(
        experiment=run.label,
        metric=scored.metric.name,
        higher_is_better=scored.metric.higher_is_better,
        cv=cv,
        folds=[scored.metric(targets[rows], probs[rows], task) for rows in rows_of],
        nested=cv if run.blend.exists() else None,  # no method so far fits anything
        rows=len(targets),
        tta=list(scored.oof.origin.tta),
        classes=_class_scores(scored),
        confused=_confused(scored),
    )
    write_json(run.metrics, result.as_dict())
    return result


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
