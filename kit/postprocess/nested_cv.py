"""Decisions learned on the rows of all folds but one and scored on that one: what they are really worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kit.config import Component
from kit.metrics.bootstrap import Interval, gain_interval
from kit.postprocess.fit import AUTO, NONE, Rows, decisions, learned
from kit.postprocess.steps import Decision
from kit.predictions import FinalPredictions


@dataclass(frozen=True)
class Worth:
    """What learned steps bring.

    Attributes:
        steps: Their names.
        score: The metric on rows that they were not learned on.
        fitted: The metric on the rows that they were learned on: what others would show.
        gain: How much better than without, positive is better.
        low: Of the 95 % interval of the gain, on the same rows.
        high: Likewise.
        shipped: Whether they are applied to what is handed in.
        told: One line per step on what was learned from all rows.
    """

    steps: list[str]
    score: float
    fitted: float
    gain: float
    low: float
    high: float
    shipped: bool
    told: list[str]

    @property
    def name(self) -> str:
        """The steps on one line."""
        return " + ".join(self.steps)

    @property
    def verdict(self) -> str:
        """Whether the steps are applied."""
        return "applied" if self.shipped else "no help beyond noise: not applied"

    @property
    def interval(self) -> str:
        """The interval of the gain, for people."""
        return Interval(self.low, self.high).text(signed=True)


@dataclass(frozen=True)
class Outcome:
    """Steps learned from all rows, what they are worth, and the answers of steps learned without each row.

    Attributes:
        tried: Everything that was tried, in order.
        nested: For each row the answer of the steps learned on the other parts.
    """

    decision: Decision
    tried: list[Worth]
    nested: FinalPredictions


def plain(rows: Rows) -> FinalPredictions:
    """Return the answers without any learned step."""
    return Decision().answers(rows.probs, rows.task)


def decide(asked: Sequence[Component], rows: Rows, parts: np.ndarray, units: np.ndarray | None) -> Outcome:
    """Return the steps that are asked for, learned on all rows and proved on rows left out.

    ``auto`` tries each step that can help the metric and keeps it if it helps beyond noise (the one choice
    that is made on all rows); steps that are named are kept whatever they bring. Where all rows are of one
    part, none can be left out and nothing is learned.

    Args:
        parts: (N,), which rows are left out together: the folds.
        units: (N,), which rows belong together when rows are drawn for an interval; None: each alone.
    """
    names = [component.name for component in asked]
    if names in ([], [NONE]) or len(np.unique(parts)) < 2:
        return Outcome(Decision(), [], plain(rows))
    if names == [AUTO]:
        return _tried(rows, parts, units)
    answers = nested_answers(list(asked), rows, parts)
    decision = learned(list(asked), rows)
    return Outcome(decision, [worth_of(decision, answers, plain(rows), rows, units, True)], answers)


def _tried(rows: Rows, parts: np.ndarray, units: np.ndarray | None) -> Outcome:
    best = Outcome(Decision(), [], plain(rows))
    for name in suggested(rows):
        steps = [*(Component(name=step.name) for step in best.decision.steps), Component(name=name)]
        answers = nested_answers(steps, rows, parts)
        decision = learned(steps, rows)
        worth = worth_of(decision, answers, best.nested, rows, units, None)
        tried = [*best.tried, worth]
        best = (
            Outcome(decision, tried, answers) if worth.shipped else Outcome(best.decision, tried, best.nested)
        )
    return best


def suggested(rows: Rows) -> list[str]:
    """Return the steps that can help the metric of the rows."""
    kinds = [decisions.get(name) for name in decisions]
    num_classes = rows.probs.shape[1]
    return [k.name for k in kinds if k.suits(rows.task, num_classes) and k.helps(rows.metric, rows.task)]


def nested_answers(asked: list[Component], rows: Rows, parts: np.ndarray) -> FinalPredictions:
    """Return for each row the answer of steps learned on the rows of the other parts."""
    probs, decided = rows.probs.copy(), rows.task.decide(rows.probs)
    for part in np.unique(parts):
        own = parts == part
        answers = learned(asked, rows.only(~own)).answers(rows.probs[own], rows.task)
        probs[own], decided[own] = answers.probs, answers.decided
    return FinalPredictions(probs, decided)


def worth_of(
    decision: Decision,
    answers: FinalPredictions,
    before: FinalPredictions,
    rows: Rows,
    units: np.ndarray | None,
    shipped: bool | None,
) -> Worth:
    """Return what steps bring against the answers before them; ``shipped`` None: if it is beyond noise."""
    found = gain(rows, answers, before, units)
    shown = decision.answers(rows.probs, rows.task)
    fitted = rows.metric(rows.targets, shown.probs, rows.task, shown.decided)
    score = rows.metric(rows.targets, answers.probs, rows.task, answers.decided)
    was = rows.metric(rows.targets, before.probs, rows.task, before.decided)
    return Worth(
        steps=[step.name for step in decision.steps],
        score=score,
        fitted=fitted,
        gain=score - was if rows.metric.higher_is_better else was - score,
        low=found.low,
        high=found.high,
        shipped=found.low > 0 if shipped is None else shipped,
        told=[step.told(rows.classes) for step in decision.steps],
    )


def gain(
    rows: Rows, answers: FinalPredictions, before: FinalPredictions, units: np.ndarray | None
) -> Interval:
    """Return the 95 % interval of how much better answers score than others on the same rows."""
    ours, theirs = (
        rows.metric.scorer(rows.targets, each.probs, rows.task, each.decided) for each in (answers, before)
    )
    return gain_interval(rows.metric, ours, theirs, rows.probs.shape, units)


def stored(outcome: Outcome, asked: Sequence[Component], classes: Sequence[str]) -> dict[str, Any]:
    """Return what is kept of a decision: what was asked, and the steps with what they learned."""
    return {
        "asked": [component.model_dump() for component in asked],
        "classes": list(classes),
        "steps": outcome.decision.as_list(),
    }
