"""Averages of the weights along the way, which are validated and kept instead of the last step's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from kit.config import Component
from kit.registry import Registry


class Average(Protocol):
    """A running average of a model's weights.

    Attributes:
        model: The averaged model.
        renews_norms: Whether its batch norms must see the training images once before it is used.
    """

    model: nn.Module
    renews_norms: bool

    def after_step(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step ``step``, counted from 1 over the whole training."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Take in the weights after an epoch, counted from 1."""

    def is_begun(self) -> bool:
        """Tell whether there is anything to use yet."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what ``load_state_dict`` needs to go on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""


averages: Registry[Callable[..., Average]] = Registry("average of weights")


def check_average(component: Component | None) -> None:
    """Refuse an average or an option that does not exist."""
    if component is not None:
        averages.bind(component, "train.average")


def build_average(component: Component | None, model: nn.Module, epochs: int) -> Average | None:
    """Return the configured average of a model's weights, or None."""
    if component is None:
        return None
    average, options = averages.bind(component, "train.average")
    return average(model, epochs, **options)


class _Ema:
    renews_norms = False

    def __init__(self, model: nn.Module, decay: float, warmup: bool) -> None:
        self.ema = ModelEmaV3(model, decay=decay, use_warmup=warmup)
        self.model: nn.Module = self.ema.module

    def after_step(self, model: nn.Module, step: int) -> None:
        self.ema.update(model, step)

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Everything was taken in step by step."""

    def is_begun(self) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state)


@averages.register("ema")
def ema(
    model: nn.Module,
    epochs: int,
    *,
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    warmup: bool = True,
) -> Average:
    """Return the exponential moving average of the weights and buffers.

    With ``warmup`` step t counts 1 - (1 + t)^(-2/3) of the past, at most ``decay``: short trainings are not
    dominated by the weights they began with.
    """
    return _Ema(model, decay, warmup)


class _Swa:
    renews_norms = True

    def __init__(self, model: nn.Module, first_epoch: float) -> None:
        self.swa = AveragedModel(model)
        self.model: nn.Module = self.swa.module
        self.first_epoch = first_epoch

    def after_step(self, model: nn.Module, step: int) -> None:
        """Only whole epochs count."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        if epoch >= self.first_epoch:
            self.swa.update_parameters(model)

    def is_begun(self) -> bool:
        return int(self.swa.n_averaged) > 0

    def state_dict(self) -> dict[str, Any]:
        return self.swa.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.swa.load_state_dict(state)


@averages.register("swa")
def swa(model: nn.Module, epochs: int, *, start: Annotated[float, Field(ge=0, lt=1)] = 0.75) -> Average:
    """Return the mean of the weights after each epoch beyond the share ``start`` (Izmailov et al. 2018).

    The rate should stay up meanwhile: a constant schedule, or a cosine with a high floor.
    """
    return _Swa(model, min(epochs, int(start * epochs) + 1))


def moving_norms(model: nn.Module) -> list[str]:
    """Return the names of the batch norms whose statistics follow the images, those in training mode."""
    return [n for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.training]


@torch.no_grad()
def renew_norms(model: nn.Module, names: Iterable[str], batches: Iterable[Tensor]) -> None:
    """Give some batch norms of an averaged model the mean and variance of its own activations.

    The average of weights does not have the average of their statistics (Izmailov et al. 2018, section 3.2).
    All others stay as they are, and so does everything else.

    Args:
        batches: Images (B, C, H, W) as in training.
    """
    norms = [model.get_submodule(name) for name in names]
    usual = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum = None  # type: ignore[assignment] # the plain mean over all batches
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    model.eval()
