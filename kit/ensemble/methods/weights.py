"""Method ``weights``: the weighted mean with the best score; weights are at least 0 and sum to 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kit.ensemble.blend_data import BlendData, Combination, weighted_mean
from kit.ensemble.likelihood import likelihoods, weights_of
from kit.ensemble.methods.registry import register_method

STEP_SIZES = (0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625)  # towards a member or away from it
MAX_STEPS = 20  # per step size


@register_method("weights", learns=True, number=True)
def weights(data: BlendData) -> Combination:
    """Return the weighted mean with the best score; weights are at least 0 and sum to 1."""
    return weighted_mean(simplex_weights(data), data.task.numeric)


def simplex_weights(data: BlendData) -> np.ndarray:
    """Return the weights (M,) of the mean with the best score.

    The log loss is convex in the weights, and SLSQP finds its minimum; for numbers it finds that of the
    squared error. For any other metric, hill climbing starts at the best of these weights, equal weights, and
    the best member alone; each step is the best move towards a member or away from it, with decreasing step
    sizes.
    """
    number = len(data.members)
    smooth = _smooth_weights(data)
    if data.metric.is_log_likelihood(data.task):
        return smooth
    starts = [np.full(number, 1 / number), smooth, np.eye(number)[_best_member(data)]]
    values = [data.value(_mixed(data, start)) for start in starts]
    best = int(np.argmax(values))
    return _climb(data, starts[best], values[best])


def _smooth_weights(data: BlendData) -> np.ndarray:
    """Return the weights (M,) of maximum likelihood, or of the smallest squared error of numbers."""
    if data.task.numeric:
        return least_squares_weights(data.members[:, :, 0].astype(np.float64), data.targets[:, 0])
    likely = likelihoods(data.members, data.targets, data.task)
    return max_likelihood_weights(likely, weights_of(data.targets, data.task))


def least_squares_weights(members: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the weights (M,) whose mixture has the smallest squared error.

    Args:
        members: (M, N).
        targets: (N,).
    """
    errors = (members - targets) / max(float(targets.std()), 1e-12)  # weights sum to 1, so errors mix
    products = errors @ errors.T / len(targets)
    return _minimum(lambda w: (float(w @ products @ w), 2 * products @ w), len(members))


def max_likelihood_weights(likely: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Return the weights (M,) of maximum likelihood.

    Args:
        likely: (M, N), as ``likelihoods`` returns them.
        counts: How often each of the N counts, (N,); None: once.
    """
    number, rows = likely.shape
    parts = np.full(rows, 1 / rows) if counts is None else counts / counts.sum()

    def loss(shares: np.ndarray) -> tuple[float, np.ndarray]:
        mixture = np.maximum(shares @ likely, 1e-12)
        return -float(parts @ np.log(mixture)), -(likely @ (parts / mixture))

    return _minimum(loss, number)


def _minimum(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], number: int) -> np.ndarray:
    """Return the weights (number,) with the smallest loss; they are at least 0 and sum to 1.

    Args:
        loss: Weights -> loss and gradient.
    """
    from scipy.optimize import minimize

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
    best = np.clip(found.x, 0.0, None)
    return np.asarray(best / best.sum())


def _best_member(data: BlendData) -> int:
    return int(np.argmax([data.value(member) for member in data.members]))


def _mixed(data: BlendData, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean (N, C), float32."""
    total = np.zeros(data.members.shape[1:], dtype=np.float32)
    for weight, member in zip(weights, data.members, strict=True):
        total += np.float32(weight) * member
    return total


def _climb(data: BlendData, weights: np.ndarray, value: float) -> np.ndarray:
    """Return weights that no step towards a member or away from it improves (hill climbing)."""
    corners = np.eye(len(weights))
    for share in STEP_SIZES:
        for _ in range(MAX_STEPS):
            mean = _mixed(data, weights)
            # A step away from a member stops at weight 0.
            away = np.where(weights < 1, np.minimum(share, weights / np.maximum(1 - weights, 1e-12)), 0.0)
            moves = [
                *((j, share) for j in range(len(weights))),
                *((j, -a) for j, a in enumerate(away) if a > 0),
            ]
            values = [data.value(mean + np.float32(t) * (data.members[j] - mean)) for j, t in moves]
            best = int(np.argmax(values))
            if values[best] <= value:
                break
            j, t = moves[best]
            weights = np.clip(weights + t * (corners[j] - weights), 0.0, None)
            weights, value = weights / weights.sum(), values[best]
    return weights
