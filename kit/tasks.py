"""Tasks, such as multi-class, soft labels, multi-label and regression, each described by its attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from kit.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

LABEL = "label"  # the column of class names, for tasks with one class per image
VALUE = "value"  # the column of numbers, for regression; it is the only entry of the "classes"
NO_LABEL = ""  # in the column of class names: the image has no label
UNKNOWN = -1  # in a 0/1 column: unknown whether the image has the class


Target = Literal["class", "distribution", "classes", "number"]


@dataclass(frozen=True)
class Task:
    """What the label of an image is: one class, a distribution over classes, several classes, a number.

    A number is handled like the probability of one class called ``value``: predictions are (N, 1), and so are
    targets, in the units of the data.

    A distribution is handled like one class, the one with the largest share, wherever code needs a class: by
    ``majority`` and ``hard``.

    Attributes:
        name: The value of ``competition.task``.
        description: One line, for lists of tasks.
        exclusive: Whether an image has exactly one class, or shares of the classes that sum to 1. Samples
            then have a column ``label``; otherwise one 0/1 column per class, or the column ``value``.
        activation: The function from logits to probabilities; ``scale``: logits become numbers by the scale
            of the training targets (``kit.engine.optim.target_scale``).
        loss: The default loss.
        ordinal: Whether the classes are grades, in order.
        num_classes: The number of classes, if the task fixes it.
        numeric: Whether the label is a number, so that nothing that needs classes applies.
        soft: Whether the label is a distribution over exclusive classes. Samples then have one column of
            shares per class besides ``label``, the class with the largest share.
        usual_metrics: Metrics that competitions of this task usually have, most likely first.
    """

    name: str
    description: str
    exclusive: bool
    activation: Literal["softmax", "sigmoid", "scale"]
    loss: str
    ordinal: bool = False
    num_classes: int | None = None
    numeric: bool = False
    soft: bool = False
    usual_metrics: tuple[str, ...] = ("accuracy", "balanced_accuracy", "f1_macro")

    @property
    def is_binary(self) -> bool:
        """Whether an image has one of exactly two classes."""
        return self.exclusive and self.num_classes == 2

    @property
    def is_nominal(self) -> bool:
        """Whether an image has one of any number of classes without an order."""
        return self.exclusive and not self.ordinal and self.num_classes is None

    @property
    def hard(self) -> Task:
        """The task of the classes with the largest shares; the same task unless labels are distributions."""
        return MULTICLASS if self.soft else self

    @property
    def target(self) -> Target:
        """What a loss gets as target: one class, a distribution, several classes, or a number."""
        if self.numeric:
            return "number"
        if self.soft:
            return "distribution"
        return "class" if self.exclusive else "classes"

    def label_columns(self, classes: Sequence[str]) -> list[str]:
        """Return the label columns of a table of samples or folds."""
        shares = [] if self.exclusive and not self.soft else list(classes)
        return [LABEL, *shares] if self.exclusive else shares

    def labeled(self, samples: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
        """Return which samples have a label, (N,), bool; without one, it is blank, -1 or NaN."""
        return labeled(samples, self.label_columns(classes))

    def targets(self, samples: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
        """Return the labels of labeled samples as numbers, rows in table order.

        Returns:
            Exclusive tasks: class indices (N,), int64. Distributions: (N, C), float64, rows sum to 1.
            Multi-label: (N, C), float32, 0 or 1. Regression: (N, 1), float64, the numbers exactly as in the
            data.
        """
        if self.exclusive and not self.soft:
            import pandas as pd  # the config schema imports this module, and does not need pandas

            index = pd.Index(classes).get_indexer(pd.Index(samples[LABEL]))
            if (index < 0).any():
                raise ValueError("a label is not among the classes")
            return index.astype(np.int64)
        exact = np.float64 if self.numeric or self.soft else np.float32
        matrix: np.ndarray = samples[list(classes)].to_numpy(dtype=exact)
        return matrix

    def one_hot(self, targets: np.ndarray, num_classes: int) -> np.ndarray:
        """Return targets as a matrix (N, C), float32; distributions (N, C) and numbers as they are."""
        are_indices = self.exclusive and targets.ndim == 1
        matrix: np.ndarray = np.eye(num_classes, dtype=np.float32)[targets] if are_indices else targets
        return matrix

    def majority(self, targets: np.ndarray) -> np.ndarray:
        """Return the class with the largest share of each distribution, (N,): of equal ones, the first.

        Targets of other tasks are returned as they are. The result is in the form of ``hard``'s targets.
        """
        return targets.argmax(axis=1) if self.soft else targets

    def normalized(self, probs: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) as float32; for exclusive classes each row sums to 1.

        With two exclusive classes, the first is exactly one minus the second: a submission that holds only
        one of them loses nothing.
        """
        total = probs.sum(axis=1, keepdims=True) if self.exclusive else 1.0
        shares: np.ndarray = (probs / total).astype(np.float32)
        if self.exclusive and shares.shape[1] == 2:
            shares[:, 0] = 1 - shares[:, 1]
        return shares

    def decide(self, probs: np.ndarray) -> np.ndarray:
        """Return the labels for probabilities (N, C): class indices (N,), or 0/1 at 0.5 (N, C).

        Numbers (N, 1) are returned as they are.
        """
        if self.numeric:
            return probs.copy()  # a caller may change the labels of some rows
        decided: np.ndarray = probs.argmax(axis=1) if self.exclusive else (probs >= 0.5).astype(np.int64)
        return decided

    def prior(self, targets: np.ndarray, num_classes: int) -> np.ndarray:
        """Return each class's share of the targets, (C,), float32: the prediction for an unreadable image.

        Of numbers: their mean, (1,).
        """
        shares: np.ndarray = self.one_hot(targets, num_classes).mean(axis=0, dtype=np.float64)
        return shares.astype(np.float32)


