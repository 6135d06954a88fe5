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
TRUNKS = {
    "features",
    "encoder",
    "layers",
    "blocks",
    "trunk_output",
}  # modules of torchvision that contain the stages
AUXILIARY = "aux"  # prefix of torchvision's auxiliary heads


def stages_of(backbone: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each stage, from the input to the last; heads are not in them.

    Stages are timm's own where it wrote the network, else the network's children, or its trunk's. Layers
    that only scale and shift, such as a last norm, belong to the stage before them.
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
    """Return names grouped by their part at ``depth``; a trunk, or an only child, by the parts inside it."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split(".")[depth], []).append(name)
    result: list[list[str]] = []
    for part, group in groups.items():
        has_inside = any(name.count(".") > depth + 1 for name in group)
        inside = has_inside and (part in TRUNKS or len(groups) == 1)
        result += _children(group, depth + 1) if inside else [group]
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
            f"trains the last {most} stages, and the network has {len(stages)}",
            "",
            "`all` trains every stage.",
            code="too_many_stages",
        )


def train_only(backbone: nn.Module, count: int | Literal["all"]) -> None:
    """Train the head and the last ``count`` stages; freeze the rest."""
    stages = stages_of(backbone)
    frozen = [] if count == "all" else stages[: len(stages) - count]
    held = {name for stage in frozen for name in stage}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in held)


def widest(plan: StagesByEpoch) -> int | Literal["all"]:
    """Return the most stages that any epoch trains."""
    counts = list(plan.values())
    return "all" if "all" in counts else max(n for n in counts if n != "all")


def settle_norms(backbone: nn.Module, frozen: bool) -> None:
    """Keep the mean and variance of frozen batch norms (or of all): to be called after ``train()``.

    A frozen stage whose statistics drift is not frozen; its scale and shift still train if ``frozen`` asks
    for all of them.
    """
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            learns = any(parameter.requires_grad for parameter in module.parameters())
            if frozen or not learns:
                module.eval()
