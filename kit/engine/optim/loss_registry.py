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
from kit.errors import KitError
from kit.registry import Registry, bind_options
from kit.tasks import Task

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
        functions: Key True: for one class per image; False: for any number of classes per image.
    """

    functions: dict[bool, LossFunction] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The first line of the first function's docstring."""
        return (next(iter(self.functions.values())).__doc__ or "").partition("\n")[0]

    @property
    def exclusive(self) -> bool | None:
        """True: for one class per image only; False: for several only; None: for both."""
        return None if len(self.functions) == 2 else next(iter(self.functions))


losses: Registry[Loss] = Registry("loss")


def register_loss(name: str, exclusive: bool | None = None) -> Callable[[LossFunction], LossFunction]:
    """Register a loss for one class per image (True), for several (False), or for both (None).

    A loss with a different formula for each case registers two functions under one name.
    """

    def add(function: LossFunction) -> LossFunction:
        loss = losses.get(name) if name in losses else losses.register(name)(Loss())
        for kind in (True, False) if exclusive is None else (exclusive,):
            if kind in loss.functions:
                raise ValueError(f"loss '{name}' is registered twice")
            loss.functions[kind] = function
        return function

    return add


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
    name = component.name if component else task.loss
    options: dict[str, Any] = component.options if component else {}
    loss = losses.get(name, "train.loss.name")
    if task.exclusive not in loss.functions:
        fitting = ", ".join(n for n in losses if task.exclusive in losses.get(n).functions)
        raise KitError(
            "train.loss",
            f"{name} does not suit the task {task.name}",
            f"Suitable: {fitting}",
            code="loss_unsuitable",
        )
    function = loss.functions[task.exclusive]
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
                f"has {len(value)} values for {num_classes} classes",
                code="classes_differ",
            )


def activate(logits: Tensor, task: Task) -> Tensor:
    """Return probabilities (..., C), float32."""
    logits = logits.float()
    return torch.softmax(logits, dim=-1) if task.activation == "softmax" else torch.sigmoid(logits)
