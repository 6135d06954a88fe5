"""Fit a line through CV and leaderboard scores, with the band of its mean."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kit.leaderboard.correlation import MIN_SUBMISSIONS

POINTS = 50  # of the line
CONFIDENCE = 0.95


def fitted_line(cv: np.ndarray, scores: np.ndarray) -> pd.DataFrame | None:
    """Return ``cv``, ``score``, ``low`` and ``high`` along the least-squares line, by increasing CV.

    The band holds the mean score at a CV with 95 % confidence (Student's t with n − 2 degrees of freedom).

    Args:
        cv: (N,).
        scores: The leaderboard scores, (N,).

    Returns:
        None for fewer than three submissions, or if all have the same CV.
    """
    from scipy.stats import t

    if len(cv) < MIN_SUBMISSIONS or np.ptp(cv) == 0:
        return None
    center, spread = cv.mean(), ((cv - cv.mean()) ** 2).sum()
    slope = ((cv - center) * (scores - scores.mean())).sum() / spread
    residuals = scores - scores.mean() - slope * (cv - center)
    freedom = len(cv) - 2
    error = np.sqrt((residuals**2).sum() / freedom)
    along = np.linspace(cv.min(), cv.max(), POINTS)
    line = scores.mean() + slope * (along - center)
    uncertainty = error * np.sqrt(1 / len(cv) + (along - center) ** 2 / spread)
    half = t.ppf((1 + CONFIDENCE) / 2, freedom) * uncertainty
    return pd.DataFrame({"cv": along, "score": line, "low": line - half, "high": line + half})
