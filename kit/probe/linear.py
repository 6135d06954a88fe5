"""A linear classifier on features: standardised, regularised, of one class per image or of several."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

STRENGTHS = (0.0003, 0.003, 0.03, 0.3)  # inverse of the regularisation, as scikit-learn's C
HELD_BACK = 4  # one row in so many judges the strengths
ITERATIONS = 200
LEAST = 1e-6  # of a probability, and of a deviation


def fitted_probs(
    features: np.ndarray, truth: np.ndarray, others: np.ndarray, exclusive: bool, strength: float
) -> np.ndarray:
    """Return what a classifier that is fitted on some rows says of others, (M, C) float64.

    Args:
        features: (N, D), each column standardised by its own mean and deviation.
        truth: (N, C), 0 or 1. A class without any row, or with all, has the probability that it has there.
        others: (M, D).
        exclusive: Whether each row has one class: probabilities then sum to 1.
        strength: The inverse of the regularisation.
    """
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), LEAST)
    shown, asked = ((rows - mean) / deviation for rows in (features, others))
    if exclusive:
        return _several(shown, truth.argmax(axis=1), asked, truth.shape[1], strength)
    columns = [_several(shown, column.astype(int), asked, 2, strength)[:, 1] for column in truth.T]
    return np.stack(columns, axis=1)


def _several(
    shown: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int, strength: float
) -> np.ndarray:
    """Return the probabilities of so many classes, of which some may be missing among the labels."""
    probs = np.full((len(asked), classes), LEAST)
    there = np.unique(labels)
    if len(there) == 1:
        probs[:, there] = 1.0
        return probs
    model = LogisticRegression(C=strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly converged ranks as well
        probs[:, there] = np.maximum(model.fit(shown, labels).predict_proba(asked), LEAST)
    return probs


def suited_strength(features: np.ndarray, truth: np.ndarray, exclusive: bool) -> float:
    """Return the strength whose classifier gives the rows that are held back the highest likelihood.

    Args:
        features: (N, D).
        truth: (N, C), 0 or 1.
    """
    order = np.argsort(truth.argmax(axis=1), kind="stable")  # so that every class is on both sides
    back = order[HELD_BACK - 1 :: HELD_BACK]
    kept = np.setdiff1d(order, back)
    if len(kept) == 0 or len(back) == 0:
        return STRENGTHS[-2]
    worth = {
        strength: _likelihood(
            fitted_probs(features[kept], truth[kept], features[back], exclusive, strength),
            truth[back],
            exclusive,
        )
        for strength in STRENGTHS
    }
    return max(worth, key=lambda strength: worth[strength])


def _likelihood(probs: np.ndarray, truth: np.ndarray, exclusive: bool) -> float:
    clipped = np.clip(probs, LEAST, 1 - LEAST)
    if exclusive:
        return float((truth * np.log(clipped / clipped.sum(axis=1, keepdims=True))).sum())
    return float((truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)).sum())
