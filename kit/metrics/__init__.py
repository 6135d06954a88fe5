"""Metrics: from targets and probabilities to a score, with its direction and its bootstrap interval.

Reads: targets, probabilities and row weights, as arrays.
Writes: nothing; ``get_metric`` returns the metric that a config names.

    metric.py       Metric, Scorer, the registry, and how to add a metric
    counts.py       metrics of predicted labels: accuracy, F-beta, Matthews, kappa
    likelihoods.py  metrics of probabilities: log loss, Brier, pF1, calibration
    distances.py    metrics of numbers and expected grades: RMSE, MAE, R², Spearman, RMSLE
    ranks.py        metrics of rankings: ROC AUC, average precision, top-k, MAP@k
    bootstrap.py    confidence intervals of scores and of gains
    averages.py     geometric mean and mean rank, for blends and TTA
"""

from kit.metrics import counts as _counts  # noqa: F401 - importing them registers their metrics
from kit.metrics import distances as _distances  # noqa: F401
from kit.metrics import likelihoods as _likelihoods  # noqa: F401
from kit.metrics.likelihoods import EPSILON
from kit.metrics.metric import (
    Metric,
    Needs,
    Scorer,
    SumScorer,
    get_metric,
    mean_scorer,
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
    "SumScorer",
    "get_metric",
    "mean_scorer",
    "metrics",
    "per_class",
    "ratio",
    "register_metric",
    "register_scorer",
]
