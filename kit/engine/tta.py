"""Test-time augmentation: named views of a batch, and the mean of what the model says to each."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from kit.engine.images import Batch
from kit.engine.losses import activate
from kit.progress import SILENT, Progress
from kit.registry import Registry
from kit.tasks import Task

View = Callable[[Tensor], Tensor]
views: Registry[View] = Registry("view")
SHIFT = 16  # a shift moves the image by 1/16 of its side


@views.register("identity")
def identity(images: Tensor) -> Tensor:
    """Return the images (B, C, H, W) as they are."""
    return images


@views.register("hflip")
def hflip(images: Tensor) -> Tensor:
    """Return the images mirrored left to right."""
    return images.flip(3)


@views.register("vflip")
def vflip(images: Tensor) -> Tensor:
    """Return the images mirrored top to bottom."""
    return images.flip(2)


@views.register("rot180")
def rot180(images: Tensor) -> Tensor:
    """Return the images turned by half a turn."""
    return images.flip(2, 3)


def _shift(images: Tensor, down: int, right: int) -> Tensor:
    """Return the images moved by 1/16 of a side, the edge repeated where they moved away from."""
    height, width = images.shape[2:]
    dy, dx = max(1, height // SHIFT), max(1, width // SHIFT)
    padded = F.pad(images.float(), (dx, dx, dy, dy), mode="replicate").to(images.dtype)
    top, left = dy - down * dy, dx - right * dx
    return padded[:, :, top : top + height, left : left + width]


@views.register("shift_up")
def shift_up(images: Tensor) -> Tensor:
    """Return the images moved up."""
    return _shift(images, -1, 0)


@views.register("shift_down")
def shift_down(images: Tensor) -> Tensor:
    """Return the images moved down."""
    return _shift(images, 1, 0)


@views.register("shift_left")
def shift_left(images: Tensor) -> Tensor:
    """Return the images moved left."""
    return _shift(images, 0, -1)


@views.register("shift_right")
def shift_right(images: Tensor) -> Tensor:
    """Return the images moved right."""
    return _shift(images, 0, 1)


@torch.inference_mode()
def predict_probs(
    model: nn.Module,
    loader: "DataLoader[Batch]",
    tta: Sequence[str],
    task: Task,
    device: torch.device,
    autocast: Callable[[], torch.autocast],
    progress: Progress = SILENT,
    label: str = "predicting",
    between: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the mean probabilities over the views, and which images could not be read.

    Args:
        model: From images (B, C, H, W) of 0..255 to logits (B, K).
        loader: Every position of its set once, in order.
        tta: Names of views.
        autocast: Opens the context in which the model computes.
        between: Called after every batch; what it raises ends the work.

    Returns:
        Probabilities (N, C) float32 in the set's order, and position -> problem; rows of unreadable images
        are zero.
    """
    chosen = [views.get(name, "predict.tta") for name in tta]
    model.eval()
    parts: list[Tensor] = []
    problems: dict[int, str] = {}
    for batch in progress.track(loader, len(loader), label):
        images = batch.images.to(device, non_blocking=True)
        with autocast():
            logits = [model(view(images)) for view in chosen]
        probs = torch.stack([activate(each, task) for each in logits]).mean(dim=0)
        probs[[row for row, index in enumerate(batch.indices.tolist()) if index in batch.problems]] = 0.0
        parts.append(probs)
        problems |= batch.problems
        between()
    return torch.cat(parts).cpu().numpy(), problems
