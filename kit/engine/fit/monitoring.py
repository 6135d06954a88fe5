"""Monitor a training: non-finite losses, and when to write a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from kit.errors import KitError, first_few
from kit.runtime.deadline import STOPPING_SECONDS

NO_STEP = 2**31 - 1
SHARE_OF_SAVING = 0.02  # share of the training time for extra checkpoints


class DivergedError(KitError):
    """The loss of a step, or a weight after it, is not finite."""

    def __init__(self, folder: object, epoch: int, step: int, ids: Sequence[str]) -> None:
        super().__init__(
            folder,
            f"the loss is not finite in epoch {epoch}, step {step + 1} (images {first_few(ids, 3)})",
            "Training diverged",
            "Lower train.lr, set train.clip: 1.0 or train.precision: fp32, or check these images.",
            code="loss_not_finite",
        )


class Watch:
    """Sum the losses of steps on the device; reading it synchronizes a GPU, so it is rare."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._reset()

    def _reset(self) -> None:
        self.total = torch.zeros((), device=self.device)
        self.broken = torch.full((), NO_STEP, device=self.device)
        self.images = 0

    def note(self, loss: Tensor, images: int, step: int) -> None:
        """Add the mean loss of a step."""
        self.total += loss * images
        self.broken = torch.where(loss.isfinite(), self.broken, self.broken.clamp(max=step))
        self.images += images

    def read(self) -> tuple[float, int, int | None]:
        """Return the summed loss, its number of images and the first non-finite step; then reset."""
        total, images, broken = self.total.item(), self.images, int(self.broken.item())
        self._reset()
        return total, images, None if broken == NO_STEP else broken


def all_finite(parameters: Iterable[Tensor]) -> bool:
    """Return whether all weights are finite."""
    checks = [parameter.detach().isfinite().all() for parameter in parameters]
    return bool(torch.stack(checks).all())


class SaveClock:
    """Decides when to write a checkpoint: at least every ``every`` seconds."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.duration = 0.0
        self.last = time.monotonic()

    @property
    def reserve(self) -> float:
        """Seconds before the deadline at which to stop: enough to write a checkpoint."""
        return STOPPING_SECONDS + 2 * self.duration

    def is_due(self) -> bool:
        """Return whether a checkpoint must be written now."""
        return time.monotonic() - self.last >= self.every

    def is_worth_it(self) -> bool:
        """Return whether an extra checkpoint (at the end of an epoch) costs little."""
        return time.monotonic() - self.last >= self.duration / SHARE_OF_SAVING

    def saved(self, duration: float) -> None:
        """Record that a checkpoint was written, and how long it took."""
        self.duration, self.last = duration, time.monotonic()
