"""Optimisers and schedules, from timm: no decay on norms and biases, the rate a function of the step."""

from typing import Any

from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.scheduler import Scheduler
from timm.scheduler.step_lr import StepLRScheduler
from torch import nn
from torch.optim import Optimizer

from kit.config import ScheduleConfig, TrainConfig
from kit.engine.heads import head_parameters
from kit.registry import unknown_name

WARMUP_START = 0.01  # of the full rate


def check_optimizer(name: str) -> None:
    """Refuse an optimiser that timm does not know."""
    known = list_optimizers()
    if name not in known:
        raise unknown_name("train.optimizer", "optimiser", name, known)


def build_optimizer(backbone: nn.Module, train: TrainConfig) -> Optimizer:
    """Return the optimiser over the backbone's parameters, the head at its own rate where it has one."""
    options: dict[str, Any] = {"layer_decay": train.layer_decay} if train.layer_decay is not None else {}
    optimizer: Optimizer = create_optimizer_v2(
        backbone, opt=train.optimizer, lr=train.lr, weight_decay=train.weight_decay, **options
    )
    if train.head_lr is not None:
        _split_off(optimizer, head_parameters(backbone), train.head_lr / train.lr)
    return optimizer


def _split_off(optimizer: Optimizer, head: set[nn.Parameter], scale: float) -> None:
    """Move the head's parameters to groups of their own, at ``scale`` times the schedule's rate."""
    for group in list(optimizer.param_groups):
        inside = [p for p in group["params"] if p in head]
        if inside:
            group["params"] = [p for p in group["params"] if p not in head]
            optimizer.add_param_group({**group, "params": inside, "lr_scale": scale})


def build_schedule(
    optimizer: Optimizer, schedule: ScheduleConfig, lr: float, epochs: int, steps_per_epoch: int
) -> Scheduler:
    """Return the schedule; ``step_update(n)`` sets the rate of step n, so that it has no state to resume.

    The rate rises in a line during the warm-up, then stays or follows half a cosine to ``floor``, which it
    reaches with the last step.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    common = {
        "warmup_t": warmup,
        "warmup_lr_init": lr * WARMUP_START,
        "warmup_prefix": True,
        "t_in_epochs": False,
    }
    rest = max(1, epochs * steps_per_epoch - warmup - 1)
    if schedule.name == "constant":
        return StepLRScheduler(optimizer, decay_t=rest + 1, decay_rate=1.0, **common)
    return CosineLRScheduler(optimizer, t_initial=rest, lr_min=schedule.floor, **common)
