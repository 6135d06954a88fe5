"""Metrics of the probabilities' order: of the images within a class, or of the classes within an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from kit.errors import KitError
from kit.metrics.counts import Average
from kit.metrics.likelihoods import columns_of
from kit.metrics.metric import Scorer, mean_of, ratio, register_scorer
from kit.tasks import Task

Rank = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Ranking:
    """Entries by falling score, sorted once for all weightings.

    Attributes:
        rows: (M,), the row whose weight an entry has.
        positive: (M,), whether it is one to find, as 0.0 or 1.0.
        starts: (G,), where each run of equal scores begins.
    """

    rows: np.ndarray
    positive: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> Ranking:
        """Return the ranking of entries by their score; truth, scores and rows are (M,)."""
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        return cls(rows[order], truth[order].astype(np.float64), starts)

    def weigh(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of positives and of negatives in each run of equal scores, (D, G) both."""
        ranked = weights[:, self.rows]
        found = ranked * self.positive
        if len(self.starts) < len(self.rows):
            ranked, found = (np.add.reduceat(each, self.starts, axis=1) for each in (ranked, found))
        return found, ranked - found


Area = Callable[[np.ndarray, np.ndarray], np.ndarray]  # from what ``Ranking.weigh`` returns to (D,)


def area_under_roc(found: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the weighted share of pairs of a positive and a negative in the right order; a tie is half.

    It is the area under the ROC curve (Hanley & McNeil 1982). NaN without a positive or a negative.
    """
    above = np.cumsum(others, axis=1)
    beaten = above[:, -1:] - above + others / 2
    return ratio((found * beaten).sum(axis=1), found.sum(axis=1) * above[:, -1])


def area_under_precision(found: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the precision at each positive, averaged over them without interpolation; NaN without any."""
    hits = np.cumsum(found, axis=1)
    precision = ratio(hits, hits + np.cumsum(others, axis=1), otherwise=0.0)
    return ratio((found * precision).sum(axis=1), hits[:, -1])


@dataclass(frozen=True)
class AreaScorer:
    """An area of each ranking, averaged."""

    rankings: list[Ranking]
    area: Area
    by_support: bool

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the average of the areas (D,), NaN where one of them is."""
        areas, supports = [], []
        for ranking in self.rankings:
            found, others = ranking.weigh(weights)
            areas.append(self.area(found, others))
            supports.append(found.sum(axis=1))
        if not self.by_support:
            return np.asarray(np.mean(areas, axis=0))
        return ratio(np.sum(np.multiply(areas, supports), axis=0), np.sum(supports, axis=0))


AREAS: dict[str, Area] = {"roc_auc": area_under_roc, "average_precision": area_under_precision}


@register_scorer("roc_auc", needs="ranking")
def roc_auc(targets: np.ndarray, probs: np.ndarray, task: Task, *, average: Average = "macro") -> Scorer:
    """Return the area under the ROC curve: of the second of two classes, or averaged over one-against-rest.

    ``weighted`` weighs the classes by their images; ``micro`` ranks all images and classes together.
    """
    return _averaged("roc_auc", targets, probs, task, average)


@register_scorer("average_precision", needs="ranking")
def average_precision(
    targets: np.ndarray, probs: np.ndarray, task: Task, *, average: Average = "macro"
) -> Scorer:
    """Return the average precision: of the second of two classes, or averaged over one-against-rest.

    The averages are those of ``roc_auc``.
    """
    return _averaged("average_precision", targets, probs, task, average)


def per_class(metric_name: str, targets: np.ndarray, probs: np.ndarray, task: Task) -> np.ndarray:
    """Return ``roc_auc`` or ``average_precision`` of each class against the rest, (C,).

    NaN for a class without a positive, or (``roc_auc``) without a negative.
    """
    truth, rows = task.one_hot(targets, probs.shape[1]), np.arange(len(targets))
    weights = np.ones((1, len(targets)))
    rankings = (Ranking.of(truth[:, c], probs[:, c], rows) for c in range(probs.shape[1]))
    return np.array([AREAS[metric_name](*ranking.weigh(weights))[0] for ranking in rankings])


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
    """Return the share of images whose class is among the ``k`` most probable; of equals the first wins."""
    num_classes = probs.shape[1]
    if k >= num_classes:
        raise KitError(
            f"metric top_k(k={k})",
            f"there are {num_classes} classes, so that every image would be right",
            "k is less than the number of classes",
            f"Set `competition.metric`: {{name: top_k, k: {max(1, num_classes - 1)}}} or less.",
        )
    return mean_of(_rank_of_truth(targets, probs) < k)


@register_scorer("map_at_k", needs="ranking")
def map_at_k(targets: np.ndarray, probs: np.ndarray, task: Task, *, k: Rank = 5) -> Scorer:
    """Return the mean over the images of the average precision of their ``k`` most probable classes.

    That is the sum of the precision at each class that is right, divided by ``k`` or by the number of the
    image's classes if it has fewer: with one class, the inverse of its rank. Images without a class count
    as 0.
    """
    if task.exclusive:
        rank = _rank_of_truth(targets, probs)
        return mean_of(np.where(rank < k, 1 / (rank + 1), 0.0))
    chosen = np.argsort(-probs, axis=1, kind="stable")[:, :k]
    hits = np.take_along_axis(targets, chosen, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return mean_of(ratio((hits * precision).sum(axis=1), np.minimum(targets.sum(axis=1), k), otherwise=0.0))


def _rank_of_truth(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return how many classes come before the true one of each image, (N,); of equals the first go first."""
    own = np.take_along_axis(probs, targets[:, None], axis=1)
    before = np.arange(probs.shape[1]) < targets[:, None]
    return np.asarray(((probs > own) | ((probs == own) & before)).sum(axis=1))


def _refuse_one_sided(name: str, truth: np.ndarray, num_rows: int, first_class: int) -> None:
    """Refuse columns (M, K) in which there is nothing to find, or (for the ROC) nothing else."""
    support = truth.sum(axis=0)
    needs_others = name == "roc_auc"
    lacking = "no positive or no negative" if needs_others else "no positive"
    lonely = np.flatnonzero((support == 0) | (needs_others & (support == len(truth))))
    if not len(lonely):
        return
    raise KitError(
        f"metric {name}",
        f"{len(lonely)} classes have {lacking} among these {num_rows} rows "
        f"(first: class number {lonely[0] + first_class})",
        "An area needs both" if needs_others else "A precision needs something to find",
        "Use fewer folds, or another competition.metric.",
    )
