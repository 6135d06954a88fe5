"""Metrics of probabilities: log loss, Brier, calibration, errors of expected grades."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from kit.metrics.metric import Scorer, SumScorer, mean_scorer, ratio, register_scorer
from kit.tasks import Task

EPSILON = 1e-7  # the resolution of float32 near 1; logs are clipped there
KL_EPSILON = 1e-15  # the smallest probability in public code of the KL divergence


@register_scorer("log_loss", needs="probabilities", higher_is_better=False, likelihood="all", soft=True)
def log_loss(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The mean negative log-likelihood per image; for multi-label tasks per image and class.

    For exclusive tasks, rows are divided by their sum first, as public leaderboards do. For distributions:
    the mean cross-entropy.
    """
    if not task.exclusive:
        return log_loss_columns(targets, probs, task)
    if task.soft:
        return mean_scorer(-(targets * np.log(np.clip(_normalized(probs), EPSILON, 1.0))).sum(axis=1))
    chosen = _normalized(probs)[np.arange(len(targets)), targets]
    return mean_scorer(-np.log(np.clip(chosen, EPSILON, 1.0)))


@register_scorer("log_loss_columns", needs="probabilities", higher_is_better=False, soft=True)
def log_loss_columns(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The binary log loss of each class, averaged over images and classes."""
    truth = task.one_hot(targets, probs.shape[1])
    there, absent = (
        np.log(np.clip(p, EPSILON, 1.0)) for p in (probs.astype(np.float64), 1.0 - probs.astype(np.float64))
    )
    return mean_scorer(-(truth * there + (1 - truth) * absent).mean(axis=1))


@register_scorer(
    "kl_divergence", needs="probabilities", higher_is_better=False, likelihood="exclusive", soft=True
)
def kl_divergence(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The mean divergence of the probabilities from the truth, in nats.

    Kullback & Leibler 1951: sum t log(t / p). Both are distributions over the classes: several labels of an
    image get equal parts, and its probabilities are divided by their sum. A class with t = 0 counts as 0, and
    so does an image without a label. Probabilities are at least 1e-15, as on public leaderboards.
    """
    truth = task.one_hot(targets, probs.shape[1]).astype(np.float64)
    total = truth.sum(axis=1, keepdims=True)
    return mean_scorer(divergences(truth / np.where(total > 0, total, 1.0), _normalized(probs)))


def divergences(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the KL divergence of each row of probabilities (N, C) from the truth (N, C), (N,), in nats."""
    from scipy.special import rel_entr

    terms: np.ndarray = rel_entr(truth, np.clip(probs.astype(np.float64), KL_EPSILON, 1.0))
    return np.asarray(terms.sum(axis=1))


@register_scorer("brier", needs="probabilities", higher_is_better=False, soft=True)
def brier(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The mean squared distance of the probabilities from the truth (Brier 1950).

    For two exclusive classes: of the second class only, as usual. For more: summed over the classes. For
    multi-label tasks: averaged over the classes.
    """
    truth, values = columns_of(targets, probs, task)
    squares = (values.astype(np.float64) - truth) ** 2
    return mean_scorer(squares.sum(axis=1) if task.exclusive else squares.mean(axis=1))


@register_scorer("pf1", needs="probabilities")
def pf1(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """The probabilistic F1, 2 sum(p y) / (sum(p) + sum(y)).

    Yacouby & Axman 2020, "Probabilistic extension of precision, recall, and F1 score". For two exclusive
    classes: of the second. Otherwise: the mean over the classes; a class without support and probability
    counts as 0.
    """
    truth, values = columns_of(targets, probs, task)
    rows = np.hstack([values * truth, values + truth]).astype(np.float64)

    def mean_f1(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        both, either = np.split(sums, 2, axis=1)
        return np.asarray(ratio(2 * both, either, otherwise=0.0).mean(axis=1))

    return SumScorer(rows, mean_f1)


@register_scorer("calibration_error", needs="probabilities", higher_is_better=False)
def calibration_error(
    targets: np.ndarray, probs: np.ndarray, task: Task, *, bins: Annotated[int, Field(ge=1)] = 15
) -> Scorer:
    """The expected calibration error: the mean distance of confidence from accuracy.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3: the absolute difference in each
    bin of equal width, weighted by rows. For exclusive tasks, confidence is the largest probability. For
    multi-label tasks, it is the probability of each label, and the error is averaged over the labels.
    """
    from scipy.sparse import csr_matrix

    if task.exclusive:
        confidence, right = probs.max(axis=1, keepdims=True), (probs.argmax(axis=1) == targets)[:, None]
    else:
        confidence, right = probs, targets
    num_rows, width = confidence.shape
    # A bin includes its upper bound and excludes its lower one.
    inside = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    cells = (inside + np.arange(width) * bins).ravel()
    off = (confidence.astype(np.float64) - right).ravel()
    rows = csr_matrix((off, cells, np.arange(num_rows + 1) * width), shape=(num_rows, width * bins))
    return SumScorer(rows, lambda sums, total: ratio(np.abs(sums).sum(axis=1), total * width))


def columns_of(targets: np.ndarray, probs: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return targets (0/1) and probabilities, (N, C); of two exclusive classes the second only, (N, 1)."""
    truth = task.one_hot(targets, probs.shape[1])
    first = 1 if task.exclusive and probs.shape[1] == 2 else 0
    return truth[:, first:], probs[:, first:]


def _normalized(probs: np.ndarray) -> np.ndarray:
    """Return probabilities divided by their row sums, (N, C), float64."""
    values = probs.astype(np.float64)
    return ratio(values, values.sum(axis=1, keepdims=True), otherwise=0.0)
