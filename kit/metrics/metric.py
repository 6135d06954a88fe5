"""A metric has a direction, tasks and options; its scorer computes scores for any weights of the rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from kit.config import Component
from kit.errors import KitError, counted
from kit.registry import Registry
from kit.tasks import MULTILABEL, Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Needs = Literal["labels", "probabilities", "ranking"]

# (hits, predicted, support, number of rows, beta) -> value; arrays of one shape
ValueOfCounts = Callable[[np.ndarray, np.ndarray, np.ndarray, int, float], np.ndarray]


class Scorer(Protocol):
    """A metric bound to targets and predictions; called with weights of the rows, it returns scores."""

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return one score per weighting, (D,); NaN where it cannot be computed.

        Args:
            weights: (D, N), at least 0: how often a row was drawn, or 0 and 1 to select rows.
        """


@dataclass(frozen=True)
class SumScorer:
    """A scorer that needs only sums over the rows.

    Attributes:
        rows: (N, S), the terms of each row in S sums.
        finish: The function from sums (D, S) and total weights (D,) to scores (D,).
    """

    rows: np.ndarray | csr_matrix
    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return one score per weighting (D, N); NaN where all weights are 0."""
        if isinstance(self.rows, np.ndarray):
            # einsum, because for so few columns the threads of a matrix product cost more than they save.
            sums = np.einsum("dn,ns->ds", weights, self.rows)
        else:
            sums = (self.rows.T @ weights.T).T
        total = weights.sum(axis=1)
        return np.where(total > 0, self.finish(sums, total), np.nan)


def mean_scorer(values: np.ndarray) -> SumScorer:
    """Return the scorer of the weighted mean of ``values`` (N,)."""
    return SumScorer(values.astype(np.float64)[:, None], lambda sums, total: ratio(sums[:, 0], total))


def ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Return ``part / whole``, or ``otherwise`` where the whole is not above 0."""
    part, whole = np.broadcast_arrays(part, whole)
    empty = np.full(part.shape, otherwise, dtype=np.float64)
    return np.asarray(np.divide(part, whole, out=empty, where=whole > 0))


@dataclass(frozen=True)
class Metric:
    """A metric with its options.

    Attributes:
        kind: The name in the registry.
        function: The function of targets (see ``Task.targets``), inputs (see ``inputs``), task and options
            that returns a scorer.
        higher_is_better: The direction.
        needs: The input: predicted labels (``labels``), the order of probabilities (``ranking``), or their
            values (``probabilities``).
        exclusive: True: for tasks with one class per image; False: for multi-label tasks; None: for both.
        options: The values of all options.
        binary: Whether it scores the second of two classes only.
        ordinal: Whether it measures distances between grades, so that other classes have no score.
        numeric: Whether it scores numbers (regression) only (True), classes only (False), or both (None).
        lowest: The lowest number that it scores; a prediction below it counts as this number.
        likelihood: The tasks for which it is the mean log-likelihood of the truth: all, or exclusive ones.
        soft: Whether it compares with a distribution over the classes, where the task has one; otherwise it
            scores against the class with the largest share.
        equal_images: Whether every image counts the same, whatever its class.
        label_value: For multi-label tasks: the function of a label's counts whose mean over the labels is the
            metric. None: the metric is not such a mean.
        binary_value: The same for the second of two exclusive classes.
        is_micro: Whether it is an F-beta of the counts of all labels together.
        needs_both: Whether it is a mean over classes, each of which needs images with and without it.
        scored: The indices of the classes that are averaged; None: all.
    """

    kind: str
    function: Callable[..., Scorer]
    higher_is_better: bool
    needs: Needs
    exclusive: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    binary: bool = False
    ordinal: bool = False
    numeric: bool | None = False
    lowest: float | None = None
    likelihood: Literal["all", "exclusive"] | None = None
    soft: bool = False
    equal_images: bool = False
    label_value: ValueOfCounts | None = None
    binary_value: ValueOfCounts | None = None
    is_micro: bool = False
    needs_both: bool = False
    scored: tuple[int, ...] | None = None

    @property
    def beta(self) -> float:
        """The beta of an F-beta; 1 unless it is an option."""
        return float(self.options.get("beta", 1.0))

    @property
    def name(self) -> str:
        """The name with all options that differ from the default, such as ``top_k(k=3)``."""
        defaults = _defaults(self.function)
        changed = [f"{key}={value}" for key, value in self.options.items() if value != defaults.get(key)]
        return f"{self.kind}({', '.join(changed)})" if changed else self.kind

    def inputs(self, probs: np.ndarray, task: Task, decided: np.ndarray | None = None) -> np.ndarray:
        """Return the input of the metric: the probabilities (N, C), or the labels predicted from them.

        Args:
            decided: Class indices (N,), or 0/1 (N, C), in place of ``task.decide(probs)``.
        """
        if self.needs != "labels":
            return probs
        return task.decide(probs) if decided is None else decided

    def scorer(
        self, targets: np.ndarray, probs: np.ndarray, task: Task, decided: np.ndarray | None = None
    ) -> Scorer:
        """Return the scorer of these rows; the arguments are those of a call.

        Raises:
            KitError: The metric cannot be computed on these rows.
        """
        if len(targets) == 0:
            raise KitError(f"metric {self.name}", "has no rows to score", code="no_rows")
        inputs = self.inputs(probs, task, decided)
        targets, task = self._truth(targets, task)
        if self.scored is not None:
            columns = list(self.scored)
            targets, inputs = task.one_hot(targets, probs.shape[1])[:, columns], inputs[:, columns]
            task = MULTILABEL
        return self.function(targets, inputs, task, **self.options)

    def _truth(self, targets: np.ndarray, task: Task) -> tuple[np.ndarray, Task]:
        """Return targets and task as the function takes them."""
        return (targets, task) if self.soft else (task.majority(targets), task.hard)

    def __call__(
        self, targets: np.ndarray, probs: np.ndarray, task: Task, decided: np.ndarray | None = None
    ) -> float:
        """Return the score of probabilities (N, C) against targets.

        Args:
            decided: Class indices (N,), or 0/1 (N, C), in place of ``task.decide(probs)``.

        Raises:
            KitError: The metric cannot be computed on these rows.
        """
        score = float(self.scorer(targets, probs, task, decided)(np.ones((1, len(targets))))[0])
        if np.isnan(score):
            problem = f"cannot be computed on these {counted(len(targets), 'row')}"
            raise KitError(f"metric {self.name}", problem, code="metric_not_computable")
        return score

    def for_rows(self, targets: np.ndarray, num_classes: int, task: Task) -> Metric:
        """Return the metric of rows that lack some classes: the mean over the other classes.

        Returns:
            The same metric, unless it is a mean over classes that need images with and without each class.
        """
        if not self.needs_both or self.options.get("average") == "micro" or task.is_binary:
            return self
        targets, task = self._truth(targets, task)
        truth = task.one_hot(targets, num_classes)
        scored = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
        return self if len(scored) in (0, num_classes) else replace(self, scored=tuple(scored.tolist()))

    def better(self, a: float, b: float) -> bool:
        """Return whether score ``a`` is better than score ``b``."""
        return a > b if self.higher_is_better else a < b

    def is_log_likelihood(self, task: Task) -> bool:
        """Return whether the metric is the mean log-likelihood of the truth."""
        return self.likelihood == "all" or (self.likelihood == "exclusive" and task.exclusive)

    def suits(self, task: Task) -> bool:
        """Return whether the metric is defined for the task."""
        if task.numeric or self.numeric:
            return task.numeric and self.numeric is not False
        if (self.binary and not task.is_binary) or (self.ordinal and not task.ordinal):
            return False
        return self.exclusive is None or self.exclusive == task.exclusive


