"""(targets, probabilities) -> score; every metric knows which way is better and what it needs."""

from kit.metrics import counts as _counts  # noqa: F401 - importing them registers their metrics
from kit.metrics import likelihoods as _likelihoods  # noqa: F401
from kit.metrics.likelihoods import EPSILON
from kit.metrics.metric import (
    Metric,
    Needs,
    Scorer,
    Sums,
    get_metric,
    mean_of,
    metrics,
    ratio,
    register_metric,
    register_scorer,
)
from kit.metrics.ranks import per_class

__all__ = [
    "EPSILON",
    "Metric",
    "Needs",
    "Scorer",
    "Sums",
    "get_metric",
    "mean_of",
    "metrics",
    "per_class",
    "ratio",
    "register_metric",
    "register_scorer",
]
