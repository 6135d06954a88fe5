"""Ranking metrics: of images within a class (ROC AUC, AP), or of classes within an image (top-k, MAP@k)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from kit.errors import KitError, counted
from kit.metrics.counts import Average
from kit.metrics.likelihoods import columns_of
from kit.metrics.metric import Scorer, mean_scorer, ratio, register_scorer
from kit.tasks import Task

Rank = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Ranking:
    """Entries in descending order of score, sorted once for all weightings.

    Attributes:
        rows: (M,), the row of each entry.
        positive: (M,), whether the entry is a positive, as 0.0 or 1.0.
        starts: (G,), the first entry of each run of equal scores.
    """

    rows: np.ndarray
    positive: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> Ranking:
        """Return the ranking of entries by score; truth, scores and rows are (M,)."""
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        return cls(rows[order], truth[order].astype(np.float64), starts)

    def weigh(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of positives and of negatives in each run of equal scores, each (D, G)."""
        ranked = weights[:, self.rows]
        positives = ranked * self.positive
        if len(self.starts) < len(self.rows):
            ranked, positives = (np.add.reduceat(w, self.starts, axis=1) for w in (ranked, positives))
        return positives, ranked - positives


def area_under_roc(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Return the weighted fraction of (positive, negative) pairs in the right order, (D,); a tie counts half.

    This is the area under the ROC curve (Hanley & McNeil 1982). NaN without a positive or a negative.
    """
    above = np.cumsum(negatives, axis=1)
    below = above[:, -1:] - above + negatives / 2
    return ratio((positives * below).sum(axis=1), positives.sum(axis=1) * above[:, -1])


def area_under_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Return the mean precision at each positive, without interpolation, (D,); NaN without a positive."""
    hits = np.cumsum(positives, axis=1)
    precision = ratio(hits, hits + np.cumsum(negatives, axis=1), otherwise=0.0)
    return ratio((positives * precision).sum(axis=1), hits[:, -1])


@dataclass(frozen=True)
class Area:
    """The area under a curve.

    Attributes:
        compute: From the weights that ``Ranking.weigh`` returns to areas (D,).
        needs_negatives: Whether the area is undefined without a negative.
    """

    compute: Callable[[np.ndarray, np.ndarray], np.ndarray]
    needs_negatives: bool


AREAS = {
    "roc_auc": Area(area_under_roc, needs_negatives=True),
    "average_precision": Area(area_under_precision, needs_negatives=False),
}


@dataclass(frozen=True)
class AreaScorer:
    """The scorer of an area, averaged over rankings."""

    rankings: list[Ranking]
    area: Area
    by_support: bool

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the average of the areas, (D,); NaN if one of them is."""
        areas, supports = [], []
        for ranking in self.rankings:
            positives, negatives = ranking.weigh(weights)
            areas.append(self.area.compute(positives, negatives))
            supports.append(positives.sum(axis=1))
        if not self.by_support:
            return np.asarray(np.mean(areas, axis=0))
        return ratio(np.sum(np.multiply(areas, supports), axis=0), np.sum(supports, axis=0))


@register_scorer("roc_auc", needs="ranking", needs_both=True)
def roc_auc(targets: np.ndarray, probs: np.ndarray, task: Task, *, average: Average = "macro") -> Scorer:
    """The area under the ROC curve: of the second of two classes, or averaged one-vs-rest.

    ``weighted`` weighs the classes by their images; ``micro`` ranks all images and classes together.
    """
    return _averaged("roc_auc", targets, probs, task, average)


@register_scorer("average_precision", needs="ranking", needs_both=True)
def average_precision(
    targets: np.ndarray, probs: np.ndarray, task: Task, *, average: Average = "macro"
) -> Scorer:
    """The average precision: of the second of two classes, or averaged one-vs-rest.

    The averages are those of ``roc_auc``.
    """
    return _averaged("average_precision", targets, probs, task, average)


def per_class(metric_name: str, targets: np.ndarray, probs: np.ndarray, task: Task) -> np.ndarray:
    """Return ``roc_auc`` or ``average_precision`` per class, one-vs-rest, (C,).

    NaN for a class without a positive, or (``roc_auc``) without a negative.
    """
    truth, rows = task.one_hot(targets, probs.shape[1]), np.arange(len(targets))
    weights = np.ones((1, len(targets)))
    rankings = (Ranking.of(truth[:, c], probs[:, c], rows) for c in range(probs.shape[1]))
    return np.array([AREAS[metric_name].compute(*ranking.weigh(weights))[0] for ranking in rankings])


def _averaged(name: str, targets: np.ndarray, probs: np.ndarray, task: Task, average: Average) -> Scorer:
    truth, scores = columns_of(targets, probs, task)
    if average == "micro":
        truth, scores = truth.reshape(-1, 1), scores.reshape(-1, 1)
    _refuse_one_sided(name, truth, len(targets), first_class=probs.shape[1] - truth.shape[1])
    rows = np.repeat(np.arange(len(targets)), len(truth) // len(targets))
    rankings = [Ranking.of(truth[:, c], scores[:, c], rows) for c in range(truth.shape[1])]
    return AreaScorer(rankings, AREAS[name], by_support=average == "weighted")


@register_scorer("top_k", needs="ranking", exclusive=True)
def top_k(targets: np.ndarray, probs: np.ndarray, task: Task, *, k: Rank = 5) -> Scorer:
    """The fraction of images whose class is among the ``k`` most probable; ties go to the first class."""
    num_classes = probs.shape[1]
    if k >= num_classes:
        raise KitError(
            f"metric top_k(k={k})",
            f"would count every image as right: the task has {counted(num_classes, 'class', 'classes')}",
            "k must be less than the number of classes",
            f"Set `competition.metric`: {{name: top_k, k: {max(1, num_classes - 1)}}} or less.",
            code="k_too_large",
        )
    return mean_scorer(_rank_of_truth(targets, probs) < k)


@register_scorer("map_at_k", needs="ranking")
def map_at_k(targets: np.ndarray, probs: np.ndarray, task: Task, *, k: Rank = 5) -> Scorer:
    """The mean average precision of the ``k`` most probable classes of each image.

    The average precision of an image is the sum of the precisions at each right class, divided by the smaller
    of ``k`` and the number of its classes; with one class, the inverse of its rank. Without a class it is 0.
    """
    if task.exclusive:
        rank = _rank_of_truth(targets, probs)
        return mean_scorer(np.where(rank < k, 1 / (rank + 1), 0.0))
    chosen = np.argsort(-probs, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(targets, chosen, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    most = np.minimum(targets.sum(axis=1), k)
    return mean_scorer(ratio((hits * precision).sum(axis=1), most, otherwise=0.0))


def _rank_of_truth(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the rank, from 0, of the true class of each image, (N,); ties go to the first class."""
    own = np.take_along_axis(probs, targets[:, None], axis=1)
    before = np.arange(probs.shape[1]) < targets[:, None]
    return np.asarray(((probs > own) | ((probs == own) & before)).sum(axis=1))


def _refuse_one_sided(name: str, truth: np.ndarray, num_rows: int, first_class: int) -> None:
    """Refuse columns (M, K) without a positive, or (if the area needs them) without a negative."""
    support = truth.sum(axis=0)
    needs_negatives = AREAS[name].needs_negatives
    lacking = "no positive or no negative" if needs_negatives else "no positive"
    one_sided = np.flatnonzero((support == 0) | (needs_negatives & (support == len(truth))))
    if not len(one_sided):
        return
    raise KitError(
        f"metric {name}",
        f"{counted(len(one_sided), 'class has', 'classes have')} {lacking} among these "
        f"{counted(num_rows, 'row')} "
        f"(first: class {one_sided[0] + first_class + 1} in the order of the classes)",
        "The metric needs both" if needs_negatives else "The metric needs a positive",
        "Use fewer folds, or another competition.metric.",
        code="class_one_sided",
    )
