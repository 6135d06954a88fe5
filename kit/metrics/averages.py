"""Averages of the probabilities of several models or views, for numpy arrays and torch tensors."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np

from kit.metrics.likelihoods import EPSILON


def geometric_mean(parts: Iterable[Any], weights: Iterable[Any], xp: ModuleType = np) -> Any:
    """Return the weighted geometric mean of probabilities; classes of a row need not sum to 1.

    Probabilities are clipped at ``EPSILON``, as in the log loss: below it, float32 probabilities carry no
    information. With a much smaller bound, an exact 0 of one model would exclude a class for all models.

    Args:
        parts: M arrays (N, C).
        weights: M weights, summing to 1.
        xp: The arrays' library: numpy or torch.

    Returns:
        (N, C).
    """
    logs = sum(
        xp.log(xp.clip(part, EPSILON, 1.0)) * weight for part, weight in zip(parts, weights, strict=True)
    )
    return xp.exp(logs)


def mean_rank(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of percentile ranks within each class, in 0..1; ties share their rank.

    Ranks are not probabilities: use them for metrics that read only the order of rows. The rank of a row
    depends on all rows.

    Args:
        parts: (M, N, C).
        weights: (M,), summing to 1.

    Returns:
        (N, C).
    """
    from scipy.stats import rankdata

    total: np.ndarray = np.zeros(parts.shape[1:])
    for part, weight in zip(parts, weights, strict=True):
        total += weight * rankdata(part, axis=0)
    ranks: np.ndarray = (total - 0.5) / parts.shape[1]
    return ranks
