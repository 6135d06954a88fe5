"""Compute each member's likelihood of the truth, which gives the log loss of every mixture."""

from __future__ import annotations

import numpy as np

from kit.metrics import EPSILON
from kit.tasks import Task

FLOAT32_FACTORS = 4  # numbers from EPSILON to 1 whose product does not underflow in float32
FLOAT64_FACTORS = 8  # such products, whose product does not underflow in float64


def likelihoods(members: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Return each member's probability of the truth, (M, N), or (M, N * C) for multi-label tasks, float32.

    The likelihood of a mixture of members is the same mixture of their likelihoods. For distributions:
    (M, K), the probabilities of the K pairs of an image and a class with a share above 0, which
    ``weights_of`` weighs.
    """
    if task.soft:
        shares = members / members.sum(axis=2, keepdims=True)
        return np.asarray(np.maximum(shares[:, targets > 0], EPSILON), dtype=np.float32)
    if task.exclusive:
        chosen = members[:, np.arange(len(targets)), targets]
        return np.asarray(np.maximum(chosen / members.sum(axis=2), EPSILON), dtype=np.float32)
    chosen = np.where(targets[None] == 1, members, 1 - members)
    return np.asarray(np.maximum(chosen, EPSILON), dtype=np.float32).reshape(len(members), -1)


def weights_of(targets: np.ndarray, task: Task) -> np.ndarray | None:
    """Return the weight of each likelihood, (K,): the share of its class; None: all 1."""
    return np.asarray(targets[targets > 0], dtype=np.float64) if task.soft else None


def mean_log(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean logarithm of numbers from ``EPSILON`` to 1, (N,), float32.

    Without weights, each 32 numbers are multiplied first, because logarithms are slow; the products cannot
    underflow.
    """
    if weights is not None:
        return float(weights @ np.log(values.astype(np.float64)) / weights.sum())
    products = _products(values, FLOAT32_FACTORS).astype(np.float64)
    return float(np.log(_products(products, FLOAT64_FACTORS)).sum()) / len(values)


def _products(values: np.ndarray, size: int) -> np.ndarray:
    """Return the products of each ``size`` values, then the remaining values."""
    length = len(values) // size
    if length == 0:
        return values
    whole = values[: length * size].reshape(size, length)
    products: np.ndarray = whole[0] * whole[1]
    for row in whole[2:]:
        products *= row
    return np.concatenate([products, values[length * size :]])
