"""The registry of losses, and the configured loss: (logits, targets) -> mean over the batch.

A loss returns one value per image, and the loss of a batch is their mean, so gradients can accumulate over
micro-batches. The entries are in ``losses.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from kit.config import Component
from kit.errors import KitError, counted
from kit.registry import Registry, bind_options, nearest
from kit.tasks import Target, Task

LossFunction = Callable[..., Tensor]
Share = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
PerClass = Positive | Annotated[list[Positive], Field(min_length=1)]
PER_CLASS = ("positive_weight", "alpha")  # the options that may be a list with a number for each class


@dataclass(frozen=True)
class Classes:
    """Class statistics that a loss may use.

    Attributes:
        weights: Weight of each class, (C,); None: all 1.
        prevalence: Share of the training images that have each class, (C,); None: unknown.
    """

    weights: Tensor | None = None
    prevalence: Tensor | None = None

    def weighted(self, terms: Tensor) -> Tensor:
        """Return per-class terms (B, C) times the class weights."""
        return terms if self.weights is None else terms * self.weights.to(terms)

    def of_images(self, targets: Tensor) -> Tensor:
        """Return the weight of each image, (B,): the target-weighted sum of its class weights."""
        return self.weighted(targets).sum(dim=1)


@dataclass(frozen=True)
class Loss:
    """A loss: functions of logits (B, C), targets (B, C) and ``Classes`` that return (B,).

    Attributes:
        functions: The function for one class per image, for a distribution over the classes, for several
            classes, and for a number. A loss fits distributions if it is smallest where the probabilities
            are the targets.
        bounded: Whether numbers are scaled to 0..1 and logits pass a sigmoid; otherwise numbers are
            standardized (``TargetScale``).
    """

    functions: dict[Target, LossFunction] = field(default_factory=dict)
    bounded: bool = False

    @property
    def description(self) -> str:
        """The first line of the first function's docstring."""
        return (next(iter(self.functions.values())).__doc__ or "").partition("\n")[0]


losses: Registry[Loss] = Registry("loss")


def register_loss(
    name: str, *targets: Target, bounded: bool = False
) -> Callable[[LossFunction], LossFunction]:
    """Register a loss function for what the label of an image is, such as ``class`` or ``number``.

    A loss with a different formula for each registers several functions under one name.

    Args:
        bounded: See ``Loss``.
    """

    def add(function: LossFunction) -> LossFunction:
        loss = losses.get(name) if name in losses else losses.register(name)(Loss(bounded=bounded))
        for target in targets:
            if target in loss.functions:
                raise ValueError(f"loss '{name}' is registered twice")
            loss.functions[target] = function
        return function

    return add


def loss_for(component: Component | None, task: Task) -> Loss:
    """Return the configured loss, or the task's default.

    Raises:
        KitError: The name is unknown, or the loss does not suit the task.
    """
    name = component.name if component else task.loss
    loss = losses.get(name, "train.loss.name")
    if task.target not in loss.functions:
        fitting = [each for each in losses if task.target in losses.get(each).functions]
        close = nearest(name, fitting)
        raise KitError(
            "train.loss",
            f"{name} does not suit the task {task.name}",
            f"Suitable: {', '.join(fitting)}",
            f"Did you mean {' or '.join(close)}?" if close else f"Usual: {task.loss}.",
            code="loss_unsuitable",
        )
    return loss


def build_loss(
    component: Component | None,
    task: Task,
    class_weights: Tensor | None = None,
    prevalence: Tensor | None = None,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the configured loss or the task's default: logits (B, C), targets (B, C) -> mean over the batch.

    Args:
        class_weights: Weight of each class, (C,).
        prevalence: Share of the training images that have each class, (C,).

    Raises:
        KitError: The name or an option is unknown, or the loss does not suit the task or the classes.
    """
    options: dict[str, Any] = component.options if component else {}
    function = loss_for(component, task).functions[task.target]
    bound = bind_options("train.loss", function, options)
    for known in (class_weights, prevalence):
        if known is not None:
            _check_lists(bound, len(known))
    classes = Classes(class_weights, prevalence)

    def of_batch(logits: Tensor, targets: Tensor) -> Tensor:
        _check_lists(bound, logits.shape[1])
        of_images: Tensor = function(logits, targets, classes, **bound)
        return of_images.mean()

    return of_batch


def num_classes_listed(component: Component | None) -> int | None:
    """Return the length of a per-class option of a loss; None if it has no per-class option."""
    options = component.options if component else {}
    lengths = [len(options[key]) for key in PER_CLASS if isinstance(options.get(key), list)]
    return lengths[0] if lengths else None


def _check_lists(options: Mapping[str, Any], num_classes: int) -> None:
    for key in PER_CLASS:
        value = options.get(key)
        if isinstance(value, list) and len(value) != num_classes:
            raise KitError(
                f"train.loss.{key}",
                f"has {counted(len(value), 'value')} for {counted(num_classes, 'class', 'classes')}",
                code="classes_differ",
            )


def activate(logits: Tensor, task: Task) -> Tensor:
    """Return probabilities (..., C), float32; logits of numbers need a ``TargetScale`` instead."""
    logits = logits.float()
    return torch.softmax(logits, dim=-1) if task.activation == "softmax" else torch.sigmoid(logits)
