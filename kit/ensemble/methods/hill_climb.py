"""Method ``hill_climb``: greedy selection of members with replacement.

Caruana et al. 2004, "Ensemble selection from libraries of models".
"""

from __future__ import annotations

from typing import Annotated, Protocol

import numpy as np
from pydantic import Field

from kit.ensemble.blend_data import BlendData, Combination, weighted_mean
from kit.ensemble.likelihood import likelihoods, mean_log, weights_of
from kit.ensemble.methods.registry import register_method
from kit.metrics import EPSILON
from kit.runtime.seeds import stable_seed

DECIMALS = 12  # of scores, for comparisons

Value = tuple[float, ...]  # the score, then the tie-breaker; larger is better


@register_method("hill_climb", learns=True, number=True)
def hill_climb(
    data: BlendData,
    *,
    steps: Annotated[int, Field(ge=1)] = 100,
    bags: Annotated[int, Field(ge=1)] = 10,
    share: Annotated[float, Field(gt=0, le=1)] = 0.5,
    warm: Annotated[int, Field(ge=1)] = 5,
    negative: bool = False,
) -> Combination:
    """Return the weighted mean that greedy selection with replacement finds.

    Args:
        steps: Number of steps, each of which adds a member; the best set of all steps counts.
        bags: Number of selections from random subsets of the members, averaged; 1: one selection from all.
        share: The fraction of the members in a subset.
        warm: Maximum number of best members that a selection starts with.
        negative: Whether members may also be subtracted.
    """
    weights = climbed_weights(data, steps, bags, share, warm, negative)
    return weighted_mean(weights, data.task.numeric)


class Objective(Protocol):
    """The score of a selection, computed from a sum of members."""

    def start(self) -> np.ndarray:
        """Return the empty sum."""

    def member(self, number: int) -> np.ndarray:
        """Return the term of a member in the sum."""

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return the value of the sum of ``count`` members."""


class LikelihoodObjective:
    """The log loss, which needs the probabilities of the truth only: one number per row, not C."""

    def __init__(self, data: BlendData) -> None:
        self.likely = likelihoods(data.members, data.targets, data.task)
        self.weights = weights_of(data.targets, data.task)

    def start(self) -> np.ndarray:
        """Return zeros (N,)."""
        return np.zeros(self.likely.shape[1], dtype=np.float32)

    def member(self, number: int) -> np.ndarray:
        """Return a member's likelihoods (N,)."""
        row: np.ndarray = self.likely[number]
        return row

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return the mean log-likelihood."""
        mean = np.clip(total * np.float32(1 / count), EPSILON, 1.0, dtype=np.float32)
        return (mean_log(mean, self.weights),)


class MetricObjective:
    """Any metric of the mean; the log-likelihood breaks ties."""

    def __init__(self, data: BlendData) -> None:
        self.data = data
        self.weights = weights_of(data.targets, data.task)

    def start(self) -> np.ndarray:
        """Return zeros (N, C)."""
        return np.zeros(self.data.members.shape[1:], dtype=np.float32)

    def member(self, number: int) -> np.ndarray:
        """Return a member's probabilities (N, C)."""
        row: np.ndarray = self.data.members[number]
        return row

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return the metric and the mean log-likelihood."""
        mean = np.clip(total * np.float32(1 / count), EPSILON, 1.0, dtype=np.float32)
        likely = likelihoods(mean[None], self.data.targets, self.data.task)[0]
        return round(self.data.value(mean), DECIMALS), mean_log(likely, self.weights)


class NumberObjective(MetricObjective):
    """Any metric of the mean of numbers; the squared error breaks ties."""

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return the metric and the negative mean squared error."""
        mean = total * np.float32(1 / count)
        return round(self.data.value(mean), DECIMALS), -self.data.mean_squared_error(mean)


def objective_of(data: BlendData) -> Objective:
    """Return the objective that suits the task and the metric."""
    if data.task.numeric:
        return NumberObjective(data)
    return (LikelihoodObjective if data.metric.is_log_likelihood(data.task) else MetricObjective)(data)


def climbed_weights(
    data: BlendData, steps: int, bags: int, share: float, warm: int, negative: bool
) -> np.ndarray:
    """Return the weights (M,) of greedy selection, averaged over bags; they sum to 1."""
    number = len(data.members)
    objective = objective_of(data)
    alone = [objective.value(objective.member(j), 1) for j in range(number)]
    order = sorted(range(number), key=lambda j: alone[j], reverse=True)
    size = number if bags == 1 else min(number, max(2, round(share * number)))
    if size == number:
        return select(objective, order, number, steps, warm, negative)
    rng = np.random.default_rng(stable_seed("bags", data.seed))
    total = np.zeros(number)
    for _ in range(bags):
        # Every bag has the best member, because nearly every good blend has it.
        others = rng.permutation(order[1:])[: size - 1].tolist()
        bag = [j for j in order if j == order[0] or j in others]
        total += select(objective, bag, number, steps, warm, negative)
    return total / bags


def select(
    objective: Objective, order: list[int], number: int, steps: int, warm: int, negative: bool
) -> np.ndarray:
    """Return the weights (number,) of the best set of a greedy selection; they sum to 1.

    Args:
        order: The members that may be added, by score, the best first.
        warm: The selection starts with the best-scoring prefix of ``order``, of at most this length.
    """
    selection = _Selection(objective, number)
    selection.start(order[:warm])
    best, kept = selection.value(), selection.counts.copy()
    moves = [(j, sign) for sign in ((1, -1) if negative else (1,)) for j in order]
    for _ in range(steps):
        possible = [(j, sign) for j, sign in moves if sign > 0 or selection.counts.sum() > 1]
        values = [selection.value_with(j, sign) for j, sign in possible]
        value = max(values)
        selection.add(*possible[values.index(value)])
        if value > best:
            best, kept = value, selection.counts.copy()
    weights: np.ndarray = kept / kept.sum()
    return weights


class _Selection:
    """The selected members: their counts and their sum."""

    def __init__(self, objective: Objective, number: int) -> None:
        self.objective = objective
        self.total = objective.start()
        self.counts = np.zeros(number)

    def start(self, members: list[int]) -> None:
        """Add the best-scoring prefix of ``members``."""
        total, values = self.objective.start(), []
        for count, member in enumerate(members, start=1):
            total = total + self.objective.member(member)
            values.append(self.objective.value(total, count))
        for member in members[: values.index(max(values)) + 1]:
            self.add(member, 1)

    def add(self, member: int, sign: int) -> None:
        """Add a member once more, or subtract it once (sign -1)."""
        self.total = self.total + np.float32(sign) * self.objective.member(member)
        self.counts[member] += sign

    def value(self) -> Value:
        """Return the value of the sum."""
        return self.objective.value(self.total, int(self.counts.sum()))

    def value_with(self, member: int, sign: int) -> Value:
        """Return the value of the sum after adding (sign 1) or subtracting (sign -1) a member."""
        moved = self.total + np.float32(sign) * self.objective.member(member)
        return self.objective.value(moved, int(self.counts.sum()) + sign)
