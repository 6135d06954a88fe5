"""Metrics of decisions: they follow from how often a class is there, decided, and both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from kit.metrics.metric import Scorer, Sums, mean_of, ratio, register_scorer
from kit.tasks import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Average = Literal["macro", "micro", "weighted"]
Beta = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Counts:
    """What decisions come to, for each of D weightings.

    Attributes:
        hits: (D, C), the rows that have a class and are decided to have it.
        given: (D, C), those decided to have it.
        support: (D, C), those that have it.
        total: (D,), all rows.
    """

    hits: np.ndarray
    given: np.ndarray
    support: np.ndarray
    total: np.ndarray

    def f_beta(self, beta: float) -> np.ndarray:
        """Return each class's F-beta (D, C); 0 for one that is neither there nor decided."""
        return f_beta_of(self.hits, self.given, self.support, beta)


def f_beta_of(hits: np.ndarray, given: np.ndarray, support: np.ndarray, beta: float) -> np.ndarray:
    """Return F-beta from counts; 0 where nothing is given and nothing is there."""
    return ratio((1 + beta**2) * hits, given + beta**2 * support, otherwise=0.0)


def counted(
    targets: np.ndarray, decided: np.ndarray, task: Task, score: Callable[[Counts], np.ndarray]
) -> Sums:
    """Return the scorer of what follows from counts."""
    from scipy.sparse import hstack

    there, given = _indicators(targets, decided, task)
    rows = hstack([there.multiply(given), given, there], format="csr")

    def finish(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        hits, decided_so, support = np.split(sums, 3, axis=1)
        return score(Counts(hits, decided_so, support, total))

    return Sums(rows, finish)


def _indicators(targets: np.ndarray, decided: np.ndarray, task: Task) -> tuple[csr_matrix, csr_matrix]:
    """Return 0/1 matrices (N, C) of what is there and what is decided; C is the largest class seen."""
    from scipy.sparse import csr_matrix

    if not task.exclusive:
        return csr_matrix(targets, dtype=np.float64), csr_matrix(decided, dtype=np.float64)
    shape = len(targets), int(max(targets.max(), decided.max())) + 1
    rows, ones = np.arange(len(targets)), np.ones(len(targets))
    there, given = (csr_matrix((ones, (rows, each)), shape=shape) for each in (targets, decided))
    return there, given


@register_scorer("accuracy", needs="labels", exclusive=True)
def accuracy(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return the share of images decided right."""
    return mean_of(decided == targets)


@register_scorer("label_accuracy", needs="labels", exclusive=False)
def label_accuracy(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return the share of single labels decided right, over all images and classes."""
    return mean_of((decided == targets).mean(axis=1))


@register_scorer("exact_match", needs="labels", exclusive=False)
def exact_match(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return the share of images whose every label is decided right."""
    return mean_of((decided == targets).all(axis=1))


@register_scorer("balanced_accuracy", needs="labels", exclusive=True)
def balanced_accuracy(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return the mean over the classes that occur of the share of their images decided right."""

    def mean_recall(counts: Counts) -> np.ndarray:
        recalls = ratio(counts.hits, counts.support, otherwise=0.0)
        return ratio(recalls.sum(axis=1), (counts.support > 0).sum(axis=1))

    return counted(targets, decided, task, mean_recall)


def f_beta_scorer(
    targets: np.ndarray, decided: np.ndarray, task: Task, average: Average, beta: float
) -> Scorer:
    """Return the scorer of F-beta, averaged over the classes as scikit-learn's ``fbeta_score`` does.

    Macro: over the classes that occur or are decided; multi-label over all, a class that is neither has 0.
    """

    def averaged(counts: Counts) -> np.ndarray:
        if average == "micro":
            hits, given, support = (each.sum(axis=1) for each in (counts.hits, counts.given, counts.support))
            return f_beta_of(hits, given, support, beta)
        by_class = counts.f_beta(beta)
        if average == "weighted":
            return ratio((by_class * counts.support).sum(axis=1), counts.support.sum(axis=1), otherwise=0.0)
        if not task.exclusive:
            return np.asarray(by_class.mean(axis=1))
        return ratio(by_class.sum(axis=1), (counts.given + counts.support > 0).sum(axis=1))

    return counted(targets, decided, task, averaged)


def _register_f_beta(average: Average) -> None:
    @register_scorer(f"f1_{average}", needs="labels")
    def f1(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
        return f_beta_scorer(targets, decided, task, average, beta=1.0)

    @register_scorer(f"fbeta_{average}", needs="labels")
    def f_beta(targets: np.ndarray, decided: np.ndarray, task: Task, *, beta: Beta = 2.0) -> Scorer:
        return f_beta_scorer(targets, decided, task, average, beta)


_register_f_beta("macro")
_register_f_beta("micro")
_register_f_beta("weighted")


@register_scorer("f1_samples", needs="labels", exclusive=False)
def f1_samples(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return the mean over the images of F1 of their labels; 0 for one without any, there or decided."""
    return fbeta_samples(targets, decided, task, beta=1.0)


@register_scorer("fbeta_samples", needs="labels", exclusive=False)
def fbeta_samples(targets: np.ndarray, decided: np.ndarray, task: Task, *, beta: Beta = 2.0) -> Scorer:
    """Return the mean over the images of F-beta of their labels; 0 for one without any, there or decided."""
    return mean_of(f_beta_of((targets * decided).sum(axis=1), decided.sum(axis=1), targets.sum(axis=1), beta))


@register_scorer("f1", needs="labels", exclusive=True, binary=True)
def f1_of_second(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return F1 of the second of two classes; 0 where it is neither there nor decided."""
    return fbeta_of_second(targets, decided, task, beta=1.0)


@register_scorer("fbeta", needs="labels", exclusive=True, binary=True)
def fbeta_of_second(targets: np.ndarray, decided: np.ndarray, task: Task, *, beta: Beta = 2.0) -> Scorer:
    """Return F-beta of the second of two classes; 0 where it is neither there nor decided."""
    rows = np.stack([targets * decided, decided, targets], axis=1).astype(np.float64)
    return Sums(rows, lambda sums, total: f_beta_of(sums[:, 0], sums[:, 1], sums[:, 2], beta))


@register_scorer("matthews", needs="labels")
def matthews(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return the correlation of decisions and truth, 0 where either is always the same.

    Of several exclusive classes: R_K (Gorodkin 2004). Multi-label: the mean over the labels.
    """

    def correlation(counts: Counts) -> np.ndarray:
        total = counts.total[:, None]
        together = total * counts.hits - counts.given * counts.support
        if not task.exclusive:
            spread = counts.given * (total - counts.given) * counts.support * (total - counts.support)
            return np.asarray(ratio(together, np.sqrt(spread), otherwise=0.0).mean(axis=1))
        spreads = [counts.total**2 - (each**2).sum(axis=1) for each in (counts.given, counts.support)]
        return ratio(together.sum(axis=1), np.sqrt(spreads[0] * spreads[1]), otherwise=0.0)

    return counted(targets, decided, task, correlation)


@register_scorer("quadratic_kappa", needs="labels", exclusive=True)
def quadratic_kappa(targets: np.ndarray, decided: np.ndarray, task: Task) -> Scorer:
    """Return Cohen's kappa with quadratic weights: agreement beyond chance, far misses counting most.

    Cohen 1968, "Weighted kappa". Classes are grades in their order. The weights being squares, sums of the
    grades and their squares are enough. Where only one grade occurs and is decided, agreement is complete: 1.
    """
    true, graded = targets.astype(np.float64), decided.astype(np.float64)
    rows = np.stack([(true - graded) ** 2, true, graded, true**2 + graded**2], axis=1)

    def kappa(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        apart, sum_true, sum_graded, squares = sums.T
        by_chance = squares - 2 * ratio(sum_true * sum_graded, total)
        return 1 - ratio(apart, by_chance, otherwise=0.0)

    return Sums(rows, kappa)
