"""Fit postprocessing steps on probabilities and labels: a registry with one function per step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from kit.config import Component
from kit.errors import KitError
from kit.metrics import Metric
from kit.metrics.counts import f_beta_of_label
from kit.metrics.likelihoods import expected_grade
from kit.postprocess.steps import CutPoints, Postprocessing, Prior, Step, Temperature, Thresholds
from kit.postprocess.thresholds import (
    Per,
    best_global_micro,
    best_micro,
    best_per_class,
    coordinate_ascent,
    quantiles,
)
from kit.registry import Registry
from kit.runtime.seeds import stable_seed
from kit.tasks import Task

WHERE = "decide"  # the key of the YAML
AUTO, NONE = "auto", "none"  # allowed instead of a list of steps
NUM_CANDIDATES = 40  # values that coordinate ascent tries for each parameter
MAX_SEARCH_CELLS = 300_000  # rows x classes for coordinate ascent, which scores them thousands of times
STRENGTHS = np.linspace(-0.5, 1.5, 41)
LOG_TEMPERATURES = np.log(0.1), np.log(10.0)


@dataclass(frozen=True)
class LabeledProbs:
    """Probabilities and labels on which a step is fitted.

    Attributes:
        targets: As ``Task.targets`` returns them.
        probs: (N, C).
        classes: The names of the C classes.
    """

    targets: np.ndarray
    probs: np.ndarray
    classes: tuple[str, ...]
    task: Task
    metric: Metric

    def value(self, probs: np.ndarray, decided: np.ndarray | None = None) -> float:
        """Return the metric, with its sign changed if lower is better."""
        score = self.metric(self.targets, probs, self.task, decided)
        return score if self.metric.higher_is_better else -score

    def subset(self, rows: np.ndarray) -> LabeledProbs:
        """Return a subset of the rows, given by indices or a mask."""
        return replace(self, targets=self.targets[rows], probs=self.probs[rows])

    def sample(self) -> LabeledProbs:
        """Return a random sample of the rows (fixed seed), small enough for coordinate ascent."""
        size = max(1000, MAX_SEARCH_CELLS // self.probs.shape[1])
        if len(self.probs) <= size:
            return self
        rng = np.random.default_rng(stable_seed("rows of a search", len(self.probs)))
        return self.subset(np.sort(rng.choice(len(self.probs), size, replace=False)))


FitFunction = Callable[..., Step]


@dataclass(frozen=True)
class StepKind:
    """A registered postprocessing step.

    Attributes:
        fit: Returns the step fitted on ``LabeledProbs``; keyword arguments are its options.
        suits: Whether the step is defined for a task and number of classes.
        helps: Whether the step can improve a metric of the task, so that ``auto`` tries it.
    """

    name: str
    fit: FitFunction
    suits: Callable[[Task, int], bool]
    helps: Callable[[Metric, Task], bool]


step_kinds: Registry[StepKind] = Registry("postprocessing step", function=lambda kind: kind.fit)


def register_step(
    name: str, suits: Callable[[Task, int], bool], helps: Callable[[Metric, Task], bool]
) -> Callable[[FitFunction], FitFunction]:
    """Register the function that fits a step; the arguments are the attributes of ``StepKind``."""

    def add(fit: FitFunction) -> FitFunction:
        step_kinds.register(name)(StepKind(name, fit, suits, helps))
        return fit

    return add


def check_steps(steps: list[Component], task: Task, num_classes: int | None) -> None:
    """Check that steps and their options exist and suit the task.

    Raises:
        KitError: A step or option is unknown, repeated or unsuitable; the message lists the suitable steps.
    """
    names = [component.name for component in steps]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise KitError(
            WHERE, f"lists {repeated[0]} twice", "List each step at most once", code="duplicate_step"
        )
    for component in steps:
        if component.name in (AUTO, NONE):
            if len(steps) > 1 or component.options:
                raise KitError(
                    WHERE,
                    f"{component.name} cannot be combined with options or other steps",
                    code="step_not_alone",
                )
            continue
        kind, _ = step_kinds.bind(component, f"{WHERE}.{component.name}")
        if num_classes is not None and not kind.suits(task, num_classes):
            suitable = [name for name in step_kinds if step_kinds.get(name).suits(task, num_classes)]
            raise KitError(
                WHERE,
                f"{kind.name} is not defined for task {task.name} with {num_classes} classes",
                f"Suitable steps: {', '.join(suitable)}",
                code="step_unsuitable",
            )


def fit_steps(steps: list[Component], rows: LabeledProbs) -> Postprocessing:
    """Return the steps fitted in order, each on the output of the steps before it."""
    postprocessing = Postprocessing()
    for component in steps:
        kind, options = step_kinds.bind(component, f"{WHERE}.{component.name}")
        adjusted = replace(rows, probs=postprocessing.apply(rows.probs, rows.task).probs)
        postprocessing = postprocessing.then(kind.fit(adjusted, **options))
    return postprocessing


def _uses_probabilities(metric: Metric, task: Task) -> bool:
    return metric.needs == "probabilities"


def _uses_thresholded_labels(metric: Metric, task: Task) -> bool:
    return metric.needs == "labels" and (not task.exclusive or task.is_binary)


def _weights_classes(metric: Metric, task: Task) -> bool:
    return metric.needs == "labels" and task.is_nominal and not metric.equal_images


@register_step("temperature", suits=lambda task, num_classes: True, helps=_uses_probabilities)
def temperature(rows: LabeledProbs) -> Temperature:
    """Return the temperature with the best score (Guo et al. 2017).

    If the metric uses only labels: the temperature with the smallest log loss.
    """
    from scipy.optimize import minimize_scalar

    from kit.metrics import get_metric

    scored_rows = (
        rows
        if rows.metric.needs == "probabilities"
        else replace(rows, metric=get_metric("log_loss", rows.task))
    )

    def loss(log_temperature: float) -> float:
        return -scored_rows.value(Temperature(float(np.exp(log_temperature))).adjust(rows.probs, rows.task))

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-4})
    unchanged = loss(0.0) <= found.fun  # the search can miss the optimum of a piecewise constant metric
    return Temperature(1.0 if unchanged else float(np.exp(found.x)))


@register_step("prior", suits=lambda task, num_classes: task.exclusive, helps=_weights_classes)
def prior(rows: LabeledProbs) -> Prior:
    """Return the prior correction with the best score (Saerens et al. 2002)."""
    shares = tuple(map(float, rows.task.prior(rows.targets, rows.probs.shape[1])))
    tried, sample = [Prior(float(strength), shares) for strength in STRENGTHS], rows.sample()
    values = [sample.value(step.adjust(sample.probs, sample.task)) for step in tried]
    best = np.flatnonzero(np.asarray(values) == max(values))
    return tried[int(best[np.abs(STRENGTHS[best]).argmin()])]  # among ties, the smallest correction


@register_step(
    "thresholds",
    suits=lambda task, num_classes: not task.exclusive or num_classes == 2,
    helps=_uses_thresholded_labels,
)
def thresholds(
    rows: LabeledProbs,
    *,
    per: Per = "class",
    at_least_one: bool = False,
    at_most: Annotated[int, Field(ge=1)] | None = None,
    fallback: str | None = None,
) -> Thresholds:
    """Return the thresholds with the best score, one per class or one for all classes.

    The search is exact for F-beta (macro, micro, weighted), label accuracy and Matthews with one threshold
    per class, and for micro F-beta with one for all. For other metrics, and with rules (``at_least_one``,
    ``at_most``, ``fallback``), it is a coordinate ascent.

    Raises:
        KitError: The fallback is not a class, or is combined with ``at_least_one``; or rules are given for
            two exclusive classes.
    """
    if rows.task.exclusive and (at_least_one or at_most is not None or fallback is not None):
        raise KitError(
            "decide.thresholds",
            "has rules, but each image has exactly one class",
            "at_least_one, at_most and fallback are for images with any number of labels",
            code="option_unsuitable",
        )
    rules = Thresholds((), at_least_one, at_most, _fallback_index(fallback, rows.classes, at_least_one))
    labels = rows.targets if not rows.task.exclusive else rows.targets[:, None]
    probs = rows.probs if not rows.task.exclusive else rows.probs[:, 1:]
    width = probs.shape[1]
    start, exact = _best_without_rules(rows.metric, probs, labels, per)
    if exact and not (at_least_one or at_most is not None or fallback is not None):
        return replace(rules, values=_per_class(start, rows))
    sample = rows.sample()

    def score(values: np.ndarray) -> float:
        step = replace(rules, values=_per_class(values, rows))
        return sample.value(sample.probs, step.predict_labels(sample.probs, sample.task))

    columns = sample.probs if not rows.task.exclusive else sample.probs[:, 1:]
    if per == "all" or width == 1:
        tried = np.concatenate([quantiles(columns, NUM_CANDIDATES * 5), start[:1], [0.5]])
        best = max(tried, key=lambda value: score(np.full(width, value)))
        return replace(rules, values=_per_class(np.full(width, best), rows))
    candidates = [quantiles(columns[:, c], NUM_CANDIDATES) for c in range(width)]
    better_start = max((start, np.full(width, 0.5)), key=score)
    return replace(rules, values=_per_class(coordinate_ascent(better_start, candidates, score), rows))


def _fallback_index(fallback: str | None, classes: tuple[str, ...], at_least_one: bool) -> int | None:
    if fallback is None:
        return None
    if at_least_one:
        raise KitError(
            "decide.thresholds",
            "sets fallback and at_least_one, which both choose the label of an image without one",
            "Set at most one of them",
            code="options_conflict",
        )
    if fallback not in classes:
        raise KitError(
            "decide.thresholds.fallback",
            f"'{fallback}' is not a class",
            f"Classes: {', '.join(classes)}",
            code="unknown_class",
        )
    return classes.index(fallback)


def _per_class(values: np.ndarray, rows: LabeledProbs) -> tuple[float, ...]:
    """Return one threshold per class; for two exclusive classes, they sum to 1."""
    numbers = [float(value) for value in values]
    return (1 - numbers[0], numbers[0]) if rows.task.exclusive else tuple(numbers)


def _best_without_rules(
    metric: Metric, probs: np.ndarray, labels: np.ndarray, per: Per
) -> tuple[np.ndarray, bool]:
    """Return good thresholds (C,) for labels and probabilities (N, C), and whether they are optimal."""
    width = probs.shape[1]
    if metric.is_micro and width > 1:
        if per == "class":
            return best_micro(probs, labels, metric.beta), True
        return np.full(width, best_global_micro(probs, labels, metric.beta)), True
    value = metric.label_value if width > 1 else metric.binary_value
    found = best_per_class(probs, labels, value or f_beta_of_label, metric.beta if value else 1.0)
    return found, value is not None and (per == "class" or width == 1)


@register_step(
    "cut_points",
    suits=lambda task, num_classes: task.ordinal,
    helps=lambda metric, task: metric.needs == "labels" and task.ordinal,
)
def cut_points(rows: LabeledProbs) -> CutPoints:
    """Return the cut points of the expected grade with the best score.

    Coordinate ascent from two starts: halfway between the grades, and where the predicted class shares equal
    the true ones.
    """
    sample = rows.sample()
    grades = expected_grade(sample.probs)
    num_classes = sample.probs.shape[1]
    shares = np.cumsum(np.bincount(sample.targets, minlength=num_classes))[:-1] / len(sample.targets)

    def score(values: np.ndarray) -> float:
        step = CutPoints(tuple(values.tolist()))
        return sample.value(sample.probs, step.predict_labels(sample.probs, sample.task))

    starts = [np.arange(num_classes - 1) + 0.5, np.quantile(grades, shares)]
    candidates = [quantiles(grades, NUM_CANDIDATES * 2)] * (num_classes - 1)
    reached = [coordinate_ascent(start, candidates, score, ordered=True) for start in starts]
    best = reached[int(np.argmax([score(values) for values in reached]))]
    return CutPoints(tuple(best.tolist()))
