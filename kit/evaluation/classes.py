"""Scores per class, and which classes are confused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.metrics import per_class
from kit.tasks import Task

MOST_CONFUSED = 10
LABEL_COUNTS = ("true_negative", "false_positive", "false_negative", "true_positive")


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class.

    Attributes:
        support: The number of images of the class.
        roc_auc: One-vs-rest ROC AUC; None if no image, or every image, has the class.
        average_precision: One-vs-rest average precision, or None.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True)
class Confusion:
    """The number of images of class ``true`` that are predicted as ``predicted``."""

    true: str
    predicted: str
    count: int


def class_scores(
    targets: np.ndarray, probs: np.ndarray, decided: np.ndarray, classes: Sequence[str], task: Task
) -> list[ClassScore]:
    """Return the scores of each class, in class order."""
    truth, given = task.one_hot(targets, len(classes)), task.one_hot(decided, len(classes))
    hits, predicted, support = ((truth * given).sum(axis=0), given.sum(axis=0), truth.sum(axis=0))
    columns = (
        classes,
        hits / np.maximum(predicted, 1),
        hits / np.maximum(support, 1),
        2 * hits / np.maximum(predicted + support, 1),
        support,
        per_class("roc_auc", targets, probs, task),
        per_class("average_precision", targets, probs, task),
    )
    return [
        ClassScore(name, float(p), float(r), float(f), int(s), _known(auc), _known(ap))
        for name, p, r, f, s, auc, ap in zip(*columns, strict=True)
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def confusion_table(
    targets: np.ndarray, decided: np.ndarray, classes: Sequence[str], task: Task
) -> pd.DataFrame:
    """Return the confusion matrix, indexed by class name.

    Exclusive classes: a row per true class, a column per predicted class. Otherwise a row per class, with
    the columns ``LABEL_COUNTS``.
    """
    number, names = len(classes), pd.Index(classes, name="class")
    if task.exclusive:
        counts = np.bincount(targets * number + decided, minlength=number**2).reshape(number, number)
        return pd.DataFrame(counts, index=names, columns=list(classes))
    truth, given = targets == 1, decided == 1
    counts = np.stack([(a & b).sum(axis=0) for a in (~truth, truth) for b in (~given, given)], axis=1)
    return pd.DataFrame(counts, index=names, columns=list(LABEL_COUNTS))


def most_confused(table: pd.DataFrame) -> list[Confusion]:
    """Return the most frequent confusions of exclusive classes, the most frequent first."""
    counts = table.to_numpy(copy=True)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [
        Confusion(str(table.index[i]), str(table.columns[j]), int(counts[i, j]))
        for i, j in pairs
        if counts[i, j]
    ]
