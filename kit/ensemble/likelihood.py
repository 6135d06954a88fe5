"""Each member's likelihood of the truth, from which the log loss of every mixture follows."""

from __future__ import annotations

import numpy as np

from kit.metrics import EPSILON
from kit.tasks import Task

GROUP = 4  # float32 numbers from EPSILON to 1 whose product does not underflow
GROUPS = 8  # such products, as float64, whose product does not underflow


def likelihoods(members: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Return each member's probability of the truth, (M, N), or (M, N * C) for labels, float32.

    The likelihood of a mixture of members is the same mixture of their likelihoods.
    """
    if task.exclusive:
        chosen = members[:, np.arange(len(targets)), targets]
        return np.asarray(np.maximum(chosen / members.sum(axis=2), EPSILON), dtype=np.float32)
    given = np.where(targets[None] == 1, members, 1 - members)
    return np.asarray(np.maximum(given, EPSILON), dtype=np.float32).reshape(len(members), -1)


def mean_log(values: np.ndarray) -> float:
    """Return the mean logarithm of numbers from ``EPSILON`` to 1, (N,), float32.

    Logarithms are slow, so groups of 32 numbers are multiplied first, which cannot underflow.
    """
    products = _grouped(values, GROUP).astype(np.float64)
    return float(np.log(_grouped(products, GROUPS)).sum()) / len(values)


def _grouped(values: np.ndarray, size: int) -> np.ndarray:
    """Return products of ``size`` values each, and the values left over."""
    length = len(values) // size
    if length == 0:
        return values
    whole = values[: length * size].reshape(size, length)
    products: np.ndarray = whole[0] * whole[1]
    for row in whole[2:]:
        products *= row
    return np.concatenate([products, values[length * size :]])
