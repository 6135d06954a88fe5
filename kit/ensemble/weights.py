"""Weights on the simplex: at least 0, summing to 1."""

from __future__ import annotations

import numpy as np

from kit.ensemble.blend_data import Problem
from kit.ensemble.likelihood import follows_from_likelihood, likelihoods

SHARES = (0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625)  # how far a step goes towards a member, or away
STEPS = 20  # of each size, at most


def simplex_weights(problem: Problem) -> np.ndarray:
    """Return the weights (M,) with which the mean scores best.

    The log loss is convex in them: its minimum is found by its gradient, and for that metric it is the
    answer. From the best of these weights, equal ones and the best member alone, other metrics, smooth or
    not, are climbed: the best step towards a member or away from it is taken, in ever smaller steps.
    """
    number = len(problem.members)
    smooth = likeliest_weights(likelihoods(problem.members, problem.targets, problem.task))
    if follows_from_likelihood(problem.metric, problem.task):
        return smooth
    starts = [np.full(number, 1 / number), smooth, np.eye(number)[_best_member(problem)]]
    values = [problem.value(_mixed(problem, start)) for start in starts]
    best = int(np.argmax(values))
    return _climbed(problem, starts[best], values[best])


def likeliest_weights(likely: np.ndarray) -> np.ndarray:
    """Return the weights (M,) under which the truth is likeliest; ``likely`` as ``likelihoods`` gives it."""
    from scipy.optimize import minimize

    number, rows = likely.shape

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixture = np.maximum(weights @ likely, 1e-12)
        return -float(np.log(mixture).mean()), -(likely @ (1 / mixture)) / rows

    found = minimize(
        loss,
        np.full(number, 1 / number),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * number,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(number)},
        ],
        options={"maxiter": 200, "ftol": 1e-9},
    )
    weights = np.clip(found.x, 0.0, None)
    return np.asarray(weights / weights.sum())


def _best_member(problem: Problem) -> int:
    return int(np.argmax([problem.value(member) for member in problem.members]))


def _mixed(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean (N, C), float32."""
    total = np.zeros(problem.members.shape[1:], dtype=np.float32)
    for weight, member in zip(weights, problem.members, strict=True):
        total += np.float32(weight) * member
    return total


def _climbed(problem: Problem, weights: np.ndarray, value: float) -> np.ndarray:
    """Return weights that no step of any size towards a member, or away from it, improves."""
    corners = np.eye(len(weights))
    for share in SHARES:
        for _ in range(STEPS):
            mean = _mixed(problem, weights)
            # How far towards each member; away from it at most until it has no weight.
            away = np.where(weights < 1, np.minimum(share, weights / np.maximum(1 - weights, 1e-12)), 0.0)
            moves = [
                *((j, share) for j in range(len(weights))),
                *((j, -a) for j, a in enumerate(away) if a > 0),
            ]
            values = [problem.value(mean + np.float32(t) * (problem.members[j] - mean)) for j, t in moves]
            best = int(np.argmax(values))
            if values[best] <= value:
                break
            j, t = moves[best]
            weights = np.clip(weights + t * (corners[j] - weights), 0.0, None)
            weights, value = weights / weights.sum(), values[best]
    return weights
