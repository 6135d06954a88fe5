"""(targets, probabilities) -> score; every metric knows which way is better and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kit.errors import KitError
from kit.registry import Registry
from kit.tasks import Task

Score = Callable[[np.ndarray, np.ndarray, Task], float]
EPSILON = 1e-7  # probabilities are float32: nothing nearer to 0 or 1 can be told apart in a log


@dataclass(frozen=True)
class Metric:
    """One way to score.

    Attributes:
        score: From targets (see ``Task.targets``), probabilities (N, C) and the task to a number.
        higher_is_better: Its direction.
        needs: ``labels`` if the decision is enough, ``probabilities`` if not.
        exclusive: Whether it is for tasks with one class per image, for the others, or (None) for both.
    """

    name: str
    score: Score
    higher_is_better: bool
    needs: Literal["labels", "probabilities"]
    exclusive: bool | None = None

    def __call__(self, targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
        """Return the score of probabilities (N, C) against targets.

        Raises:
            KitError: The metric cannot be computed on these rows; the message says why.
        """
        if len(targets) == 0:
            raise KitError(f"metric {self.name}", "there are no rows to score")
        return float(self.score(targets, probs, task))

    def better(self, a: float, b: float) -> bool:
        """Tell whether score ``a`` beats score ``b``."""
        return a > b if self.higher_is_better else a < b

    def suits(self, task: Task) -> bool:
        """Tell whether the metric means something for the task."""
        return self.exclusive is None or self.exclusive == task.exclusive


metrics: Registry[Metric] = Registry("metric")


def register_metric(
    name: str,
    needs: Literal["labels", "probabilities"],
    higher_is_better: bool = True,
    exclusive: bool | None = None,
) -> Callable[[Score], Score]:
    """Register a metric; the arguments are the attributes of ``Metric``."""

    def add(score: Score) -> Score:
        metrics.register(name)(Metric(name, score, higher_is_better, needs, exclusive))
        return score

    return add


def get_metric(name: str, task: Task, where: str = "competition.metric") -> Metric:
    """Return the metric called ``name``, refusing one that means nothing for the task."""
    metric = metrics.get(name, where)
    if not metric.suits(task):
        fitting = ", ".join(n for n in metrics if metrics.get(n).suits(task))
        raise KitError(where, f"{name} does not suit the task {task.name}", f"Those that do: {fitting}")
    return metric


@register_metric("accuracy", needs="labels")
def accuracy(targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
    """Return the share of right decisions: of images, or (multi-label) of single labels."""
    return float((task.decide(probs) == targets).mean())


@register_metric("balanced_accuracy", needs="labels", exclusive=True)
def balanced_accuracy(targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
    """Return the mean over the classes that occur of the share of their images decided right."""
    right = task.decide(probs) == targets
    occurring = np.bincount(targets)
    return float((np.bincount(targets, weights=right)[occurring > 0] / occurring[occurring > 0]).mean())


@register_metric("log_loss", needs="probabilities", higher_is_better=False)
def log_loss(targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
    """Return the mean negative log-likelihood per image; multi-label: the mean over images and classes.

    Rows of an exclusive task are divided by their sum first, as public leaderboards do.
    """
    probs = probs.astype(np.float64)
    if task.exclusive:
        probs = probs / probs.sum(axis=1, keepdims=True)
        chosen = probs[np.arange(len(targets)), targets]
        return float(-np.log(np.clip(chosen, EPSILON, 1.0)).mean())
    likelihood = np.where(targets == 1, probs, 1.0 - probs)
    return float(-np.log(np.clip(likelihood, EPSILON, 1.0)).mean())


@register_metric("roc_auc", needs="probabilities")
def roc_auc(targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
    """Return the area under the ROC curve: of the second of two classes, or the mean of one-against-rest."""
    from sklearn.metrics import roc_auc_score

    num_classes = probs.shape[1]
    truth = task.one_hot(targets, num_classes)
    columns = [1] if task.exclusive and num_classes == 2 else range(num_classes)
    lonely = [c for c in columns if not 0 < truth[:, c].sum() < len(truth)]
    if lonely:
        raise KitError(
            "metric roc_auc",
            f"{len(lonely)} classes have no positive or no negative among these {len(truth)} rows "
            f"(first: class number {lonely[0]})",
            "An area needs both",
            "Use fewer folds, or another competition.metric.",
        )
    return float(np.mean([roc_auc_score(truth[:, c], probs[:, c]) for c in columns]))


@register_metric("f1_macro", needs="labels")
def f1_macro(targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
    """Return the unweighted mean of the classes' F1, over the classes that occur or are predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(targets, task.decide(probs), average="macro", zero_division=0))


@register_metric("quadratic_kappa", needs="labels", exclusive=True)
def quadratic_kappa(targets: np.ndarray, probs: np.ndarray, task: Task) -> float:
    """Return Cohen's kappa with quadratic weights: agreement beyond chance, far misses counting most.

    Classes are grades in their order. Where only one grade occurs and is decided, agreement is complete: 1.
    """
    from sklearn.metrics import cohen_kappa_score

    decided = task.decide(probs)
    if (decided == targets).all():
        return 1.0
    grades = np.arange(probs.shape[1])
    return float(cohen_kappa_score(targets, decided, labels=grades, weights="quadratic"))
