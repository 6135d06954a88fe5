"""How likely each member makes what is true: the numbers that a log loss of any mixture follows from."""

from __future__ import annotations

import numpy as np

from kit.metrics import EPSILON, Metric
from kit.tasks import Task

GROUP = 4  # float32 numbers from EPSILON to 1 that can be multiplied before their log is taken
GROUPS = 8  # and such products as float64


def follows_from_likelihood(metric: Metric, task: Task) -> bool:
    """Tell whether a metric is the mean log of what is given to the truth."""
    return metric.kind == "log_loss" or (metric.kind == "kl_divergence" and task.exclusive)


def likelihoods(members: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Return what each member gives to the truth, (M, N) or for labels (M, N * C), float32.

    A mixture of members gives the same mixture of these, whether a label is there or not.
    """
    if task.exclusive:
        chosen = members[:, np.arange(len(targets)), targets]
        return np.asarray(np.maximum(chosen / members.sum(axis=2), EPSILON), dtype=np.float32)
    given = np.where(targets[None] == 1, members, 1 - members)
    return np.asarray(np.maximum(given, EPSILON), dtype=np.float32).reshape(len(members), -1)


def mean_log(values: np.ndarray) -> float:
    """Return the mean logarithm of numbers from ``EPSILON`` to 1, (N,), float32.

    A logarithm costs more than all else, so groups of numbers are multiplied before: 32 of them cannot
    become too small for their format.
    """
    products = _grouped(values, GROUP).astype(np.float64)
    return float(np.log(_grouped(products, GROUPS)).sum()) / len(values)


def _grouped(values: np.ndarray, size: int) -> np.ndarray:
    """Return products of ``size`` values each; the few values beyond a multiple follow as they are."""
    length = len(values) // size
    if length == 0:
        return values
    whole = values[: length * size].reshape(size, length)
    products: np.ndarray = whole[0] * whole[1]
    for row in whole[2:]:
        products *= row
    return np.concatenate([products, values[length * size :]])
