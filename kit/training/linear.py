"""Regularized logistic regression on standardized features; ridge regression if labels are numbers."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from kit.tasks import Target

C_VALUES = (0.0003, 0.003, 0.03, 0.3)  # inverse regularization strengths (scikit-learn's C)
HELD_OUT_EVERY = 4  # every fourth row is held out to choose C
ITERATIONS = 200
EPSILON = 1e-6  # smallest probability and standard deviation


def fitted_probs(
    features: np.ndarray, truth: np.ndarray, others: np.ndarray, target: Target, strength: float
) -> np.ndarray:
    """Return the probabilities (or numbers) of other rows by a model fitted on some rows, (M, C) float64.

    Args:
        features: (N, D); columns are standardized.
        truth: (N, C), 0 or 1, or shares. A class that no row or every row has gets a constant probability.
            Or numbers, (N, 1).
        others: (M, D).
        target: What the label of a row is; with one class per row, probabilities sum to 1.
        strength: Inverse regularization strength (C).
    """
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), EPSILON)
    train, test = ((rows - mean) / deviation for rows in (features, others))
    if target == "number":
        numbers: np.ndarray = Ridge(alpha=1 / strength).fit(train, truth).predict(test)
        return numbers.reshape(len(test), -1)
    if target == "class":
        return _predict_proba(train, truth.argmax(axis=1), test, truth.shape[1], strength)
    if target == "distribution":
        rows, classes = np.nonzero(truth)  # a row per image and class, weighted by the share
        shares = truth[rows, classes]
        return _predict_proba(train[rows], classes, test, truth.shape[1], strength, shares)
    columns = [_predict_proba(train, column.astype(int), test, 2, strength)[:, 1] for column in truth.T]
    return np.stack(columns, axis=1)


def _predict_proba(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    classes: int,
    strength: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Return probabilities (M, ``classes``); some classes may have no label."""
    probs = np.full((len(test), classes), EPSILON)
    present = np.unique(labels)
    if len(present) == 1:
        probs[:, present] = 1.0
        return probs
    model = LogisticRegression(C=strength, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # approximate convergence is enough for a ranking
        probs[:, present] = np.maximum(model.fit(train, labels, weights).predict_proba(test), EPSILON)
    return probs


def best_strength(features: np.ndarray, truth: np.ndarray, target: Target) -> float:
    """Return the C with the highest likelihood on held-out rows; for numbers, the smallest squared error.

    Args:
        features: (N, D).
        truth: (N, C), 0 or 1, or shares; or numbers, (N, 1).
    """
    keys = truth[:, 0] if target == "number" else truth.argmax(axis=1)
    order = np.argsort(keys, kind="stable")  # every class, or range of numbers, is in both parts
    held_out = order[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    fitted_on = np.setdiff1d(order, held_out)
    if len(fitted_on) == 0 or len(held_out) == 0:
        return C_VALUES[-2]
    likelihoods = {
        strength: _likelihood(
            fitted_probs(features[fitted_on], truth[fitted_on], features[held_out], target, strength),
            truth[held_out],
            target,
        )
        for strength in C_VALUES
    }
    return max(likelihoods, key=likelihoods.__getitem__)


def _likelihood(probs: np.ndarray, truth: np.ndarray, target: Target) -> float:
    if target == "number":
        return -float(((probs - truth) ** 2).sum())
    clipped = np.clip(probs, EPSILON, 1 - EPSILON)
    if target in ("class", "distribution"):
        return float((truth * np.log(clipped / clipped.sum(axis=1, keepdims=True))).sum())
    return float((truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)).sum())
