"""Count the distributions over classes that lie on several classes, or have no single largest share."""

from __future__ import annotations

import numpy as np
import pandas as pd


def several_classes(shares: pd.DataFrame | np.ndarray) -> int:
    """Return the number of rows (N, C) with shares of two or more classes."""
    return int(((np.asarray(shares) > 0).sum(axis=1) > 1).sum())


def tied_classes(shares: pd.DataFrame | np.ndarray) -> int:
    """Return the number of rows (N, C) in which two or more classes have the largest share."""
    values = np.asarray(shares)
    return int(((values == values.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
