"""Weight averaging (EMA, SWA): the averaged model is validated and kept instead of the last weights."""

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
        renews_norms: Whether batch-norm statistics must be recomputed before the average is used.
    """

    model: nn.Module
    renews_norms: bool

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update with the weights after optimizer step ``step`` (from 1, over the whole training)."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Update with the weights after an epoch (from 1)."""

    def is_begun(self) -> bool:
        """Return whether the average contains any weights yet."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state for ``load_state_dict``."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""


averages: Registry[Callable[..., Average]] = Registry("weight average")


def check_average(component: Component | None) -> None:
    """Check the name and the options of a weight average; a mistake is a KitError."""
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
        """Updated after every step."""

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
    """Exponential moving average of the weights and buffers.

    With ``warmup`` the decay at step t is min(decay, 1 - (1 + t)^(-2/3)), so that the initial weights do not
    dominate a short training.
    """
    return _Ema(model, decay, warmup)


class _Swa:
    renews_norms = True

    def __init__(self, model: nn.Module, first_epoch: float) -> None:
        self.swa = AveragedModel(model)
        self.model: nn.Module = self.swa.module
        self.first_epoch = first_epoch

    def after_step(self, model: nn.Module, step: int) -> None:
        """Updated after every epoch."""

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
    """Stochastic weight averaging: the mean over the epochs after the share ``start`` (Izmailov et al. 2018).

    Use it with a rate that stays high: a constant schedule, or a cosine with a high floor.
    """
    return _Swa(model, min(epochs, int(start * epochs) + 1))


def moving_norms(model: nn.Module) -> list[str]:
    """Return the names of the batch norms in training mode."""
    return [n for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.training]


@torch.no_grad()
def renew_norms(model: nn.Module, names: Iterable[str], batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Recompute the statistics of some batch norms of an averaged model (Izmailov et al. 2018, section 3.2).

    Args:
        names: The batch norms; the others are not changed.
        batches: What the model reads: training images, (B, C, H, W) each, and their metadata if any.
    """
    norms = [model.get_submodule(name) for name in names]
    usual = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum = None  # type: ignore[assignment] # cumulative mean over all batches
        norm.train()
    for inputs in batches:
        model(*inputs)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    model.eval()
