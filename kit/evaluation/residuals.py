"""Errors of a regression: predicted minus true number, for each image and by range of the true number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

RANGES = 5


@dataclass(frozen=True)
class ResidualRange:
    """The errors of the images whose true number is in one range.

    Attributes:
        low: The smallest true number.
        high: The largest.
        bias: The mean of predicted minus true; above 0, predictions are too large.
        mae: The mean absolute error.
    """

    low: float
    high: float
    images: int
    bias: float
    mae: float


def residual_table(ids: Sequence[str], truth: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """Return ``id true predicted error``, the largest absolute error first.

    Args:
        truth: (N, 1).
        predicted: (N, 1).
    """
    true, found = truth[:, 0].astype(np.float64), predicted[:, 0].astype(np.float64)
    table = pd.DataFrame({"id": list(ids), "true": true, "predicted": found, "error": found - true})
    order = np.argsort(-table["error"].abs().to_numpy(), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def residual_ranges(truth: np.ndarray, predicted: np.ndarray) -> list[ResidualRange]:
    """Return the errors in up to five ranges of the true number, with about equally many images each.

    Args:
        truth: (N, 1).
        predicted: (N, 1).
    """
    true, error = truth[:, 0], predicted[:, 0].astype(np.float64) - truth[:, 0]
    bounds = np.unique(np.quantile(true, np.arange(RANGES) / RANGES, method="lower"))
    codes = np.searchsorted(bounds, true, side="right") - 1
    ranges = []
    for code in range(len(bounds)):
        own = codes == code
        size, bias, mae = int(own.sum()), float(error[own].mean()), float(np.abs(error[own]).mean())
        ranges.append(ResidualRange(float(true[own].min()), float(true[own].max()), size, bias, mae))
    return ranges
