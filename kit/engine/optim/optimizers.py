"""Build timm optimizers: no decay on norms and biases, layer-wise rates, a separate rate for the head."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib.util import find_spec
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, get_optimizer_class, get_optimizer_info, list_optimizers
from torch import nn
from torch.optim import Optimizer

from kit.config import Component, TrainConfig
from kit.engine.models.freezing import stages_of
from kit.engine.models.heads import head_parameters
from kit.errors import KitError
from kit.registry import unknown_name

WHERE = "train.optimizer"
LOOKAHEAD = "lookahead_"
STEP_IMPLEMENTATIONS = ("fused", "foreach", "capturable")
TRAIN_KEYS = ("lr", "weight_decay")  # set as train.lr and train.weight_decay


def check_optimizer(component: Component) -> None:
    """Check the name and the options of an optimizer.

    Raises:
        KitError: The name or an option is unknown, or the optimizer cannot work here.
    """
    name = component.name.removeprefix(LOOKAHEAD)
    known = list_optimizers()
    if name not in known:
        raise unknown_name(WHERE, "optimizer", name, known)
    _check_usable(name)
    _check_options(name, component.options)
    _create([nn.Parameter(torch.zeros(2, 2))], component, lr=1.0e-3)


def build_optimizer(backbone: nn.Module, train: TrainConfig) -> Optimizer:
    """Return the optimizer over the parameters that require a gradient.

    Norms, biases and parameters in the network's ``no_weight_decay`` have no decay. The ``lr_scale`` of a
    group multiplies the scheduled rate: by ``layer_decay`` per layer, and ``head_lr`` for the head.

    Raises:
        KitError: The name or an option is unknown, or the optimizer cannot work here.
    """
    check_optimizer(train.optimizer)
    return _create(_groups(backbone, train), _fused(train.optimizer, backbone), train.lr)


def load_optimizer(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Load a saved ``state_dict``, but keep this optimizer's implementation (fused, foreach).

    The checkpoint may come from a machine without the fused kernel.
    """
    groups = [
        group | {key: own[key] for key in STEP_IMPLEMENTATIONS if key in own}
        for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict(saved | {"param_groups": groups})


def _fused(component: Component, backbone: nn.Module) -> Component:
    """Return the component with ``fused: true`` if the optimizer has a fused kernel (4 times as fast)."""
    name = component.name.removeprefix(LOOKAHEAD)
    own = inspect.signature(get_optimizer_class(name, bind_defaults=False)).parameters
    has_kernel = {parameter.device.type for parameter in backbone.parameters()} <= {"cpu", "cuda"}
    if not has_kernel or "fused" not in own or {"fused", "foreach"} & set(component.options):
        return component
    return Component.model_validate({"name": component.name, "fused": True, **component.options})


def _create(parameters: Iterable[Any], component: Component, lr: float) -> Optimizer:
    """Return timm's optimizer; the groups carry the weight decay."""
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in component.options.items()}
    try:
        optimizer: Optimizer = create_optimizer_v2(
            parameters, opt=component.name, lr=lr, weight_decay=0.0, **options
        )
    except (TypeError, ValueError, IndexError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise KitError(
            WHERE, f"{component.name} does not accept its options: {reason}", code="option_invalid"
        ) from error
    return optimizer


def _check_usable(name: str) -> None:
    """Refuse an optimizer whose library is missing, or that needs second derivatives."""
    info = get_optimizer_info(name)
    library = info.opt_class.partition(".")[0] if isinstance(info.opt_class, str) else None
    if library is not None and find_spec(library) is None:
        raise KitError(
            WHERE,
            f"{name} needs {library}, which is not installed",
            "",
            f"`pip install {library}`, or choose another optimizer.",
            code="library_missing",
        )
    if info.second_order:
        raise KitError(
            WHERE,
            f"{name} needs second derivatives",
            "Training computes first derivatives only",
            "Use adamw or lion.",
            code="optimizer_unsuitable",
        )


def _check_options(name: str, options: dict[str, Any]) -> None:
    """Refuse options that the optimizer's signature lacks; timm would drop some of them silently."""
    own = inspect.signature(get_optimizer_class(name, bind_defaults=False)).parameters
    known = [key for key in own if key not in ("params", *TRAIN_KEYS)]
    for key in options:
        if key in TRAIN_KEYS:
            raise KitError(
                f"{WHERE}.{key}",
                "is not an option of the optimizer",
                f"Set train.{key}",
                code="option_elsewhere",
            )
        if key not in known:
            raise unknown_name(f"{WHERE}.{key}", f"option of {name}", key, known, code="unknown_option")


def _groups(backbone: nn.Module, train: TrainConfig) -> list[dict[str, Any]]:
    """Return parameter groups by (lr_scale, weight decay)."""
    scales = _scales(backbone, train)
    undecayed = _undecayed(backbone)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            scale, decay = scales[name], 0.0 if name in undecayed else train.weight_decay
            empty: dict[str, Any] = {"params": [], "lr_scale": scale, "weight_decay": decay}
            groups.setdefault((scale, decay), empty)["params"].append(parameter)
    return list(groups.values())


def _undecayed(backbone: nn.Module) -> set[str]:
    """Return the names of norms, biases and the network's ``no_weight_decay`` parameters."""
    own = list(getattr(backbone, "no_weight_decay", set)())
    return {
        name
        for name, parameter in backbone.named_parameters()
        if parameter.ndim <= 1 or name.endswith(".bias") or any(fnmatch(name, pattern) for pattern in own)
    }


def _scales(backbone: nn.Module, train: TrainConfig) -> dict[str, float]:
    """Return parameter name -> factor of the scheduled rate."""
    layers = _layers(backbone)
    last = max(layers.values())
    decay = 1.0 if train.layer_decay is None else train.layer_decay
    head = head_parameters(backbone)
    own = 1.0 if train.head_lr is None else train.head_lr / train.lr
    return {
        name: own if parameter in head else decay ** (last - layers[name])
        for name, parameter in backbone.named_parameters()
    }


def _layers(backbone: nn.Module) -> dict[str, int]:
    """Return parameter name -> layer number, from 0; the head is in the last layer.

    timm networks use timm's layers, others the stages (timm would group them by twelve parameters in a row).
    """
    names = [name for name, _ in backbone.named_parameters()]
    if hasattr(backbone, "group_matcher"):
        matcher = backbone.group_matcher(coarse=False)  # type: ignore[operator]
        layers: dict[str, int] = group_parameters(backbone, matcher, reverse=True)
        last = max(layers.values())
    else:
        stages = stages_of(backbone)
        layers = {name: number for number, stage in enumerate(stages) for name in stage}
        last = len(stages)
    return {name: layers.get(name, last) for name in names}
