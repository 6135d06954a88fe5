"""Metrics of the probabilities' values."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from kit.metrics.metric import Scorer, Sums, mean_of, ratio, register_scorer
from kit.tasks import Task

EPSILON = 1e-7  # probabilities are float32: nothing nearer to 0 or 1 can be told apart in a log


@register_scorer("log_loss", needs="probabilities", higher_is_better=False)
def log_loss(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the mean negative log-likelihood per image; multi-label: the mean over images and classes.

    Rows of an exclusive task are divided by their sum first, as public leaderboards do.
    """
    if not task.exclusive:
        return log_loss_columns(targets, probs, task)
    chosen = _shares(probs)[np.arange(len(targets)), targets]
    return mean_of(-np.log(np.clip(chosen, EPSILON, 1.0)))


@register_scorer("log_loss_columns", needs="probabilities", higher_is_better=False)
def log_loss_columns(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the mean over images and classes of the log loss of having that class or not."""
    truth = task.one_hot(targets, probs.shape[1])
    likelihood = np.where(truth == 1, probs.astype(np.float64), 1.0 - probs.astype(np.float64))
    return mean_of(-np.log(np.clip(likelihood, EPSILON, 1.0)).mean(axis=1))


@register_scorer("kl_divergence", needs="probabilities", higher_is_better=False)
def kl_divergence(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the mean over the images of the divergence of the probabilities from the truth, in nats.

    Kullback & Leibler 1951. Both are distributions over the classes: the labels of an image share it evenly,
    its probabilities are divided by their sum. An image without a label has no distribution and counts as 0.
    """
    truth = task.one_hot(targets, probs.shape[1]).astype(np.float64)
    truth = truth / np.maximum(truth.sum(axis=1, keepdims=True), 1.0)
    logs = np.log(np.clip(truth, EPSILON, 1.0)) - np.log(np.clip(_shares(probs), EPSILON, 1.0))
    return mean_of((truth * logs).sum(axis=1))


@register_scorer("brier", needs="probabilities", higher_is_better=False)
def brier(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the mean squared distance of the probabilities from the truth (Brier 1950).

    Of two exclusive classes: of the second alone, as is usual. Of more: the sum over the classes.
    Multi-label: the mean over them.
    """
    truth, values = columns_of(targets, probs, task)
    squares = (values.astype(np.float64) - truth) ** 2
    return mean_of(squares.sum(axis=1) if task.exclusive else squares.mean(axis=1))


@register_scorer("pf1", needs="probabilities")
def pf1(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the probabilistic F1, 2 sum(p y) / (sum(p) + sum(y)): a probability is part of a decision.

    Yacouby & Axman 2020, "Probabilistic extension of precision, recall, and F1 score". Of the second of two
    exclusive classes; otherwise the mean over the classes, where one that is neither there nor given any
    probability has 0.
    """
    truth, values = columns_of(targets, probs, task)
    rows = np.hstack([values * truth, values + truth]).astype(np.float64)

    def mean_f1(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
        both, either = np.split(sums, 2, axis=1)
        return np.asarray(ratio(2 * both, either, otherwise=0.0).mean(axis=1))

    return Sums(rows, mean_f1)


@register_scorer("rmse", needs="probabilities", higher_is_better=False, exclusive=True, ordinal=True)
def rmse(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the root of the mean squared distance of the expected grade from the true one, in grades."""
    squares = (expected_grade(probs) - targets) ** 2
    return Sums(squares[:, None], lambda sums, total: np.sqrt(ratio(sums[:, 0], total)))


@register_scorer("mae", needs="probabilities", higher_is_better=False, exclusive=True, ordinal=True)
def mae(targets: np.ndarray, probs: np.ndarray, task: Task) -> Scorer:
    """Return the mean distance of the expected grade from the true one, in grades."""
    return mean_of(np.abs(expected_grade(probs) - targets))


@register_scorer("calibration_error", needs="probabilities", higher_is_better=False)
def calibration_error(
    targets: np.ndarray, probs: np.ndarray, task: Task, *, bins: Annotated[int, Field(ge=1)] = 15
) -> Scorer:
    """Return the expected calibration error: how far confidence is from the share that is right.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3: the absolute difference in each
    of some bins of equal width, weighted by their rows. Exclusive tasks: the largest probability against its
    class being right. Multi-label: each label's probability against its being there, the mean over the
    labels.
    """
    from scipy.sparse import csr_matrix

    if task.exclusive:
        confidence, right = probs.max(axis=1, keepdims=True), (probs.argmax(axis=1) == targets)[:, None]
    else:
        confidence, right = probs, targets
    num_rows, width = confidence.shape
    # A bin reaches from just above its lower bound to its upper one.
    inside = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    cells = (inside + np.arange(width) * bins).ravel()
    off = (confidence.astype(np.float64) - right).ravel()
    rows = csr_matrix((off, cells, np.arange(num_rows + 1) * width), shape=(num_rows, width * bins))
    return Sums(rows, lambda sums, total: ratio(np.abs(sums).sum(axis=1), total * width))


def expected_grade(probs: np.ndarray) -> np.ndarray:
    """Return the mean class number under the probabilities (N, C), (N,), float64."""
    grades: np.ndarray = probs.astype(np.float64) @ np.arange(probs.shape[1])
    return grades


def columns_of(targets: np.ndarray, probs: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return truth (0/1) and probabilities, (N, C); of two exclusive classes the second alone, (N, 1)."""
    truth = task.one_hot(targets, probs.shape[1])
    first = 1 if task.exclusive and probs.shape[1] == 2 else 0
    return truth[:, first:], probs[:, first:]


def _shares(probs: np.ndarray) -> np.ndarray:
    """Return probabilities divided by their rows' sums, (N, C), float64."""
    values = probs.astype(np.float64)
    return ratio(values, values.sum(axis=1, keepdims=True), otherwise=0.0)
