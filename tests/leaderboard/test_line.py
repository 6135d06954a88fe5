"""The line through CV and leaderboard scores agrees with SciPy, and its band with the formula by hand."""

import numpy as np
import pytest
from scipy.stats import linregress, t

from kit.leaderboard.line import fitted_line

CV = np.array([0.70, 0.74, 0.80, 0.81, 0.90])
SCORES = np.array([0.66, 0.75, 0.77, 0.80, 0.86])


def test_the_line_is_that_of_least_squares_between_the_lowest_and_the_highest_cv():
    line, known = fitted_line(CV, SCORES), linregress(CV, SCORES)
    assert (line["cv"].min(), line["cv"].max()) == (0.70, 0.90)
    assert line["score"].to_numpy() == pytest.approx(known.intercept + known.slope * line["cv"].to_numpy())


def test_the_band_is_twice_the_quantile_times_the_standard_error_of_the_mean():
    line, known = fitted_line(CV, SCORES), linregress(CV, SCORES)
    left = CV[0] - CV.mean()
    residuals = SCORES - known.intercept - known.slope * CV
    error = np.sqrt((residuals**2).sum() / 3 * (1 / 5 + left**2 / ((CV - CV.mean()) ** 2).sum()))
    assert line["high"][0] - line["low"][0] == pytest.approx(2 * t.ppf(0.975, 3) * error)


@pytest.mark.parametrize(("cv", "scores"), [(CV[:2], SCORES[:2]), (np.full(5, 0.8), SCORES)])
def test_without_three_submissions_or_different_cvs_no_line_is_fitted(cv, scores):
    assert fitted_line(cv, scores) is None
