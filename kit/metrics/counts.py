"""Metrics of predicted labels, computed from counts per class: true positives, predictions, support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from kit.metrics.metric import Scorer, SumScorer, mean_scorer, ratio, register_scorer
from kit.tasks import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Average = Literal["macro", "micro", "weighted"]
Beta = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Counts:
    """Weighted counts of rows, for each of D weightings.

    Attributes:
        hits: (D, C), true positives.
        predicted: (D, C), rows for which the class is predicted.
        support: (D, C), rows that have the class.
        total: (D,), all rows.
    """

    hits: np.ndarray
    predicted: np.ndarray
    support: np.ndarray
    total: np.ndarray

    def f_beta(self, beta: float) -> np.ndarray:
        """Return F-beta per class (D, C); 0 for a class that neither occurs nor is predicted."""
        return f_beta_of(self.hits, self.predicted, self.support, beta)


def f_beta_of(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray, beta: float) -> np.ndarray:
    """Return F-beta from counts; 0 where predictions and support are 0."""
    return ratio((1 + beta**2) * hits, predicted + beta**2 * support, otherwise=0.0)


def count_scorer(
    targets: np.ndarray, decided: np.ndarray, task: Task, score: Callable[[Counts], np.ndarray]
) -> SumScorer:
    """Return the scorer of a metric that is a function of counts."""
    from scipy.sparse import hstack

    truth, predicted = _indicators(targets, decided, task)
    rows = hstack([truth.multiply(predicted), predicted, truth], format="csr")

    def finish(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        hits, predicted, support = np.split(sums, 3, axis=1)
        return score(Counts(hits, predicted, support, total))

    return SumScorer(rows, finish)


def _indicators(targets: np.ndarray, decided: np.ndarray, task: Task) -> tuple[csr_matrix, csr_matrix]:
    """Return targets and predictions as 0/1 matrices (N, C); C is the largest class index + 1."""
    from scipy.sparse import csr_matrix

    if not task.exclusive:
        return csr_matrix(targets, dtype=np.float64), csr_matrix(decided, dtype=np.float64)
    shape = len(targets), int(max(targets.max(), decided.max())) + 1
    rows, ones = np.arange(len(targets)), np.ones(len(targets))
    truth, predicted = (csr_matrix((ones, (rows, classes)), shape=shape) for classes in (targets, decided))
    return truth, predicted


# --- functions of counts that the threshold search maximizes


def f_beta_of_label(
    hits: np.ndarray, predicted: np.ndarray, support: np.ndarray, num_rows: int, beta: float
) -> np.ndarray:
    """Return the F-beta of one label."""
    return f_beta_of(hits, predicted, support, beta)


def f_beta_of_both_classes(
    hits: np.ndarray, predicted: np.ndarray, support: np.ndarray, num_rows: int, beta: float
) -> np.ndarray:
    """Return the sum of the F-beta of two exclusive classes."""
    other = f_beta_of(num_rows - predicted - support + hits, num_rows - predicted, num_rows - support, beta)
    return np.asarray(f_beta_of(hits, predicted, support, beta) + other)


def num_correct(
    hits: np.ndarray, predicted: np.ndarray, support: np.ndarray, num_rows: int, beta: float
) -> np.ndarray:
    """Return the number of correct rows, minus a constant (the rows without the label)."""
    return np.asarray(2 * hits - predicted)


def matthews_of_label(
    hits: np.ndarray, predicted: np.ndarray, support: np.ndarray, num_rows: int, beta: float
) -> np.ndarray:
    """Return the Matthews correlation of one label."""
    spread = predicted * (num_rows - predicted) * float(support * (num_rows - support))
    together = hits * float(num_rows) - predicted * float(support)
    return np.asarray(together / np.sqrt(np.maximum(spread, 1.0)))


# --- metrics


@register_scorer("accuracy", needs="labels", exclusive=True, equal_images=True, binary_value=num_correct)
def accuracy(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """The fraction of images with the right class."""
    return mean_scorer(decided == targets)


@register_scorer("label_accuracy", needs="labels", exclusive=False, label_value=num_correct)
def label_accuracy(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """The fraction of right labels over all images and classes."""
    return mean_scorer((decided == targets).mean(axis=1))


@register_scorer("exact_match", needs="labels", exclusive=False)
def exact_match(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """The fraction of images with all labels right."""
    return mean_scorer((decided == targets).all(axis=1))


@register_scorer("balanced_accuracy", needs="labels", exclusive=True)
def balanced_accuracy(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """The mean recall of the classes that occur."""

    def mean_recall(counts: Counts) -> np.ndarray:
        recalls = ratio(counts.hits, counts.support, otherwise=0.0)
        return ratio(recalls.sum(axis=1), (counts.support > 0).sum(axis=1))

    return count_scorer(targets, decided, task, mean_recall)


def f_beta_scorer(
    targets: np.ndarray, decided: np.ndarray, task: Task, average: Average, beta: float
) -> Scorer:
    """Return the scorer of F-beta, averaged over the classes like scikit-learn's ``fbeta_score``.

    ``macro`` averages the classes that occur or are predicted; for multi-label tasks all classes.
    """

    def averaged(counts: Counts) -> np.ndarray:
        if average == "micro":
            hits, predicted = counts.hits.sum(axis=1), counts.predicted.sum(axis=1)
            return f_beta_of(hits, predicted, counts.support.sum(axis=1), beta)
        by_class = counts.f_beta(beta)
        if average == "weighted":
            return ratio((by_class * counts.support).sum(axis=1), counts.support.sum(axis=1), otherwise=0.0)
        if not task.exclusive:
            return np.asarray(by_class.mean(axis=1))
        return ratio(by_class.sum(axis=1), (counts.predicted + counts.support > 0).sum(axis=1))

    return count_scorer(targets, decided, task, averaged)


def _register_f_beta(average: Average, **attributes: Any) -> None:
    @register_scorer(f"f1_{average}", needs="labels", **attributes)
    def f1(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
        return f_beta_scorer(targets, decided, task, average, beta=1.0)

    @register_scorer(f"fbeta_{average}", needs="labels", **attributes)
    def f_beta(targets: np.ndarray, decided: np.ndarray, task: Task, *, beta: Beta = 2.0) -> Scorer:
        return f_beta_scorer(targets, decided, task, average, beta)

    f1.__doc__ = f"F1, averaged over the classes: {average}."
    f_beta.__doc__ = f"F-beta, averaged over the classes: {average}."


_register_f_beta("macro", label_value=f_beta_of_label, binary_value=f_beta_of_both_classes)
_register_f_beta("micro", is_micro=True, binary_value=num_correct)
_register_f_beta("weighted", label_value=f_beta_of_label)


@register_scorer("f1_samples", needs="labels", exclusive=False)
def f1_samples(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """The mean F1 of the labels of each image; 0 for an image without true and predicted labels."""
    return fbeta_samples(targets, decided, task, beta=1.0)


@register_scorer("fbeta_samples", needs="labels", exclusive=False)
def fbeta_samples(targets: np.ndarray, decided: np.ndarray, task: Task, *, beta: Beta = 2.0) -> Scorer:
    """The mean F-beta of the labels of each image; 0 for an image without true and predicted labels."""
    hits = (targets * decided).sum(axis=1)
    return mean_scorer(f_beta_of(hits, decided.sum(axis=1), targets.sum(axis=1), beta))


@register_scorer("f1", needs="labels", exclusive=True, binary=True, binary_value=f_beta_of_label)
def f1_of_second(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """F1 of the second of two classes; 0 if it neither occurs nor is predicted."""
    return fbeta_of_second(targets, decided, task, beta=1.0)


@register_scorer("fbeta", needs="labels", exclusive=True, binary=True, binary_value=f_beta_of_label)
def fbeta_of_second(targets: np.ndarray, decided: np.ndarray, task: Task, *, beta: Beta = 2.0) -> Scorer:
    """F-beta of the second of two classes; 0 if it neither occurs nor is predicted."""
    rows = np.stack([targets * decided, decided, targets], axis=1).astype(np.float64)
    return SumScorer(rows, lambda sums, total: f_beta_of(sums[:, 0], sums[:, 1], sums[:, 2], beta))


@register_scorer("matthews", needs="labels", label_value=matthews_of_label, binary_value=matthews_of_label)
def matthews(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """The Matthews correlation of predictions and truth; 0 if either is constant.

    For several exclusive classes it is R_K (Gorodkin 2004), for multi-label tasks the mean over the labels.
    """

    def correlation(counts: Counts) -> np.ndarray:
        total = counts.total[:, None]
        together = total * counts.hits - counts.predicted * counts.support
        if not task.exclusive:
            spread = counts.predicted * (total - counts.predicted) * counts.support * (total - counts.support)
            return np.asarray(ratio(together, np.sqrt(spread), otherwise=0.0).mean(axis=1))
        spreads = [counts.total**2 - (sums**2).sum(axis=1) for sums in (counts.predicted, counts.support)]
        return ratio(together.sum(axis=1), np.sqrt(spreads[0] * spreads[1]), otherwise=0.0)

    return count_scorer(targets, decided, task, correlation)


@register_scorer("quadratic_kappa", needs="labels", exclusive=True)
def quadratic_kappa(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Cohen's kappa with quadratic weights: agreement of grades beyond chance.

    Cohen 1968, "Weighted kappa". The classes are grades, in order. Because the weights are squares, sums of
    grades and squared grades suffice. If only one grade occurs and is predicted, kappa is 1.
    """
    true, predicted = targets.astype(np.float64), decided.astype(np.float64)
    rows = np.stack([(true - predicted) ** 2, true, predicted, true**2 + predicted**2], axis=1)

    def kappa(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        observed, sum_true, sum_predicted, squares = sums.T
        by_chance = squares - 2 * ratio(sum_true * sum_predicted, total)
        return 1 - ratio(observed, by_chance, otherwise=0.0)

    return SumScorer(rows, kappa)
