"""Score postprocessing by nested cross-validation: steps are fitted on all folds but the one they score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kit.config import Component
from kit.metrics.bootstrap import Interval, gain_interval
from kit.postprocess.postprocessing import AUTO, NONE, Postprocessing, fit_steps
from kit.postprocess.step import LabeledProbs, step_types
from kit.predictions import FinalPredictions


@dataclass(frozen=True)
class StepsEvaluation:
    """The nested score of fitted steps, and their gain.

    Attributes:
        steps: The names of the steps.
        score: The metric on rows that the steps were not fitted on.
        fitted: The metric on the rows that the steps were fitted on (optimistic).
        gain: The improvement in ``score``; positive is better.
        interval: The paired 95 % interval of the gain.
        shipped: Whether the steps are applied to the submission.
        told: One line per step with the values fitted on all rows.
    """

    steps: list[str]
    score: float
    fitted: float
    gain: float
    interval: Interval
    shipped: bool
    told: list[str]

    @property
    def name(self) -> str:
        """The steps on one line."""
        return " + ".join(self.steps)

    @property
    def verdict(self) -> str:
        """Whether the steps are applied."""
        return "applied" if self.shipped else "no gain beyond noise: not applied"


@dataclass(frozen=True)
class FittedPostprocessing:
    """Steps fitted on all rows, with their evaluation.

    Attributes:
        tried: Every evaluated list of steps, in order.
        nested: Each row's predictions after the steps fitted on the other parts.
    """

    postprocessing: Postprocessing
    tried: list[StepsEvaluation]
    nested: FinalPredictions


def plain(rows: LabeledProbs) -> FinalPredictions:
    """Return the predictions without postprocessing."""
    return Postprocessing().apply(rows.probs, rows.task)


def fit_and_evaluate(
    steps: Sequence[Component], rows: LabeledProbs, parts: np.ndarray, units: np.ndarray | None
) -> FittedPostprocessing:
    """Return steps fitted on all rows, and evaluated by nested cross-validation.

    ``auto`` tries each step that can improve the metric and keeps it if it gains beyond noise (the only
    choice made on all rows). Steps given by name are always kept. If all rows are in one part, nothing is
    fitted.

    Args:
        parts: (N,), the part of each row, such as its fold; a part is left out as a whole.
        units: (N,), the bootstrap unit of each row; None: each row is one.
    """
    names = [component.name for component in steps]
    if names in ([], [NONE]) or len(np.unique(parts)) < 2:
        return FittedPostprocessing(Postprocessing(), [], plain(rows))
    if names == [AUTO]:
        return _fit_auto(rows, parts, units)
    nested = nested_predictions(list(steps), rows, parts)
    postprocessing = fit_steps(list(steps), rows)
    evaluation = evaluate_steps(postprocessing, nested, plain(rows), rows, units, True)
    return FittedPostprocessing(postprocessing, [evaluation], nested)


def _fit_auto(rows: LabeledProbs, parts: np.ndarray, units: np.ndarray | None) -> FittedPostprocessing:
    best = FittedPostprocessing(Postprocessing(), [], plain(rows))
    for name in suggested(rows):
        steps = [*(Component(name=step.name) for step in best.postprocessing.steps), Component(name=name)]
        nested = nested_predictions(steps, rows, parts)
        postprocessing = fit_steps(steps, rows)
        evaluation = evaluate_steps(postprocessing, nested, best.nested, rows, units, None)
        tried = [*best.tried, evaluation]
        if evaluation.shipped:
            best = FittedPostprocessing(postprocessing, tried, nested)
        else:
            best = replace(best, tried=tried)
    return best


def suggested(rows: LabeledProbs) -> list[str]:
    """Return the names of the steps that can improve the metric."""
    num_classes, task = rows.probs.shape[1], rows.task
    return [s.name for s in step_types.values() if s.suits(task, num_classes) and s.helps(rows.metric, task)]


def nested_predictions(steps: list[Component], rows: LabeledProbs, parts: np.ndarray) -> FinalPredictions:
    """Return each row's predictions after the steps fitted on the other parts."""
    probs, decided = rows.probs.copy(), rows.task.decide(rows.probs)
    for part in np.unique(parts):
        own = parts == part
        predictions = fit_steps(steps, rows.subset(~own)).apply(rows.probs[own], rows.task)
        probs[own], decided[own] = predictions.probs, predictions.decided
    return FinalPredictions(probs, decided)


def evaluate_steps(
    postprocessing: Postprocessing,
    nested: FinalPredictions,
    before: FinalPredictions,
    rows: LabeledProbs,
    units: np.ndarray | None,
    shipped: bool | None,
) -> StepsEvaluation:
    """Return the scores of steps, and their gain over the predictions before.

    Args:
        nested: Each row's predictions after the steps fitted on the other parts.
        shipped: Whether the steps are applied; None: if the gain is beyond noise.
    """
    interval = gain(rows, nested, before, units)
    optimistic = postprocessing.apply(rows.probs, rows.task)
    fitted = rows.metric(rows.targets, optimistic.probs, rows.task, optimistic.decided)
    score = rows.metric(rows.targets, nested.probs, rows.task, nested.decided)
    score_before = rows.metric(rows.targets, before.probs, rows.task, before.decided)
    return StepsEvaluation(
        steps=[step.name for step in postprocessing.steps],
        score=score,
        fitted=fitted,
        gain=score - score_before if rows.metric.higher_is_better else score_before - score,
        interval=interval,
        shipped=interval.is_above_zero if shipped is None else shipped,
        told=[step.describe(rows.classes) for step in postprocessing.steps],
    )


def gain(
    rows: LabeledProbs, after: FinalPredictions, before: FinalPredictions, units: np.ndarray | None
) -> Interval:
    """Return the paired 95 % interval of the gain of some predictions over others of the same rows."""
    scorer_after, scorer_before = (
        rows.metric.scorer(rows.targets, each.probs, rows.task, each.decided) for each in (after, before)
    )
    return gain_interval(rows.metric, scorer_after, scorer_before, rows.probs.shape, units)


def as_json(
    fitted: FittedPostprocessing, steps: Sequence[Component], classes: Sequence[str]
) -> dict[str, Any]:
    """Return plain values to save: the configured steps, and the fitted ones."""
    return {
        "asked": [component.model_dump() for component in steps],
        "classes": list(classes),
        "steps": fitted.postprocessing.as_list(),
    }
