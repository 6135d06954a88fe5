"""Mix the images of a batch and their targets (MixUp, CutMix)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from kit.config import AugmentConfig
from kit.errors import counted

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Mixing:
    """Mixes the images of a batch by MixUp or CutMix.

    All random draws use torch's global generator.

    Attributes:
        mixers: One of these is drawn per batch, with equal probability.
        probability: Probability that a batch is mixed.
        last_epoch: Last epoch with mixing, counted from 1.
    """

    mixers: tuple[Mixer, ...]
    probability: float
    last_epoch: int

    def __call__(self, images: Tensor, targets: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return images (B, C, H, W) and targets (B, K), mixed or unchanged.

        Args:
            epoch: Counted from 1.
        """
        if len(images) < 2 or epoch > self.last_epoch:
            return images, targets
        if self.probability < 1 and torch.rand(()).item() >= self.probability:
            return images, targets
        return v2.RandomChoice(self.mixers)(images, targets)  # type: ignore[no-any-return]


def build_mixing(augment: AugmentConfig, num_classes: int, epochs: int) -> Mixing | None:
    """Return MixUp (Zhang et al. 2018), CutMix (Yun et al. 2019), a random one of both, or None."""
    kinds = {v2.MixUp: augment.mixup, v2.CutMix: augment.cutmix}
    mixers = tuple(kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds.items() if alpha)
    last_epoch = epochs - augment.mix_off_epochs
    if not mixers or augment.mix_probability == 0 or last_epoch < 1:
        return None
    return Mixing(mixers, augment.mix_probability, last_epoch)


def describe_mixing(augment: AugmentConfig, epochs: int) -> list[str]:
    """Return one line that describes the mixing, or an empty list."""
    if build_mixing(augment, 2, epochs) is None:
        return []
    kinds = {"mixup": augment.mixup, "cutmix": augment.cutmix}
    names = " or ".join(f"{name}(alpha={alpha:g})" for name, alpha in kinds.items() if alpha)
    probability = "" if augment.mix_probability == 1 else f", p={augment.mix_probability:g}"
    end = f", not in the last {counted(augment.mix_off_epochs, 'epoch')}" if augment.mix_off_epochs else ""
    return [f"{names} of batches{probability}{end}"]
