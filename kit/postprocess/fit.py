"""How each step is learned from probabilities and the truth: a registry, filled here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from kit.config import Component
from kit.errors import KitError
from kit.metrics import Metric
from kit.metrics.counts import f_beta_value
from kit.metrics.likelihoods import expected_grade
from kit.postprocess.steps import CutPoints, Decision, Prior, Step, Temperature, Thresholds
from kit.postprocess.thresholds import (
    Per,
    best_global_micro,
    best_micro,
    best_per_class,
    climb,
    quantiles,
)
from kit.registry import Registry
from kit.runtime.seeds import stable_seed
from kit.tasks import Task

WHERE = "decide"  # the key of the YAML
AUTO, NONE = "auto", "none"  # what may stand instead of steps
CANDIDATES = 40  # values that a search by steps tries for each number
CLIMBED_CELLS = 300_000  # rows x classes that such a search looks at: it scores them thousands of times
STRENGTHS = np.linspace(-0.5, 1.5, 41)
COLDEST, HOTTEST = np.log(0.1), np.log(10.0)


@dataclass(frozen=True)
class Rows:
    """Probabilities beside the truth, as a step is learned from them.

    Attributes:
        targets: As ``Task.targets`` gives them.
        probs: (N, C).
        classes: The names of the C classes.
    """

    targets: np.ndarray
    probs: np.ndarray
    classes: tuple[str, ...]
    task: Task
    metric: Metric

    def value(self, probs: np.ndarray, decided: np.ndarray | None = None) -> float:
        """Return the metric so that more is better."""
        score = self.metric(self.targets, probs, self.task, decided)
        return score if self.metric.higher_is_better else -score

    def only(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return replace(self, targets=self.targets[rows], probs=self.probs[rows])

    def few(self) -> Rows:
        """Return as many rows, drawn by a fixed seed, as a search by steps has time for."""
        wanted = max(1000, CLIMBED_CELLS // self.probs.shape[1])
        if len(self.probs) <= wanted:
            return self
        rng = np.random.default_rng(stable_seed("rows of a search", len(self.probs)))
        return self.only(np.sort(rng.choice(len(self.probs), wanted, replace=False)))


Learn = Callable[..., Step]


@dataclass(frozen=True)
class Kind:
    """A step that can be learned.

    Attributes:
        learn: From ``Rows`` and options to the step.
        suits: Whether it means anything for a task.
        helps: Whether it can make a metric of that task better, so that ``auto`` tries it.
    """

    name: str
    learn: Learn
    suits: Callable[[Task, int], bool]
    helps: Callable[[Metric, Task], bool]


decisions: Registry[Kind] = Registry("decision", function=lambda kind: kind.learn)


def register_decision(
    name: str, suits: Callable[[Task, int], bool], helps: Callable[[Metric, Task], bool]
) -> Callable[[Learn], Learn]:
    """Register how a step is learned; the arguments are the attributes of ``Kind``."""

    def add(learn: Learn) -> Learn:
        decisions.register(name)(Kind(name, learn, suits, helps))
        return learn

    return add


def check_decisions(asked: list[Component], task: Task, num_classes: int | None) -> None:
    """Refuse a step or an option that does not exist, or that means nothing for the task.

    Raises:
        KitError: The message names what does.
    """
    names = [component.name for component in asked]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise KitError(WHERE, f"has {twice[0]} twice", "Each step once", code="duplicate_step")
    for component in asked:
        if component.name in (AUTO, NONE):
            if len(asked) > 1 or component.options:
                raise KitError(
                    WHERE,
                    f"{component.name} stands alone, without options or other steps",
                    code="step_not_alone",
                )
            continue
        kind, _ = decisions.bind(component, f"{WHERE}.{component.name}")
        if num_classes is not None and not kind.suits(task, num_classes):
            fitting = [name for name in decisions if decisions.get(name).suits(task, num_classes)]
            raise KitError(
                WHERE,
                f"{kind.name} means nothing for the task {task.name} of {num_classes} classes",
                f"Those that do: {', '.join(fitting)}",
                code="step_unsuitable",
            )


def learned(asked: list[Component], rows: Rows) -> Decision:
    """Return the steps that are asked for, each learned on what the ones before it make of the rows."""
    decision = Decision()
    for component in asked:
        kind, options = decisions.bind(component, f"{WHERE}.{component.name}")
        so_far = replace(rows, probs=decision.answers(rows.probs, rows.task).probs)
        decision = decision.then(kind.learn(so_far, **options))
    return decision


def _wants_probabilities(metric: Metric, task: Task) -> bool:
    return metric.needs == "probabilities"


def _wants_decisions_of_labels(metric: Metric, task: Task) -> bool:
    return metric.needs == "labels" and (not task.exclusive or task.is_binary)


def _wants_rare_classes(metric: Metric, task: Task) -> bool:
    return metric.needs == "labels" and task.is_nominal and not metric.equal_images


@register_decision("temperature", suits=lambda task, num_classes: True, helps=_wants_probabilities)
def temperature(rows: Rows) -> Temperature:
    """Return the temperature with which the probabilities score best (Guo et al. 2017).

    For a metric that does not look at probabilities: the one with the smallest log loss.
    """
    from scipy.optimize import minimize_scalar

    from kit.metrics import get_metric

    judge = (
        rows
        if rows.metric.needs == "probabilities"
        else replace(rows, metric=get_metric("log_loss", rows.task))
    )

    def loss(log_temperature: float) -> float:
        return -judge.value(Temperature(float(np.exp(log_temperature))).adjusted(rows.probs, rows.task))

    found = minimize_scalar(loss, bounds=(COLDEST, HOTTEST), method="bounded", options={"xatol": 1e-4})
    calm = loss(0.0) <= found.fun  # a measure with steps may have led the search astray
    return Temperature(1.0 if calm else float(np.exp(found.x)))


@register_decision("prior", suits=lambda task, num_classes: task.exclusive, helps=_wants_rare_classes)
def prior(rows: Rows) -> Prior:
    """Return how strongly to divide by the classes' shares, for the metric at hand (Saerens et al. 2002)."""
    shares = tuple(map(float, rows.task.prior(rows.targets, rows.probs.shape[1])))
    tried, few = [Prior(float(strength), shares) for strength in STRENGTHS], rows.few()
    values = [few.value(step.adjusted(few.probs, few.task)) for step in tried]
    best = np.flatnonzero(np.asarray(values) == max(values))
    return tried[int(best[np.abs(STRENGTHS[best]).argmin()])]  # of equals the one that changes least


