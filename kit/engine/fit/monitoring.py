"""Watching a training from beside it: whether the loss is finite, and when a checkpoint is due."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from kit.errors import KitError, first_few
from kit.runtime.deadline import STOPPING_SECONDS

NO_STEP = 2**31 - 1
SHARE_OF_SAVING = 0.02  # of the time; checkpoints beyond the due ones are not worth more


class DivergedError(KitError):
    """The loss of a step, or the weights after it, are not finite."""

    def __init__(self, folder: object, epoch: int, step: int, ids: Sequence[str]) -> None:
        super().__init__(
            folder,
            f"the loss is not finite in epoch {epoch}, step {step + 1} (images {first_few(ids, 3)})",
            "Training cannot go on from there",
            "Lower train.lr, set train.clip: 1.0 or train.precision: fp32; or look at these images.",
            code="loss_not_finite",
        )


class Watch:
    """The losses of steps, summed on the device and read seldom: reading makes a GPU wait."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._reset()

    def _reset(self) -> None:
        self.total = torch.zeros((), device=self.device)
        self.broken = torch.full((), NO_STEP, device=self.device)
        self.images = 0

    def note(self, loss: Tensor, images: int, step: int) -> None:
        """Take in the mean loss of a step."""
        self.total += loss * images
        self.broken = torch.where(loss.isfinite(), self.broken, self.broken.clamp(max=step))
        self.images += images

    def read(self) -> tuple[float, int, int | None]:
        """Return the summed loss, how many images it is of, and the first step that broke; begin anew."""
        total, images, broken = self.total.item(), self.images, int(self.broken.item())
        self._reset()
        return total, images, None if broken == NO_STEP else broken


def all_finite(parameters: Iterable[Tensor]) -> bool:
    """Tell whether all weights are numbers."""
    checks = [parameter.detach().isfinite().all() for parameter in parameters]
    return bool(torch.stack(checks).all())


class SaveClock:
    """When to write a checkpoint: before more than ``every`` seconds of work could be lost."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.duration = 0.0
        self.last = time.monotonic()

    @property
    def reserve(self) -> float:
        """Seconds before a time limit at which to stop: enough to write a checkpoint."""
        return STOPPING_SECONDS + 2 * self.duration

    def is_due(self) -> bool:
        """Tell whether a checkpoint must be written."""
        return time.monotonic() - self.last >= self.every

    def is_worth_it(self) -> bool:
        """Tell whether one more costs little, as at the end of an epoch."""
        return time.monotonic() - self.last >= self.duration / SHARE_OF_SAVING

    def saved(self, duration: float) -> None:
        """Take in that a checkpoint was written, and how long it took."""
        self.duration, self.last = duration, time.monotonic()
