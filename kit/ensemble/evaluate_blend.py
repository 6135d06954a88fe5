"""Score a blend on rows that its weights were not fitted on, and compare it with its best member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from kit.config import Component
from kit.ensemble.blend_data import BlendData, Combination, weighted_mean
from kit.ensemble.methods.registry import METHOD, BoundMethod
from kit.errors import KitError
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics.bootstrap import Interval, plain_dict
from kit.postprocess.nested_cv import FittedPostprocessing, fit_and_evaluate, gain
from kit.predictions import FinalPredictions
from kit.runtime.progress import SILENT, Progress

MAX_REFITTED = 10  # members; with more, a blend without one member keeps the other weights
CHUNK_COLUMNS = 100_000
CONSTANT = 1e-7  # standard deviation below which a member is constant


@dataclass(frozen=True)
class MemberEvaluation:
    """One member of a blend.

    Attributes:
        score: The metric of the member alone.
        weight: The weight in the final blend; None if the method has no weights.
        cost_of_dropping: How much worse the blend of the other members scores (nested); negative: better.
    """

    label: str
    score: float
    weight: float | None
    cost_of_dropping: float


@dataclass(frozen=True)
class MemberPair:
    """How similar two members are.

    Attributes:
        correlation: Correlation of their probabilities; None if one is constant.
        disagreement: The fraction of images (multi-label: of labels) with different predictions; None for
            numbers.
    """

    a: str
    b: str
    correlation: float | None
    disagreement: float | None


@dataclass(frozen=True)
class BlendEvaluation:
    """The scores of a blend and its members, each with its own fitted postprocessing.

    Attributes:
        nested: The score; the rows of each fold use weights and postprocessing fitted on the other folds.
        fitted: The score on the rows that the weights were fitted on; it is optimistic.
        best: The member with the best score alone.
        gain: How much better ``nested`` is than the best member's score; positive: better.
        interval: The 95 % interval of the gain.
    """

    metric: str
    nested: float
    fitted: float
    best: MemberEvaluation
    gain: float
    interval: Interval
    members: list[MemberEvaluation]
    pairs: list[MemberPair]

    @property
    def beats_best(self) -> bool:
        """Whether the blend is better than its best member beyond noise."""
        return self.interval.is_above_zero

    def to_submit(self, blend: str) -> str:
        """Return the label of what to submit: the blend if it beats its best member, else that member."""
        return blend if self.beats_best else self.best.label

    def verdict(self, blend: str) -> str:
        """Return a sentence that says what to submit, and why."""
        if self.beats_best:
            what = f"beats its best member {self.best.label} beyond noise"
        elif self.interval.is_below_zero:
            what = "is worse than its best member"
        else:
            what = "does not beat its best member beyond noise"
        interval = self.interval.text(signed=True)
        return f"{what} ({self.gain:+.4f}, 95 % interval {interval}): submit {self.to_submit(blend)}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self, dict_factory=plain_dict) | {"beats_best": self.beats_best}


@dataclass(frozen=True)
class NestedScorer:
    """Scores probabilities with nested postprocessing, as for a submission.

    Attributes:
        truth: OOF rows with targets.
        steps: The postprocessing steps to fit.
    """

    truth: LabeledPredictions
    steps: Sequence[Component]

    def _fit(self, probs: np.ndarray) -> FittedPostprocessing:
        rows = replace(self.truth.rows, probs=probs)
        return fit_and_evaluate(self.steps, rows, self.truth.parts, self.truth.units)

    def nested(self, probs: np.ndarray) -> FinalPredictions:
        """Return the predictions of probabilities (N, C) after nested postprocessing."""
        return self._fit(probs).nested

    def score(self, predictions: FinalPredictions) -> float:
        """Return the score of predictions."""
        truth = self.truth
        return truth.metric(truth.targets, predictions.probs, truth.task, predictions.decided)

    def fitted_score(self, probs: np.ndarray) -> float:
        """Return the score of probabilities (N, C) with postprocessing fitted on the same rows."""
        return self.score(self._fit(probs).postprocessing.apply(probs, self.truth.task))

    def gain(self, predictions: FinalPredictions, others: FinalPredictions) -> Interval:
        """Return the 95 % interval of the gain of predictions over others."""
        return gain(self.truth.rows, predictions, others, self.truth.units)


@dataclass(frozen=True)
class FittedBlend:
    """A fitted method.

    Attributes:
        final: The combination fitted on all rows, for the test images.
        parts: For each part its rows, (N,) bool, and the combination fitted on the other rows.
        nested: Probabilities (N, C), float32; each row is blended by the combination of its part.
    """

    final: Combination
    parts: list[tuple[np.ndarray, Combination]]
    nested: np.ndarray


def fit_blend(method: BoundMethod, data: BlendData, parts: np.ndarray) -> FittedBlend:
    """Return a method fitted on all rows, and for each part fitted on the other rows."""
    nested = fit_nested(method, data, parts)
    return FittedBlend(method(data), nested, nested_probs(data, nested))


def fit_nested(
    method: BoundMethod, data: BlendData, parts: np.ndarray
) -> list[tuple[np.ndarray, Combination]]:
    """Return for each part its rows, (N,) bool, and the method fitted on the other rows.

    Raises:
        KitError: The method learns, and there is only one part.
    """
    masks = [parts == part for part in np.unique(parts)]
    if not method.method.learns:
        return [(own, method(data)) for own in masks]
    if len(masks) < 2:
        raise KitError(
            METHOD,
            "cannot be scored: all rows belong to one part",
            "Weights are fitted on some parts and scored on another",
            "Use --method mean.",
            code="one_part",
        )
    return [(own, method(data.only(~own))) for own in masks]


def nested_probs(data: BlendData, parts: Sequence[tuple[np.ndarray, Combination]]) -> np.ndarray:
    """Return each row's probabilities (N, C), float32, by the combination of its part."""
    probs = np.empty(data.members.shape[1:], dtype=np.float32)
    for own, combination in parts:
        probs[own] = data.task.normalized(combination(data.members[:, own]))
    return probs


