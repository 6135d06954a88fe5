"""(logits, targets) -> loss; the registry says which tasks a loss is for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from kit.config import Component
from kit.errors import KitError
from kit.registry import Registry, bind_options
from kit.tasks import Task

LossFunction = Callable[..., Tensor]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Loss:
    """A loss: its function of logits (B, C), targets (B, C) and class weights (C,) or None, and its tasks.

    ``exclusive`` says whether it wants one class per image; None: it takes both.
    """

    function: LossFunction
    exclusive: bool | None


losses: Registry[Loss] = Registry("loss")


def register_loss(name: str, exclusive: bool | None = None) -> Callable[[LossFunction], LossFunction]:
    """Register a loss; ``exclusive`` says whether it is for one class per image (None: for both)."""

    def add(function: LossFunction) -> LossFunction:
        losses.register(name)(Loss(function, exclusive))
        return function

    return add


@register_loss("cross_entropy", exclusive=True)
def cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, label_smoothing: Share = 0.0
) -> Tensor:
    """Return the mean cross-entropy; targets (B, C) are shares that sum to 1."""
    return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)


@register_loss("bce")
def bce(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None = None, *, label_smoothing: Share = 0.0
) -> Tensor:
    """Return the mean binary cross-entropy over images and classes; targets (B, C) lie in 0..1."""
    smooth = targets * (1 - label_smoothing) + 0.5 * label_smoothing
    return F.binary_cross_entropy_with_logits(logits, smooth, weight=class_weights)


def build_loss(
    component: Component | None, task: Task, class_weights: Tensor | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the configured loss, or the task's own, of logits and targets.

    Raises:
        KitError: The name or an option is unknown, or the loss does not fit the task.
    """
    name = component.name if component else task.loss
    options: dict[str, Any] = component.options if component else {}
    loss = losses.get(name, "train.loss.name")
    if loss.exclusive is not None and loss.exclusive != task.exclusive:
        fitting = ", ".join(n for n in losses if losses.get(n).exclusive in (None, task.exclusive))
        raise KitError("train.loss", f"{name} does not fit the task {task.name}", f"Those that do: {fitting}")
    bound = bind_options("train.loss", loss.function, options)
    return partial(loss.function, class_weights=class_weights, **bound)


def activate(logits: Tensor, task: Task) -> Tensor:
    """Return probabilities (B, C), float32."""
    logits = logits.float()
    return torch.softmax(logits, dim=1) if task.activation == "softmax" else torch.sigmoid(logits)
