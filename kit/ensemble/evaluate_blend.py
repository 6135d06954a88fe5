"""What a blend is worth: scored on rows that its weights were not fitted on, beside its best member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from kit.config import Component
from kit.ensemble.blend_data import Combination, Fit, Problem, weighted
from kit.errors import KitError
from kit.evaluation.oof_with_labels import Scored
from kit.metrics.bootstrap import Interval
from kit.postprocess.nested_cv import Outcome, decide, gain
from kit.predictions import FinalPredictions
from kit.runtime.progress import SILENT, Progress

MANY = 10  # members, above which the weights are not fitted anew to see what dropping one costs
COLUMNS_AT_ONCE = 100_000
TINY = 1e-7  # a standard deviation below it is rounding


@dataclass(frozen=True)
class MemberWorth:
    """One member of a blend.

    Attributes:
        score: The metric of the member alone.
        weight: Its weight in what is shipped; None where the method has no weights.
        cost_of_dropping: How much worse the blend of the others scores, nested; below 0 it scores better.
    """

    label: str
    score: float
    weight: float | None
    cost_of_dropping: float


@dataclass(frozen=True)
class Pair:
    """How alike two members are.

    Attributes:
        correlation: Of their probabilities; None where one of them is constant.
        disagreement: The share of images (of labels, where there are several) that they decide otherwise.
    """

    a: str
    b: str
    correlation: float | None
    disagreement: float


@dataclass(frozen=True)
class BlendWorth:
    """A blend beside its members, each with the decisions that are learned for it.

    Attributes:
        nested: The metric, each fold's rows blended and decided as was learned on the others'.
        fitted: The metric on the rows that the weights were fitted on; it flatters.
        best: The member that scores best alone.
        gain: How much better nested is than the best member; positive is better.
        low: Of the 95 % interval of the gain, on the same rows.
        high: Likewise.
    """

    metric: str
    nested: float
    fitted: float
    best: MemberWorth
    gain: float
    low: float
    high: float
    members: list[MemberWorth]
    pairs: list[Pair]

    @property
    def beats_best(self) -> bool:
        """Whether the blend is better than its best member beyond noise."""
        return self.low > 0

    def to_submit(self, blend: str) -> str:
        """Return what to submit: the blend, if it beats its best member beyond noise."""
        return blend if self.beats_best else self.best.label

    @property
    def interval(self) -> str:
        """The interval of the gain, for people."""
        return Interval(self.low, self.high).told(signed=True)

    def verdict(self, blend: str) -> str:
        """Return what to submit, and why."""
        if self.beats_best:
            what = f"beats its best member {self.best.label} beyond noise"
        elif self.high < 0:
            what = "is worse than its best member"
        else:
            what = "does not beat its best member beyond noise"
        return f"{what} ({self.gain:+.4f}, 95 % interval {self.interval}): submit {self.to_submit(blend)}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"beats_best": self.beats_best}


@dataclass(frozen=True)
class Judge:
    """Scores probabilities as they would be handed in: with the decisions that are learned on them, nested.

    Attributes:
        truth: OOF rows beside the truth.
        asked: The decisions to learn.
    """

    truth: Scored
    asked: Sequence[Component]

    def _outcome(self, probs: np.ndarray) -> Outcome:
        rows = replace(self.truth.rows, probs=probs)
        return decide(self.asked, rows, self.truth.parts, self.truth.units)

    def answers(self, probs: np.ndarray) -> FinalPredictions:
        """Return what is handed in for probabilities (N, C)."""
        return self._outcome(probs).nested

    def score(self, answers: FinalPredictions) -> float:
        """Return the metric of what is handed in."""
        truth = self.truth
        return truth.metric(truth.targets, answers.probs, truth.task, answers.decided)

    def fitted_score(self, probs: np.ndarray) -> float:
        """Return the metric of probabilities (N, C) with decisions that were learned on the same rows."""
        return self.score(self._outcome(probs).decision.answers(probs, self.truth.task))

    def gain(self, answers: FinalPredictions, others: FinalPredictions) -> Interval:
        """Return the 95 % interval of how much better answers score than others."""
        return gain(self.truth.rows, answers, others, self.truth.units)


@dataclass(frozen=True)
class Fitted:
    """A method fitted.

    Attributes:
        shipped: Fitted on all rows: for the test images.
        parts: Which rows are a part, (N,) bool, and what was fitted on the others.
        nested: Probabilities (N, C), float32, each row's from the fit on the other parts' rows.
    """

    shipped: Combination
    parts: list[tuple[np.ndarray, Combination]]
    nested: np.ndarray


def fitted(fit: Fit, problem: Problem, parts: np.ndarray) -> Fitted:
    """Return a method fitted on all rows, and for each part on the others."""
    apart = fitted_apart(fit, problem, parts)
    return Fitted(fit(problem), apart, put_together(problem, apart))


def fitted_apart(fit: Fit, problem: Problem, parts: np.ndarray) -> list[tuple[np.ndarray, Combination]]:
    """Return for each part which rows it has, (N,) bool, and the method fitted on the other rows.

    Raises:
        KitError: The method learns, and no part can be left out.
    """
    masks = [parts == part for part in np.unique(parts)]
    if not fit.method.learns:
        return [(own, fit(problem)) for own in masks]
    if len(masks) < 2:
        raise KitError(
            "--method",
            "its weights cannot be proved: all rows belong together",
            "They are learned on some rows and scored on others",
            "Take --method mean.",
        )
    return [(own, fit(problem.only(~own))) for own in masks]


def put_together(problem: Problem, parts: Sequence[tuple[np.ndarray, Combination]]) -> np.ndarray:
    """Return each row's probabilities (N, C), float32, as its part's combination has them."""
    probs = np.empty(problem.members.shape[1:], dtype=np.float32)
    for own, combination in parts:
        probs[own] = problem.task.normalised(combination(problem.members[:, own]))
    return probs


def worth_of(
    result: Fitted,
    fit: Fit,
    problem: Problem,
    judge: Judge,
    labels: Sequence[str],
    progress: Progress = SILENT,
) -> BlendWorth:
    """Return what a fitted blend is worth."""
    others = progress.track(range(len(labels)), len(labels), "leaving one member out")
    without = (_without(j, result, fit, problem, judge.truth.parts) for j in others)
    shown = judge.fitted_score(problem.task.normalised(result.shipped(problem.members)))
    return beside_members(problem, labels, result.nested, shown, result.shipped.weights, without, judge)


def beside_members(
    problem: Problem,
    labels: Sequence[str],
    nested: np.ndarray,
    fitted_score: float,
    weights: np.ndarray | None,
    without: Iterable[np.ndarray],
    judge: Judge,
) -> BlendWorth:
    """Return nested probabilities (N, C) beside the members they were made of.

    Args:
        fitted_score: The metric on the rows that the blend was fitted on.
        weights: (M,), as in ``MemberWorth``.
        without: The nested probabilities (N, C) of the blend of all members but one, for each.
    """
    sign = 1 if problem.metric.higher_is_better else -1
    ours, theirs = judge.answers(nested), [judge.answers(member) for member in problem.members]
    score, alone = judge.score(ours), [judge.score(answers) for answers in theirs]
    shares = [None] * len(labels) if weights is None else [float(weight) for weight in weights]
    costs = [sign * (score - judge.score(judge.answers(left))) for left in without]
    members = [MemberWorth(*values) for values in zip(labels, alone, shares, costs, strict=True)]
    best = int(np.argmax(sign * np.asarray(alone)))
    span = judge.gain(ours, theirs[best])
    return BlendWorth(
        metric=problem.metric.name,
        nested=score,
        fitted=fitted_score,
        best=members[best],
        gain=sign * (score - alone[best]),
        low=span.low,
        high=span.high,
        members=members,
        pairs=_pairs(problem, labels),
    )


def _without(member: int, result: Fitted, fit: Fit, problem: Problem, parts: np.ndarray) -> np.ndarray:
    """Return the nested probabilities (N, C) of a blend without one member.

    Fitted anew; of many members the weights of the others stay as they are, since each of them has little.
    """
    if len(problem.members) <= MANY or result.shipped.weights is None:
        left = problem.without(member)
        return put_together(left, fitted_apart(fit, left, parts))
    kept = np.arange(len(problem.members)) != member
    apart = [(own, _of_others(combination, kept)) for own, combination in result.parts]
    return put_together(problem, apart)


def _of_others(combination: Combination, kept: np.ndarray) -> Combination:
    """Return a weighted mean of the kept members alone; equal weights where they had none."""
    weights = np.where(kept, np.asarray(combination.weights), 0.0)
    if weights.sum() <= 0:
        weights = kept.astype(np.float64)
    return weighted(weights / weights.sum())


def _pairs(problem: Problem, labels: Sequence[str]) -> list[Pair]:
    decided = [problem.task.decide(member).astype(np.int16) for member in problem.members]
    related = _correlations(problem.members.reshape(len(labels), -1))
    pairs = []
    for i, j in combinations(range(len(labels)), 2):
        known = None if np.isnan(related[i, j]) else float(related[i, j])
        pairs.append(Pair(labels[i], labels[j], known, float((decided[i] != decided[j]).mean())))
    return pairs


def _correlations(rows: np.ndarray) -> np.ndarray:
    """Return the correlations of rows (M, K), (M, M), NaN where a row is constant; in little memory."""
    means = rows.mean(axis=1, dtype=np.float64, keepdims=True)
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], COLUMNS_AT_ONCE):
        centred = rows[:, start : start + COLUMNS_AT_ONCE] - means
        products += centred @ centred.T
    spread = np.sqrt(products.diagonal())
    spread[spread < TINY * np.sqrt(rows.shape[1])] = np.nan
    correlations: np.ndarray = products / np.outer(spread, spread)
    return correlations
