"""Compare runs on the same rows: scores, classes, and images that one gets right and another wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kit.config.load import differences
from kit.errors import KitError, counted
from kit.evaluation.classes import class_scores
from kit.evaluation.nested_oof import NestedOof, nested_oof
from kit.evaluation.oof_with_labels import config_of
from kit.metrics.bootstrap import Interval, plain_dict
from kit.postprocess.nested_cv import gain
from kit.runtime.displayed import Displayed
from kit.storage.workspace import RunFolder, Workspace
from kit.training.trained_folds import trained_folds

MOST_IMAGES = 24  # of each pair


@dataclass(frozen=True)
class ComparedRun:
    """A run beside the best one.

    Attributes:
        cv: The metric over all OOF rows, with nested postprocessing.
        gain: How much better it is than the best one on the same rows: negative is worse, whatever the
            direction of the metric; 0 for the best one itself.
        interval: The paired 95 % bootstrap interval of the gain; None for the best one itself.
        correlation: Of its probabilities with those of the best one; below 1 the two differ, which helps a
            blend.
        changed: ``key: value of the best -> value of this`` for each value of the config that differs.
        class_f1: F1 of each class; empty for numbers.
        minutes: How long its folds were trained; None for a blend, or if that is unknown.
    """

    label: str
    cv: float
    gain: float
    interval: Interval | None
    correlation: float
    changed: list[str]
    class_f1: dict[str, float]
    minutes: float | None = None


@dataclass(frozen=True)
class Disagreement:
    """An image that the best run gets right and another wrong, or the other way round.

    Attributes:
        right: The run that is right.
        wrong: The run that is wrong.
        truth: The true classes.
        mistaken: What the other one decides.
    """

    id: str
    right: str
    wrong: str
    truth: str
    mistaken: str


@dataclass(frozen=True)
class Comparison(Displayed):
    """Runs on the same rows, best first, and images that they disagree about."""

    metric: str
    higher_is_better: bool
    rows: int
    runs: list[ComparedRun]
    disagreements: list[Disagreement]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as ``--json`` prints it."""
        return asdict(self, dict_factory=plain_dict)


def compare_runs(runs: Sequence[RunFolder], workspace: Workspace) -> Comparison:
    """Return runs of the same folds side by side, best first.

    Raises:
        KitError: They have predictions of different images, or one has none.
    """
    found = [(run, nested_oof(run, workspace)) for run in runs]
    _check_same_rows(found)
    metric = found[0][1].labeled.metric
    sign = -1 if metric.higher_is_better else 1
    found.sort(key=lambda each: sign * each[1].score())
    return Comparison(
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        rows=len(found[0][1].labeled.targets),
        runs=[_compared(run, oof, *found[0]) for run, oof in found],
        disagreements=[each for run, oof in found[1:] for each in _disagreements(run, oof, *found[0])],
    )


def _compared(run: RunFolder, oof: NestedOof, best_run: RunFolder, best: NestedOof) -> ComparedRun:
    labeled = best.labeled
    sign = 1 if labeled.metric.higher_is_better else -1
    is_best = run == best_run
    together = np.corrcoef(oof.nested.probs.ravel(), best.nested.probs.ravel())[0, 1]
    changed = differences(config_of(best_run), config_of(run)) if not is_best else []
    return ComparedRun(
        label=run.label,
        cv=oof.score(),
        gain=sign * (oof.score() - best.score()),
        interval=None if is_best else gain(labeled.rows, oof.nested, best.nested, labeled.units),
        correlation=float(np.nan_to_num(together, nan=1.0)),
        changed=[line for line in changed if not line.startswith("name: ")],
        class_f1=_class_f1(oof),
        minutes=_minutes(run, len(oof.labeled.validated)),
    )


def _minutes(run: RunFolder, num_models: int) -> float | None:
    """Return the training time of all folds; None if a fold does not say it, or is damaged."""
    if run.blend.exists():
        return None
    try:
        folds = trained_folds(run, num_models, verify=False)
    except KitError:
        return None  # a comparison of predictions does not need it
    seconds = [each.values.get("seconds") for each in folds.values()]
    known = [float(each) for each in seconds if each is not None]
    return sum(known) / 60 if len(known) == num_models else None


def _class_f1(oof: NestedOof) -> dict[str, float]:
    labeled = oof.labeled
    if labeled.task.numeric:
        return {}
    task, targets = labeled.task.hard, labeled.task.majority(labeled.targets)
    scores = class_scores(targets, oof.nested.probs, oof.nested.decided, labeled.oof.classes, task)
    return {each.name: float(each.f1) for each in scores}


def _disagreements(
    run: RunFolder, oof: NestedOof, best_run: RunFolder, best: NestedOof
) -> list[Disagreement]:
    """Return images that one of two runs gets right and the other wrong, the surest mistakes first."""
    labeled = best.labeled
    if labeled.task.numeric:
        return []
    task, classes = labeled.task.hard, labeled.oof.classes
    truth = np.asarray(task.one_hot(labeled.task.majority(labeled.targets), len(classes))) > 0
    made = [np.asarray(task.one_hot(each.nested.decided, len(classes))) > 0 for each in (best, oof)]
    right = [(decided == truth).all(axis=1) for decided in made]
    listed = []
    for one, other in ((0, 1), (1, 0)):
        rows = np.flatnonzero(right[one] & ~right[other])
        sure = np.where(made[other], (best, oof)[other].nested.probs, 0).max(axis=1)
        for row in rows[np.argsort(-sure[rows], kind="stable")][: MOST_IMAGES // 2]:
            labels = (best_run.label, run.label)
            listed.append(
                Disagreement(
                    id=labeled.oof.ids[row],
                    right=labels[one],
                    wrong=labels[other],
                    truth=_names(truth[row], classes),
                    mistaken=_names(made[other][row], classes),
                )
            )
    return listed


def _names(has: np.ndarray, classes: Sequence[str]) -> str:
    return ", ".join(name for name, each in zip(classes, has, strict=True) if each) or "none"


def _check_same_rows(found: Sequence[tuple[RunFolder, NestedOof]]) -> None:
    (first_run, first), *others = found
    for run, oof in others:
        theirs, ours = oof.labeled.oof, first.labeled.oof
        if theirs.ids != ours.ids or theirs.origin.folds != ours.origin.folds:
            raise KitError(
                run.label,
                f"has predictions of other images or folds than {first_run.label} "
                f"({counted(len(theirs.ids), 'image')} and {counted(len(ours.ids), 'image')})",
                "Runs are compared on the same rows",
                "Train them on the same folds CSV.",
                code="rows_differ",
            )