# Metrics with their default options.
metrics: Registry[Metric] = Registry("metric", function=lambda metric: metric.function)


def register_scorer(
    name: str,
    needs: Needs,
    higher_is_better: bool = True,
    exclusive: bool | None = None,
    **attributes: Any,
) -> Callable[[Callable[..., Scorer]], Callable[..., Scorer]]:
    """Register a function of targets, inputs, task and keyword-only options that returns a ``Scorer``.

    The arguments are the attributes of ``Metric``.
    """

    def add(function: Callable[..., Scorer]) -> Callable[..., Scorer]:
        defaults = _defaults(function)
        metric = Metric(name, function, higher_is_better, needs, exclusive, defaults, **attributes)
        metrics.register(name)(metric)
        return function

    return add


def register_metric(
    name: str,
    needs: Needs,
    higher_is_better: bool = True,
    exclusive: bool | None = None,
    **attributes: Any,
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Register a function of targets, inputs, task and keyword-only options that returns the score.

    This is the simplest way to add a metric. The bootstrap calls the function once per draw, which may be
    slow. The function raises KitError where the score cannot be computed.
    """

    def add(score: Callable[..., float]) -> Callable[..., float]:
        @wraps(score)  # keeps the signature, from which options are read
        def function(targets: np.ndarray, inputs: np.ndarray, task: Task, **options: Any) -> Scorer:
            return _RepeatedScorer(
                lambda rows: score(targets[rows], inputs[rows], task, **options), len(targets)
            )

        register_scorer(name, needs, higher_is_better, exclusive, **attributes)(function)
        return score

    return add


class _RepeatedScorer:
    """The scorer of a function of the rows, which it calls once per weighting."""

    def __init__(self, score_of: Callable[[np.ndarray], float], num_rows: int) -> None:
        self.score_of = score_of
        self.rows = np.arange(num_rows)
        self.full_score = score_of(self.rows)  # raises here if the rows cannot be scored

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return np.array([self._score(row) for row in weights], dtype=np.float64)

    def _score(self, weights: np.ndarray) -> float:
        if (weights == 1).all():
            return self.full_score
        counts = weights.astype(np.int64)
        if (counts != weights).any():
            raise ValueError("a metric function without a scorer takes integer weights only")
        try:
            return self.score_of(np.repeat(self.rows, counts)) if counts.any() else np.nan
        except KitError:
            return np.nan


def get_metric(chosen: str | Component, task: Task, where: str = "competition.metric") -> Metric:
    """Return the metric that a config names, with its options.

    Raises:
        KitError: The name or an option is unknown, or the metric is not defined for the task.
    """
    component = Component(name=chosen) if isinstance(chosen, str) else chosen
    metric, options = metrics.bind(component, where)
    if not metric.suits(task):
        suitable = ", ".join(other.kind for other in metrics.values() if other.suits(task))
        raise KitError(
            where,
            f"{metric.kind} does not suit the task {task.name}",
            f"Metrics for this task: {suitable}",
            code="metric_unsuitable",
        )
    return replace(metric, options={**metric.options, **options})


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is not p.empty}
