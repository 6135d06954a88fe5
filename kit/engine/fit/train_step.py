"""One optimizer step: mix, forward and backward per micro-batch, clip, step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kit.engine.augment.mixup import Mixing
from kit.engine.device.amp import Amp
from kit.engine.fit.columns import NO_COLUMNS, FoldColumns
from kit.runtime.seeds import stable_seed

LossOfBatch = Callable[[Tensor, Tensor], Tensor]


def seed_step(seed: int, epoch: int, step: int, device: torch.device) -> None:
    """Seed the random draws of a step (mixing, dropout) by seed, epoch and step."""
    drawn = stable_seed(seed, "step", epoch, step)
    if device.type == "cpu":  # torch.manual_seed would record a stack trace per absent GPU type
        torch.default_generator.manual_seed(drawn)
    else:
        torch.manual_seed(drawn)


@dataclass(frozen=True)
class TrainStep:
    """One optimizer step.

    Attributes:
        loss: Logits (B, C), targets (B, C) -> mean over the images.
        auxiliary_weight: Weight of the loss of each auxiliary head.
        micro_batch_size: Images per forward pass; gradients accumulate up to the whole batch.
        columns: The metadata, which targets have behind them.
    """

    model: nn.Module
    optimizer: Optimizer
    amp: Amp
    loss: LossOfBatch
    mixing: Mixing | None
    auxiliary_weight: float
    clip: float | None
    micro_batch_size: int
    columns: FoldColumns = NO_COLUMNS

    def __call__(self, images: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """Train on images (B, C, H, W) uint8 and targets (B, K); return the mean loss, on the device."""
        images = images.float()
        if self.mixing is not None:
            images, targets = self.mixing(images, targets, epoch)
        self.optimizer.zero_grad()
        total = torch.zeros((), device=images.device)
        for part, joined in self._parts(images, targets):
            part_targets, rows, auxiliary = self.columns.split(joined)
            with self.amp.autocast():
                outputs = self.model(part, *rows)
            loss = self._loss(outputs, part_targets)
            if self.columns.auxiliary is not None and auxiliary is not None:
                loss = loss + self.columns.auxiliary.loss(self.model, auxiliary)
            if len(part) < len(images):
                loss = loss * (len(part) / len(images))
            self.amp.backward(loss)
            total += loss.detach()
        self.amp.step(self.optimizer, self.model.parameters(), self.clip)
        return total

    def _parts(self, images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield micro-batches of nearly equal size, none of a single image (batch norm needs two)."""
        count = min(-(-len(images) // self.micro_batch_size), max(1, len(images) // 2))
        yield from zip(images.tensor_split(count), targets.tensor_split(count), strict=True)

    def _loss(self, outputs: Any, targets: Tensor) -> Tensor:
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = self.loss(main.float(), targets)
        for logits in auxiliary:
            loss = loss + self.auxiliary_weight * self.loss(logits.float(), targets)
        return loss
