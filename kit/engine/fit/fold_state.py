"""The progress of a fold, as stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from kit.metrics import Metric


@dataclass
class FoldState:
    """The progress of a fold.

    Attributes:
        micro_batch_size: Images per forward pass; smaller than configured if memory ran out.
        rate: Factor of the configured learning rates: 0.5 after a non-finite loss.
        epoch: Number of epochs trained and validated.
        step: Number of optimizer steps done in the current epoch.
        loss: Loss of these steps, summed over ``images``.
        seconds: Duration of these steps.
        best: The best validation score so far; ``best_epoch`` is its epoch (from 1).
        kept: The weights of that epoch, with ``train.keep: best``.
        averaged: The last epoch in the weight average.
        threads: The number of CPU threads chosen for steps; None: no choice yet.
        history: One row per epoch.
    """

    micro_batch_size: int
    rate: float = 1.0
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    images: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    kept: dict[str, Tensor] | None = None
    averaged: int = 0
    threads: int | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def add_steps(self, loss: float, images: int, seconds: float) -> None:
        """Add steps; ``loss`` is summed over their images."""
        self.loss += loss
        self.images += images
        self.seconds += seconds

    def end_epoch(self, row: dict[str, float], metric: Metric) -> bool:
        """Add a validated epoch and return whether it is the best so far.

        Args:
            row: The history row of the epoch; ``score`` is required.
        """
        self.epoch += 1
        self.history.append({"epoch": self.epoch, **row})
        self.step, self.loss, self.images, self.seconds = 0, 0.0, 0, 0.0
        is_best = self.best is None or metric.better(row["score"], self.best)
        if is_best:
            self.best, self.best_epoch = row["score"], self.epoch
        return is_best

    def as_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, for a checkpoint."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
