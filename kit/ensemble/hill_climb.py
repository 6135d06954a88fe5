"""Greedy selection of members (Caruana et al. 2004, "Ensemble selection from libraries of models")."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from kit.ensemble.blend_data import Problem
from kit.ensemble.likelihood import follows_from_likelihood, likelihoods, mean_log
from kit.metrics import EPSILON
from kit.runtime.seeds import stable_seed

DIGITS = 12  # scores that differ in later ones are equal

Value = tuple[float, ...]  # the score, then what decides between equal scores; more is better


class Objective(Protocol):
    """What a selection is judged by: a sum of members."""

    def start(self) -> np.ndarray:
        """Return the sum of no members."""

    def member(self, number: int) -> np.ndarray:
        """Return what a member adds to the sum."""

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return how good the sum of ``count`` members is."""


class Likelihood:
    """The log loss: only what members give to the truth matters, one number per row instead of C."""

    def __init__(self, problem: Problem) -> None:
        self.likely = likelihoods(problem.members, problem.targets, problem.task)

    def start(self) -> np.ndarray:
        """Return zeros (N,)."""
        return np.zeros(self.likely.shape[1], dtype=np.float32)

    def member(self, number: int) -> np.ndarray:
        """Return a member's likelihoods (N,)."""
        row: np.ndarray = self.likely[number]
        return row

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return the mean log-likelihood."""
        return (mean_log(np.clip(total * np.float32(1 / count), EPSILON, 1.0, dtype=np.float32)),)


class Scored:
    """Any metric of the mean; of selections that it cannot tell apart, the likelier."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def start(self) -> np.ndarray:
        """Return zeros (N, C)."""
        return np.zeros(self.problem.members.shape[1:], dtype=np.float32)

    def member(self, number: int) -> np.ndarray:
        """Return a member's probabilities (N, C)."""
        row: np.ndarray = self.problem.members[number]
        return row

    def value(self, total: np.ndarray, count: int) -> Value:
        """Return the metric and the mean log-likelihood."""
        mean = np.clip(total * np.float32(1 / count), EPSILON, 1.0, dtype=np.float32)
        likely = likelihoods(mean[None], self.problem.targets, self.problem.task)[0]
        return round(self.problem.value(mean), DIGITS), mean_log(likely)


def climbed_weights(
    problem: Problem, steps: int, bags: int, share: float, warm: int, negative: bool
) -> np.ndarray:
    """Return the weights (M,) of a selection, averaged over bags of members; they sum to 1."""
    number = len(problem.members)
    by_likelihood = follows_from_likelihood(problem.metric, problem.task)
    objective: Objective = Likelihood(problem) if by_likelihood else Scored(problem)
    alone = [objective.value(objective.member(j), 1) for j in range(number)]
    order = sorted(range(number), key=lambda j: alone[j], reverse=True)
    size = number if bags == 1 else min(number, max(2, round(share * number)))
    if size == number:
        return select(objective, order, number, steps, warm, negative)
    rng = np.random.default_rng(stable_seed("bags", problem.seed))
    total = np.zeros(number)
    for _ in range(bags):
        # The best member is in every bag: a blend without it would rarely be wanted.
        others = rng.permutation(order[1:])[: size - 1].tolist()
        bag = [j for j in order if j == order[0] or j in others]
        total += select(objective, bag, number, steps, warm, negative)
    return total / bags


def select(
    objective: Objective, order: list[int], number: int, steps: int, warm: int, negative: bool
) -> np.ndarray:
    """Return the weights (number,) of the best set that a greedy walk comes to; they sum to 1.

    Args:
        order: The members that may be taken, the best alone first.
        warm: The walk begins with as many of the first ones, at most, as score best together.
    """
    walk = _Walk(objective, number)
    walk.begin(order[:warm])
    best, kept = walk.value(), walk.counts.copy()
    moves = [(j, sign) for sign in ((1, -1) if negative else (1,)) for j in order]
    for _ in range(steps):
        possible = [(j, sign) for j, sign in moves if sign > 0 or walk.counts.sum() > 1]
        values = [walk.value_with(j, sign) for j, sign in possible]
        reached = max(values)
        walk.add(*possible[values.index(reached)])
        if reached > best:
            best, kept = reached, walk.counts.copy()
    weights: np.ndarray = kept / kept.sum()
    return weights


class _Walk:
    """A sum of members that grows."""

    def __init__(self, objective: Objective, number: int) -> None:
        self.objective = objective
        self.total = objective.start()
        self.counts = np.zeros(number)

    def begin(self, members: list[int]) -> None:
        """Take as many of the first members as score best together."""
        total, values = self.objective.start(), []
        for count, member in enumerate(members, start=1):
            total = total + self.objective.member(member)
            values.append(self.objective.value(total, count))
        for member in members[: values.index(max(values)) + 1]:
            self.add(member, 1)

    def add(self, member: int, sign: int) -> None:
        """Take one more of a member, or (sign -1) one off."""
        self.total = self.total + np.float32(sign) * self.objective.member(member)
        self.counts[member] += sign

    def value(self) -> Value:
        """Return how good the sum is."""
        return self.objective.value(self.total, int(self.counts.sum()))

    def value_with(self, member: int, sign: int) -> Value:
        """Return how good it would be with one move more."""
        moved = self.total + np.float32(sign) * self.objective.member(member)
        return self.objective.value(moved, int(self.counts.sum()) + sign)
