"""Freeze and unfreeze the stages of a network by epoch (``model.trains``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kit.config import at_epoch
from kit.engine.models.heads import head_parameters
from kit.errors import KitError

StagesByEpoch = Mapping[int, int | Literal["all"]]
# Modules of torchvision that contain the stages.
TRUNKS = {"features", "encoder", "layers", "blocks", "trunk_output"}
AUXILIARY = "aux"  # prefix of torchvision's auxiliary heads


def stages_of(backbone: nn.Module) -> list[list[str]]:
    """Return the parameter names of each stage, from input to output, without heads.

    Stages are timm's groups for timm networks, else the children of the network or of its trunk. Layers that
    only scale and shift, such as a final norm, belong to the stage before them.
    """
    head = head_parameters(backbone)
    body = {name: p for name, p in backbone.named_parameters() if p not in head}
    shapes = {name: p.ndim for name, p in body.items() if not name.lower().startswith(AUXILIARY)}
    groups = _timm_groups(backbone) if hasattr(backbone, "group_matcher") else _children(list(shapes))
    stages: list[list[str]] = []
    for group in groups:
        names = [name for name in group if name in shapes]
        if stages and all(shapes[name] <= 1 for name in names):
            stages[-1] += names
        elif names:
            stages.append(names)
    return stages


def _timm_groups(backbone: nn.Module) -> list[list[str]]:
    groups = group_parameters(backbone, backbone.group_matcher(coarse=True))  # type: ignore[operator]
    return [groups[number] for number in sorted(groups)]


def _children(names: Sequence[str], depth: int = 0) -> list[list[str]]:
    """Return names grouped by their part at ``depth``; a trunk or an only child is split further."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split(".")[depth], []).append(name)
    result: list[list[str]] = []
    for part, group in groups.items():
        has_children = any(name.count(".") > depth + 1 for name in group)
        is_split = has_children and (part in TRUNKS or len(groups) == 1)
        result += _children(group, depth + 1) if is_split else [group]
    return result


def num_training(plan: StagesByEpoch, epoch: int) -> int | Literal["all"]:
    """Return how many of the last stages train in an epoch (from 1)."""
    return at_epoch(plan, epoch)


def check_freezing(plan: StagesByEpoch, backbone: nn.Module) -> None:
    """Refuse more trained stages than the network has."""
    stages = stages_of(backbone)
    most = max((n for n in plan.values() if n != "all"), default=0)
    if most > len(stages):
        raise KitError(
            "model.trains",
            f"trains the last {most} stages, but the network has {len(stages)}",
            next="Use `all` to train every stage.",
            code="too_many_stages",
        )


def train_only(backbone: nn.Module, count: int | Literal["all"]) -> None:
    """Train the head and the last ``count`` stages; freeze the rest."""
    stages = stages_of(backbone)
    frozen = [] if count == "all" else stages[: len(stages) - count]
    frozen_names = {name for stage in frozen for name in stage}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in frozen_names)


def widest(plan: StagesByEpoch) -> int | Literal["all"]:
    """Return the most stages that any epoch trains."""
    counts = list(plan.values())
    return "all" if "all" in counts else max(n for n in counts if n != "all")


def settle_norms(backbone: nn.Module, frozen: bool) -> None:
    """Freeze the running statistics of batch norms in frozen stages; call it after ``train()``.

    Args:
        frozen: Freeze those of all batch norms; scale and shift still train.
    """
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            is_trained = any(parameter.requires_grad for parameter in module.parameters())
            if frozen or not is_trained:
                module.eval()