def has_label_column(label_columns: Sequence[str]) -> bool:
    """Return whether the label columns begin with the column of class names; shares may follow."""
    return list(label_columns[:1]) == [LABEL]


def has_value_column(label_columns: Sequence[str]) -> bool:
    """Return whether the label columns are the one column of numbers, not 0/1 columns."""
    return list(label_columns) == [VALUE]


def labeled(samples: pd.DataFrame, label_columns: Sequence[str]) -> np.ndarray:
    """Return which samples have a label, (N,), bool; without one, it is blank, -1 or NaN."""
    if has_label_column(label_columns):
        return (samples[LABEL] != NO_LABEL).to_numpy(dtype=bool)
    if has_value_column(label_columns):
        return np.asarray(np.isfinite(samples[VALUE].to_numpy(dtype=np.float64)))
    block: np.ndarray = samples[list(label_columns)].to_numpy(dtype=np.int8)
    return np.asarray((block != UNKNOWN).all(axis=1))


MULTICLASS = Task("multiclass", "one of several classes per image", True, "softmax", "cross_entropy")
BINARY = Task("binary", "one of two classes per image", True, "softmax", "cross_entropy", num_classes=2)
ORDINAL = Task(
    "ordinal",
    "one of several grades per image",
    True,
    "softmax",
    "cross_entropy",
    ordinal=True,
    usual_metrics=("quadratic_kappa", "accuracy"),
)
MULTILABEL = Task(
    "multilabel",
    "any number of classes per image",
    False,
    "sigmoid",
    "bce",
    usual_metrics=("roc_auc", "f1_macro", "log_loss"),
)
SOFT = Task(
    "soft",
    "a distribution over the classes per image, such as the votes of several people",
    True,
    "softmax",
    "cross_entropy",
    soft=True,
    usual_metrics=("kl_divergence", "log_loss", "accuracy"),
)
REGRESSION = Task(
    "regression",
    "one number per image",
    False,
    "scale",
    "mse",
    numeric=True,
    usual_metrics=("rmse", "mae", "r2", "spearman", "rmsle"),
)

tasks: Registry[Task] = Registry("task")
for _task in (MULTICLASS, BINARY, ORDINAL, SOFT, MULTILABEL, REGRESSION):
    tasks.register(_task.name)(_task)