@register_decision(
    "thresholds",
    suits=lambda task, num_classes: not task.exclusive or num_classes == 2,
    helps=_wants_decisions_of_labels,
)
def thresholds(
    rows: Rows,
    *,
    per: Per = "class",
    at_least_one: bool = False,
    at_most: Annotated[int, Field(ge=1)] | None = None,
    fallback: str | None = None,
) -> Thresholds:
    """Return the thresholds that score best, one per class or one for all.

    Exact for F-beta (macro, micro, weighted), label accuracy and Matthews by class, and for micro F-beta with
    one for all; by steps for other metrics, and where rules apply beside the thresholds.

    Raises:
        KitError: The fallback is no class, or is given together with ``at_least_one``; or rules are given for
            two exclusive classes.
    """
    if rows.task.exclusive and (at_least_one or at_most is not None or fallback is not None):
        raise KitError(
            "decide.thresholds",
            "rules are for images that may have several labels or none",
            code="option_unsuitable",
        )
    rules = Thresholds((), at_least_one, at_most, _position(fallback, rows.classes, at_least_one))
    labels = rows.targets if not rows.task.exclusive else rows.targets[:, None]
    probs = rows.probs if not rows.task.exclusive else rows.probs[:, 1:]
    width = probs.shape[1]
    start, exact = _without_rules(rows.metric, probs, labels, per)
    if exact and not (at_least_one or at_most is not None or fallback is not None):
        return replace(rules, values=_spread(start, rows))
    few = rows.few()

    def score(values: np.ndarray) -> float:
        return few.value(few.probs, replace(rules, values=_spread(values, rows)).decided(few.probs, few.task))

    columns = few.probs if not rows.task.exclusive else few.probs[:, 1:]
    if per == "all" or width == 1:
        tried = np.concatenate([quantiles(columns, CANDIDATES * 5), start[:1], [0.5]])
        best = max(tried, key=lambda value: score(np.full(width, value)))
        return replace(rules, values=_spread(np.full(width, best), rows))
    candidates = [quantiles(columns[:, c], CANDIDATES) for c in range(width)]
    begun = max((start, np.full(width, 0.5)), key=score)
    return replace(rules, values=_spread(climb(begun, candidates, score), rows))


def _position(fallback: str | None, classes: tuple[str, ...], at_least_one: bool) -> int | None:
    if fallback is None:
        return None
    if at_least_one:
        raise KitError(
            "decide.thresholds",
            "fallback and at_least_one both say what an image without a label gets",
            code="options_conflict",
        )
    if fallback not in classes:
        raise KitError(
            "decide.thresholds.fallback",
            f"'{fallback}' is no class",
            f"Classes: {', '.join(classes)}",
            code="unknown_class",
        )
    return classes.index(fallback)


def _spread(values: np.ndarray, rows: Rows) -> tuple[float, ...]:
    """Return one threshold per class; of two exclusive classes the first's is what the second's leaves."""
    numbers = [float(value) for value in values]
    return (1 - numbers[0], numbers[0]) if rows.task.exclusive else tuple(numbers)


def _without_rules(
    metric: Metric, probs: np.ndarray, labels: np.ndarray, per: Per
) -> tuple[np.ndarray, bool]:
    """Return good thresholds (C,) for labels and probabilities (N, C), and whether they are the best."""
    width = probs.shape[1]
    if metric.is_micro and width > 1:
        if per == "class":
            return best_micro(probs, labels, metric.beta), True
        return np.full(width, best_global_micro(probs, labels, metric.beta)), True
    value = metric.label_value if width > 1 else metric.binary_value
    found = best_per_class(probs, labels, value or f_beta_value, metric.beta if value else 1.0)
    return found, value is not None and (per == "class" or width == 1)


@register_decision(
    "cut_points",
    suits=lambda task, num_classes: task.ordinal,
    helps=lambda metric, task: metric.needs == "labels" and task.ordinal,
)
def cut_points(rows: Rows) -> CutPoints:
    """Return where to cut the expected grade, so that the grades score best.

    Begins where the decided shares are those of the truth, and halfway between the grades.
    """
    few = rows.few()
    grades = expected_grade(few.probs)
    num_classes = few.probs.shape[1]
    shares = np.cumsum(np.bincount(few.targets, minlength=num_classes))[:-1] / len(few.targets)

    def score(values: np.ndarray) -> float:
        return few.value(few.probs, CutPoints(tuple(values.tolist())).decided(few.probs, few.task))

    starts = [np.arange(num_classes - 1) + 0.5, np.quantile(grades, shares)]
    candidates = [quantiles(grades, CANDIDATES * 2)] * (num_classes - 1)
    reached = [climb(start, candidates, score, ordered=True) for start in starts]
    best = reached[int(np.argmax([score(values) for values in reached]))]
    return CutPoints(tuple(best.tolist()))
