"""Compute the curves of a run's report: ROC, precision over recall, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.predictions import FinalPredictions
from kit.tasks import Task

POINTS = 101  # of a curve, evenly spaced on its horizontal axis
BINS = 10  # of a reliability curve, with equally many predictions each
SHOWN_CLASSES = 10  # those whose curves are worst
MOST_CELLS = 20_000_000  # rows x classes; with more, only the shown classes are computed
NUMBERS = np.linspace(0, 1, POINTS)


@dataclass(frozen=True)
class Reliability:
    """How often predictions of a stated probability are right.

    Attributes:
        stated: The mean probability of each bin, (B,).
        observed: The share of them that is right, (B,).
        error: The expected calibration error: the mean distance of the two, weighted by predictions.
    """

    stated: np.ndarray
    observed: np.ndarray
    error: float


@dataclass(frozen=True)
class Curves:
    """The curves of a run, on out-of-fold rows.

    Attributes:
        roc: Class -> true positive rate at ``NUMBERS`` as false positive rates; the classes with the lowest.
        precision: Class -> precision at ``NUMBERS`` as recall, for the same classes.
        mean_roc: The mean over all classes; None if they are too many.
        mean_precision: The mean over all classes; None if they are too many.
        before: Reliability of the predictions of the models.
        after: Reliability after postprocessing that changes probabilities; None without.
    """

    roc: dict[str, np.ndarray]
    precision: dict[str, np.ndarray]
    mean_roc: np.ndarray | None
    mean_precision: np.ndarray | None
    before: Reliability
    after: Reliability | None


def curves_of(labeled: LabeledPredictions, nested: FinalPredictions, order: Sequence[str]) -> Curves | None:
    """Return the curves of a run's OOF predictions; None for numbers and distributions.

    Args:
        nested: The predictions after postprocessing that was fitted on other rows.
        order: Class names, the worst first.
    """
    task, probs, classes = labeled.task, labeled.oof.probs, labeled.oof.classes
    if task.numeric or task.soft:
        return None
    one_hot = np.asarray(task.one_hot(labeled.targets, len(classes))) > 0
    scorable = [c for c in range(len(classes)) if 0 < one_hot[:, c].sum() < len(one_hot)]
    shown = [classes.index(name) for name in order if classes.index(name) in scorable][:SHOWN_CLASSES]
    wanted = scorable if probs.size <= MOST_CELLS else shown
    roc = {c: _roc(one_hot[:, c], probs[:, c]) for c in wanted}
    precision = {c: _precision(one_hot[:, c], probs[:, c]) for c in wanted}
    changed = not np.array_equal(nested.probs, probs)
    return Curves(
        roc={classes[c]: roc[c] for c in shown},
        precision={classes[c]: precision[c] for c in shown},
        mean_roc=_mean(roc, scorable),
        mean_precision=_mean(precision, scorable),
        before=reliability(one_hot, probs, task),
        after=reliability(one_hot, nested.probs, task) if changed else None,
    )


def reliability(one_hot: np.ndarray, probs: np.ndarray, task: Task) -> Reliability:
    """Return how often predictions are right, by their stated probability.

    For exclusive classes these are the most probable class of each row; else every class of every row.

    Args:
        one_hot: (N, C), whether a row has a class.
        probs: (N, C).
    """
    if task.exclusive:
        best = probs.argmax(axis=1)
        rows = np.arange(len(probs))
        stated, right = probs[rows, best].astype(np.float64), one_hot[rows, best]
    else:
        stated, right = probs.ravel().astype(np.float64), one_hot.ravel()
    bins = np.array_split(np.argsort(stated, kind="stable"), min(BINS, len(stated)))
    means = np.array([stated[rows].mean() for rows in bins])
    shares = np.array([right[rows].mean() for rows in bins])
    sizes = np.array([len(rows) for rows in bins])
    return Reliability(means, shares, float((sizes * np.abs(means - shares)).sum() / sizes.sum()))


def _mean(curves: dict[int, np.ndarray], scorable: Sequence[int]) -> np.ndarray | None:
    if not scorable or len(curves) < len(scorable):
        return None
    mean: np.ndarray = np.mean(list(curves.values()), axis=0)
    return mean


def _roc(has: np.ndarray, probs: np.ndarray) -> np.ndarray:
    false, true, _ = roc_curve(has, probs)
    return np.asarray(np.interp(NUMBERS, false, true))


def _precision(has: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return at each recall the best precision of it or a higher one."""
    precision, recall, _ = precision_recall_curve(has, probs)  # recall from 1 down to 0
    best = np.maximum.accumulate(precision)
    return np.asarray(np.interp(NUMBERS, recall[::-1], best[::-1]))
