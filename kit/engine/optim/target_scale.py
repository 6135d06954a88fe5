"""The scale of a regression: from numbers to the targets of a loss, and from logits back to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kit.engine.optim.loss_registry import activate
from kit.errors import KitError
from kit.tasks import Task


@dataclass(frozen=True)
class TargetScale:
    """A linear scale, fitted on the training side of a fold and stored with its model.

    Attributes:
        offset: The number that becomes target 0: the mean, or the minimum if ``bounded``.
        factor: The numbers per unit of the target: the standard deviation, or the range if ``bounded``.
        bounded: Whether targets lie in 0..1 and logits pass a sigmoid, so that no prediction is outside the
            range of the training numbers.
    """

    offset: float
    factor: float
    bounded: bool = False

    @classmethod
    def fitted(cls, numbers: np.ndarray, bounded: bool) -> TargetScale:
        """Return the scale of training numbers (N, 1).

        Raises:
            KitError: All numbers are equal, so that there is nothing to learn.
        """
        low, high = float(numbers.min()), float(numbers.max())
        if low == high:
            raise KitError(
                "folds",
                f"all {len(numbers)} training images of a fold have the number {low:g}",
                "A regression needs different numbers",
                "Use fewer folds (`folds.count`), or check the labels.",
                code="targets_constant",
            )
        if bounded:
            return cls(low, high - low, True)
        return cls(float(numbers.mean()), float(numbers.std()))

    def targets(self, numbers: np.ndarray) -> np.ndarray:
        """Return the targets of the loss, float32, of the same shape."""
        scaled: np.ndarray = ((numbers - self.offset) / self.factor).astype(np.float32)
        return scaled

    def numbers(self, logits: Tensor) -> Tensor:
        """Return the predicted numbers of logits of any shape, float32."""
        outputs = torch.sigmoid(logits.float()) if self.bounded else logits.float()
        return outputs * self.factor + self.offset

    def describe(self) -> str:
        """Return the scale as text, for notes."""
        if self.bounded:
            return f"{self.offset:g} to {self.offset + self.factor:g} as 0 to 1, through a sigmoid"
        return f"mean {self.offset:g} and standard deviation {self.factor:g} as 0 and 1"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for the metadata of a model."""
        return asdict(self)


def decode(logits: Tensor, task: Task, scales: Sequence[TargetScale]) -> Tensor:
    """Return the predictions of logits (B, C), or (M, B, C) with several heads, float32.

    Args:
        scales: For a regression, the scale of each head; unused for classes.
    """
    if not task.numeric:
        return activate(logits, task)
    heads = logits.unsqueeze(0) if logits.ndim == 2 else logits
    numbers = torch.stack([scale.numbers(each) for scale, each in zip(scales, heads, strict=True)])
    return numbers.reshape(logits.shape)