def evaluate_blend(
    fitted: FittedBlend,
    method: BoundMethod,
    data: BlendData,
    scorer: NestedScorer,
    labels: Sequence[str],
    progress: Progress = SILENT,
) -> BlendEvaluation:
    """Return the evaluation of a fitted blend."""
    dropped = progress.track(range(len(labels)), len(labels), "leaving one member out")
    without = (_without(j, fitted, method, data, scorer.truth.parts) for j in dropped)
    fitted_score = scorer.fitted_score(data.task.normalized(fitted.final(data.members)))
    return compare_with_members(
        data, labels, fitted.nested, fitted_score, fitted.final.weights, without, scorer
    )


def compare_with_members(
    data: BlendData,
    labels: Sequence[str],
    nested: np.ndarray,
    fitted_score: float,
    weights: np.ndarray | None,
    without: Iterable[np.ndarray],
    scorer: NestedScorer,
) -> BlendEvaluation:
    """Return the evaluation of nested probabilities (N, C) in comparison with the members.

    Args:
        fitted_score: The score on the rows that the blend was fitted on.
        weights: (M,), as in ``MemberEvaluation``.
        without: For each member the nested probabilities (N, C) of the blend of the others.
    """
    sign = 1 if data.metric.higher_is_better else -1
    blend, of_members = scorer.nested(nested), [scorer.nested(member) for member in data.members]
    score, alone = scorer.score(blend), [scorer.score(predictions) for predictions in of_members]
    shares = [None] * len(labels) if weights is None else [float(weight) for weight in weights]
    costs = [sign * (score - scorer.score(scorer.nested(left))) for left in without]
    members = [MemberEvaluation(*values) for values in zip(labels, alone, shares, costs, strict=True)]
    best = int(np.argmax(sign * np.asarray(alone)))
    return BlendEvaluation(
        metric=data.metric.name,
        nested=score,
        fitted=fitted_score,
        best=members[best],
        gain=sign * (score - alone[best]),
        interval=scorer.gain(blend, of_members[best]),
        members=members,
        pairs=_pairs(data, labels),
    )


def _without(
    member: int, fitted: FittedBlend, method: BoundMethod, data: BlendData, parts: np.ndarray
) -> np.ndarray:
    """Return the nested probabilities (N, C) of the blend without one member.

    The blend is refitted. With many members, each weight is small, and the other weights are kept instead.
    """
    if len(data.members) <= MAX_REFITTED or fitted.final.weights is None:
        left = data.without(member)
        return nested_probs(left, fit_nested(method, left, parts))
    kept = np.arange(len(data.members)) != member
    numeric = data.task.numeric
    return nested_probs(data, [(own, _only(combination, kept, numeric)) for own, combination in fitted.parts])


def _only(combination: Combination, kept: np.ndarray, numeric: bool) -> Combination:
    """Return the weighted mean of the kept members; with equal weights if all their weights are 0."""
    weights = np.where(kept, np.asarray(combination.weights), 0.0)
    if weights.sum() <= 0:
        weights = kept.astype(np.float64)
    return weighted_mean(weights / weights.sum(), numeric)


def _pairs(data: BlendData, labels: Sequence[str]) -> list[MemberPair]:
    decided = None
    if not data.task.numeric:
        decided = [data.task.decide(member).astype(np.int16) for member in data.members]
    related = _correlations(data.members.reshape(len(labels), -1))
    pairs = []
    for i, j in combinations(range(len(labels)), 2):
        known = None if np.isnan(related[i, j]) else float(related[i, j])
        different = None if decided is None else float((decided[i] != decided[j]).mean())
        pairs.append(MemberPair(labels[i], labels[j], known, different))
    return pairs


def _correlations(rows: np.ndarray) -> np.ndarray:
    """Return the correlations (M, M) of rows (M, K), NaN for a constant row; column chunks save memory."""
    means = rows.mean(axis=1, dtype=np.float64, keepdims=True)
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], CHUNK_COLUMNS):
        centered = rows[:, start : start + CHUNK_COLUMNS] - means
        products += centered @ centered.T
    spread = np.sqrt(products.diagonal())
    spread[spread < CONSTANT * np.sqrt(rows.shape[1])] = np.nan
    correlations: np.ndarray = products / np.outer(spread, spread)
    return correlations
