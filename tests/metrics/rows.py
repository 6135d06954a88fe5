"""Random labels and probabilities for each task, with tied probabilities and classes of very different size."""

from dataclasses import dataclass

import numpy as np

from kit.metrics import Metric, get_metric, metrics
from kit.tasks import Task, tasks


@dataclass(frozen=True)
class Rows:
    task: Task
    targets: np.ndarray
    probs: np.ndarray

    @property
    def decided(self) -> np.ndarray:
        return self.task.decide(self.probs)

    @property
    def one_hot(self) -> np.ndarray:
        return self.task.one_hot(self.targets, self.probs.shape[1])

    def subset(self, rows) -> "Rows":
        return Rows(self.task, self.targets[rows], self.probs[rows])

    def score(self, name, **options) -> float:
        return get_configured(name, self.task, **options)(self.targets, self.probs, self.task)

    def scorer(self, name, **options):
        return get_configured(name, self.task, **options).scorer(self.targets, self.probs, self.task)


def get_configured(name, task, **options) -> Metric:
    from kit.config import Component

    return get_metric(Component.model_validate({"name": name, **options}), task)


def exclusive_rows(classes: int, rows: int = 300, task: str = "multiclass", seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    targets = rng.choice(classes, rows, p=shares)
    weights = rng.dirichlet(np.ones(classes), rows) + 0.4 * np.eye(classes)[targets]
    weights = np.round(weights, 2) + 0.01  # ties between rows
    return Rows(tasks.get(task), targets, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def multilabel_rows(classes: int = 4, rows: int = 300, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, classes)) < np.linspace(0.1, 0.6, classes)).astype(np.float32)
    probs = np.clip(rng.random((rows, classes)) * 0.7 + 0.3 * targets, 0.01, 0.99)
    return Rows(tasks.get("multilabel"), targets, np.round(probs, 2).astype(np.float32))


def regression_rows(rows: int = 300, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    targets = np.round(rng.gamma(2.0, 20.0, (rows, 1)))  # with ties
    predicted = np.round(targets * 0.8 + rng.normal(0, 8, (rows, 1)))  # some are below 0
    return Rows(tasks.get("regression"), targets, predicted.astype(np.float32))


MULTICLASS_ROWS, BINARY_ROWS, MULTILABEL_ROWS = (
    exclusive_rows(6),
    exclusive_rows(2, task="binary"),
    multilabel_rows(),
)
ORDINAL_ROWS = exclusive_rows(5, task="ordinal", seed=3)
REGRESSION_ROWS = regression_rows()
CASES = [
    (name, rows)
    for rows in (MULTICLASS_ROWS, BINARY_ROWS, MULTILABEL_ROWS, REGRESSION_ROWS)
    for name in metrics
    if metrics.get(name).suits(rows.task)
]
CASES += [(name, ORDINAL_ROWS) for name in metrics if metrics.get(name).ordinal]
OPTIONS = {"top_k": {"k": 1}, "map_at_k": {"k": 3}}
CASE_NAMES = [f"{name}-{rows.task.name}" for name, rows in CASES]
