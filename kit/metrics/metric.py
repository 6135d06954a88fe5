"""What a metric is: it scores rows, knows which way is better, and hears how much each row counts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from kit.config import Component
from kit.errors import KitError
from kit.registry import Registry, bind_options
from kit.tasks import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BINARY = "binary"  # the task of two classes
ORDINAL = "ordinal"  # the task of grades

Needs = Literal["labels", "probabilities", "ranking"]


class Scorer(Protocol):
    """A metric on given rows, waiting to hear how much each row counts."""

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return a score for each weighting, (D,): NaN where it cannot be computed.

        Args:
            weights: (D, N), at least 0: how often a row was drawn, or 0 and 1 to pick some rows.
        """


@dataclass(frozen=True)
class Sums:
    """A score that follows from sums over the rows.

    Attributes:
        rows: (N, S), what each row adds to each of S sums.
        finish: From the sums (D, S) and the weights' totals (D,) to the scores (D,).
    """

    rows: np.ndarray | csr_matrix
    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return a score for each weighting (D, N), NaN where all weights are 0."""
        if isinstance(self.rows, np.ndarray):
            # Not a matrix product: its threads wait for each other longer than such thin sums take.
            sums = np.einsum("dn,ns->ds", weights, self.rows)
        else:
            sums = (self.rows.T @ weights.T).T
        total = weights.sum(axis=1)
        return np.where(total > 0, self.finish(sums, total), np.nan)


def mean_of(values: np.ndarray) -> Sums:
    """Return the scorer of a mean over the rows of ``values`` (N,)."""
    return Sums(values.astype(np.float64)[:, None], lambda sums, total: ratio(sums[:, 0], total))


def ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Return ``part / whole``, and ``otherwise`` where the whole is not above 0."""
    part, whole = np.broadcast_arrays(part, whole)
    empty = np.full(part.shape, otherwise, dtype=np.float64)
    return np.asarray(np.divide(part, whole, out=empty, where=whole > 0))


@dataclass(frozen=True)
class Metric:
    """One way to score.

    Attributes:
        kind: The name that it is registered under.
        function: From targets (see ``Task.targets``), answers (see ``answers``), the task and the options to
            a scorer.
        higher_is_better: Its direction.
        needs: What it looks at: the decision (``labels``), the order of the probabilities (``ranking``), or
            their values (``probabilities``).
        exclusive: Whether it is for tasks with one class per image, for the others, or (None) for both.
        options: The value of each of its options.
        binary: Whether it is about the second of two classes alone.
        ordinal: Whether it is about how far grades are apart, so that classes must be grades.
    """

    kind: str
    function: Callable[..., Scorer]
    higher_is_better: bool
    needs: Needs
    exclusive: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    binary: bool = False
    ordinal: bool = False

    @property
    def name(self) -> str:
        """Its name as shown, with the options that are not the default: ``top_k(k=3)``."""
        usual = _defaults(self.function)
        said = [f"{key}={value}" for key, value in self.options.items() if value != usual.get(key)]
        return f"{self.kind}({', '.join(said)})" if said else self.kind

    def answers(self, probs: np.ndarray, task: Task, decided: np.ndarray | None = None) -> np.ndarray:
        """Return what it looks at of probabilities (N, C): the decision, if labels are all it needs.

        Args:
            decided: Class indices (N,), or 0/1 (N, C), to take instead of ``task.decide(probs)``.
        """
        if self.needs != "labels":
            return probs
        return task.decide(probs) if decided is None else decided

    def scorer(
        self, targets: np.ndarray, probs: np.ndarray, task: Task, decided: np.ndarray | None = None
    ) -> Scorer:
        """Return what scores these rows however much each of them counts; arguments as in a call.

        Raises:
            KitError: The metric cannot be computed on these rows; the message says why.
        """
        if len(targets) == 0:
            raise KitError(f"metric {self.name}", "there are no rows to score")
        return self.function(targets, self.answers(probs, task, decided), task, **self.options)

    def __call__(
        self, targets: np.ndarray, probs: np.ndarray, task: Task, decided: np.ndarray | None = None
    ) -> float:
        """Return the score of probabilities (N, C) against targets.

        Args:
            decided: Class indices (N,), or 0/1 (N, C), to take instead of ``task.decide(probs)``.

        Raises:
            KitError: The metric cannot be computed on these rows; the message says why.
        """
        score = float(self.scorer(targets, probs, task, decided)(np.ones((1, len(targets))))[0])
        if np.isnan(score):
            raise KitError(f"metric {self.name}", f"cannot be computed on these {len(targets)} rows")
        return score

    def better(self, a: float, b: float) -> bool:
        """Tell whether score ``a`` beats score ``b``."""
        return a > b if self.higher_is_better else a < b

    def suits(self, task: Task) -> bool:
        """Tell whether the metric means something for the task."""
        if (self.binary and task.name != BINARY) or (self.ordinal and task.name != ORDINAL):
            return False
        return self.exclusive is None or self.exclusive == task.exclusive


