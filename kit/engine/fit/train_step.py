"""One step of the optimiser: mixed, forward and backward in parts that fit the memory, clipped, taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kit.engine.augment.mixup import Mixing
from kit.engine.device.amp import Amp
from kit.runtime.seeds import stable_seed

LossOfBatch = Callable[[Tensor, Tensor], Tensor]


def seed_step(seed: int, epoch: int, step: int, device: torch.device) -> None:
    """Make what a step draws (mixing, dropout) a function of the seed, the epoch and the step alone."""
    drawn = stable_seed(seed, "step", epoch, step)
    if device.type == "cpu":  # else torch puts a stack trace down for every kind of GPU that is not there
        torch.default_generator.manual_seed(drawn)
    else:
        torch.manual_seed(drawn)


@dataclass(frozen=True)
class TrainStep:
    """What a step needs.

    Attributes:
        loss: Of logits (B, C) and targets (B, C); its mean over the images.
        auxiliary_weight: What the loss of each auxiliary head counts.
        micro_batch_size: Images per forward pass; gradients accumulate up to the whole batch.
    """

    model: nn.Module
    optimizer: Optimizer
    amp: Amp
    loss: LossOfBatch
    mixing: Mixing | None
    auxiliary_weight: float
    clip: float | None
    micro_batch_size: int

    def __call__(self, images: Tensor, targets: Tensor, epoch: int) -> Tensor:
        """Learn from images (B, C, H, W) uint8 and targets (B, K); return their loss, on the device."""
        images = images.float()
        if self.mixing is not None:
            images, targets = self.mixing(images, targets, epoch)
        self.optimizer.zero_grad()
        total = torch.zeros((), device=images.device)
        for part, part_targets in self._parts(images, targets):
            with self.amp.autocast():
                outputs = self.model(part)
            loss = self._loss(outputs, part_targets)
            if len(part) < len(images):
                loss = loss * (len(part) / len(images))
            self.amp.backward(loss)
            total += loss.detach()
        self.amp.step(self.optimizer, self.model.parameters(), self.clip)
        return total

    def _parts(self, images: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield parts of nearly the same size, none of a single image, on which batch norm cannot train."""
        count = min(-(-len(images) // self.micro_batch_size), max(1, len(images) // 2))
        yield from zip(images.tensor_split(count), targets.tensor_split(count), strict=True)

    def _loss(self, outputs: Any, targets: Tensor) -> Tensor:
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = self.loss(main.float(), targets)
        for logits in auxiliary:
            loss = loss + self.auxiliary_weight * self.loss(logits.float(), targets)
        return loss
