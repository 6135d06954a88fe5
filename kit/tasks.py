"""What binary, multi-class, ordinal and multi-label mean, said once: nothing else asks ``if task ==``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from kit.registry import Registry


@dataclass(frozen=True)
class Task:
    """One way in which images and classes belong together.

    Attributes:
        name: As the config writes it.
        exclusive: Whether an image has exactly one class. Then samples carry a column ``label``;
            otherwise one 0/1 column per class.
        activation: What turns logits into probabilities.
        loss: The loss taken when the config names none.
    """

    name: str
    exclusive: bool
    activation: Literal["softmax", "sigmoid"]
    loss: str

    def label_columns(self, classes: Sequence[str]) -> list[str]:
        """Return the columns of a samples or folds table that hold the labels."""
        return ["label"] if self.exclusive else list(classes)

    def labelled(self, samples: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
        """Return which samples have a label, (N,), bool; one without has a blank label, or −1 for classes."""
        if self.exclusive:
            return (samples["label"] != "").to_numpy(dtype=bool)
        block: np.ndarray = samples[list(classes)].to_numpy(dtype=np.int8)
        return np.asarray((block >= 0).all(axis=1))

    def targets(self, samples: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
        """Return the labels of labelled samples as numbers, rows in table order.

        Returns:
            Exclusive tasks: class indices (N,), int64. Multi-label: (N, C), float32, 0 or 1.
        """
        if self.exclusive:
            index = pd.Index(classes).get_indexer(pd.Index(samples["label"]))
            if (index < 0).any():
                raise ValueError("a label is not among the classes")
            return index.astype(np.int64)
        matrix: np.ndarray = samples[list(classes)].to_numpy(dtype=np.float32)
        return matrix

    def one_hot(self, targets: np.ndarray, num_classes: int) -> np.ndarray:
        """Return targets as a matrix (N, C), float32."""
        matrix: np.ndarray = np.eye(num_classes, dtype=np.float32)[targets] if self.exclusive else targets
        return matrix

    def normalised(self, probs: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) as float32; of exclusive classes they sum to 1.

        Of two exclusive classes the first is exactly one minus the second, so that a form which keeps one
        number loses nothing.
        """
        total = probs.sum(axis=1, keepdims=True) if self.exclusive else 1.0
        shares: np.ndarray = (probs / total).astype(np.float32)
        if self.exclusive and shares.shape[1] == 2:
            shares[:, 0] = 1 - shares[:, 1]
        return shares

    def decide(self, probs: np.ndarray) -> np.ndarray:
        """Return the decision for probabilities (N, C): class indices (N,), or 0/1 at 0.5 (N, C)."""
        decided: np.ndarray = probs.argmax(axis=1) if self.exclusive else (probs >= 0.5).astype(np.int64)
        return decided

    def prior(self, targets: np.ndarray, num_classes: int) -> np.ndarray:
        """Return each class's share of the targets, (C,), float32: the guess for an image nobody can read."""
        shares: np.ndarray = self.one_hot(targets, num_classes).mean(axis=0, dtype=np.float64)
        return shares.astype(np.float32)


tasks: Registry[Task] = Registry("task")
for _task in (
    Task("multiclass", exclusive=True, activation="softmax", loss="cross_entropy"),
    Task("binary", exclusive=True, activation="softmax", loss="cross_entropy"),
    Task("ordinal", exclusive=True, activation="softmax", loss="cross_entropy"),
    Task("multilabel", exclusive=False, activation="sigmoid", loss="bce"),
):
    tasks.register(_task.name)(_task)