metrics: Registry[Metric] = Registry("metric")  # each with its default options


def register_scorer(
    name: str,
    needs: Needs,
    higher_is_better: bool = True,
    exclusive: bool | None = None,
    binary: bool = False,
    ordinal: bool = False,
) -> Callable[[Callable[..., Scorer]], Callable[..., Scorer]]:
    """Register a function of targets, answers, task and keyword-only options that returns a ``Scorer``.

    The arguments are the attributes of ``Metric``.
    """

    def add(function: Callable[..., Scorer]) -> Callable[..., Scorer]:
        usual = _defaults(function)
        metric = Metric(name, function, higher_is_better, needs, exclusive, usual, binary, ordinal)
        metrics.register(name)(metric)
        return function

    return add


def register_metric(
    name: str,
    needs: Needs,
    higher_is_better: bool = True,
    exclusive: bool | None = None,
    binary: bool = False,
    ordinal: bool = False,
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Register a function of targets, answers, task and keyword-only options that returns the score.

    The simplest way to add a metric. Where rows are drawn anew it is computed anew, so it may be slow there.
    It raises KitError where it cannot be computed.
    """

    def add(score: Callable[..., float]) -> Callable[..., float]:
        @wraps(score)  # so that its options are found
        def function(targets: np.ndarray, answers: np.ndarray, task: Task, **options: Any) -> Scorer:
            return _Recomputed(
                lambda rows: score(targets[rows], answers[rows], task, **options), len(targets)
            )

        register_scorer(name, needs, higher_is_better, exclusive, binary, ordinal)(function)
        return score

    return add


class _Recomputed:
    """The scorer of a plain function: asked again for each draw of rows."""

    def __init__(self, score_of: Callable[[np.ndarray], float], num_rows: int) -> None:
        self.score_of = score_of
        self.rows = np.arange(num_rows)
        self.whole = score_of(self.rows)  # what cannot be scored at all is refused here

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return np.array([self._score(row) for row in weights], dtype=np.float64)

    def _score(self, weights: np.ndarray) -> float:
        if (weights == 1).all():
            return self.whole
        counts = weights.astype(np.int64)
        if (counts != weights).any():
            raise ValueError("a plain metric can repeat rows, not weigh them")
        try:
            return self.score_of(np.repeat(self.rows, counts)) if counts.any() else np.nan
        except KitError:
            return np.nan


def get_metric(asked: str | Component, task: Task, where: str = "competition.metric") -> Metric:
    """Return the metric that is asked for, its options in place.

    Raises:
        KitError: The name or an option is unknown, or the metric means nothing for the task.
    """
    component = Component(name=asked) if isinstance(asked, str) else asked
    metric = metrics.get(component.name, where)
    if not metric.suits(task):
        fitting = ", ".join(n for n in metrics if metrics.get(n).suits(task))
        raise KitError(
            where, f"{metric.kind} does not suit the task {task.name}", f"Those that do: {fitting}"
        )
    bound = bind_options(where, metric.function, component.options)
    return replace(metric, options={**metric.options, **bound})


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is not p.empty}
