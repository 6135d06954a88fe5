"""Learning-rate schedules: the rate as a function of the step, so that resuming has nothing to restore.

Only ``plateau`` depends on validation scores; to resume it, replay the scores of the finished epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from kit.config import Component, TrainConfig
from kit.errors import KitError, counted
from kit.registry import Registry

WHERE = "train.schedule"
WARMUP_START = 0.01  # share of the peak rate
TRIAL_STEPS = 100  # steps per epoch for checks without data

NotNegative = Annotated[float, Field(ge=0)]
Warmup = NotNegative | None
Factor = Annotated[float, Field(gt=0, lt=1)]
AboveOne = Annotated[float, Field(ge=1)]


@dataclass(frozen=True)
class TrainingLength:
    """Peak learning rate and number of steps of a training.

    Attributes:
        lr: Peak learning rate.
        higher_is_better: Direction of the validation score.
    """

    lr: float
    epochs: int
    steps_per_epoch: int
    higher_is_better: bool = True

    @property
    def steps(self) -> int:
        """Total number of steps."""
        return self.epochs * self.steps_per_epoch

    def warmup_steps(self, epochs: float | None) -> int:
        """Return the number of warm-up steps; None: one epoch, at most a quarter of all epochs.

        Raises:
            KitError: The warm-up is as long as the training.
        """
        wanted = min(1.0, self.epochs / 4) if epochs is None else epochs
        if wanted >= self.epochs:
            raise KitError(
                f"{WHERE}.warmup_epochs",
                f"is {wanted:g} of {counted(self.epochs, 'epoch')}",
                "The warm-up must be shorter than the training, or the peak rate is never reached",
                code="warmup_too_long",
            )
        return round(wanted * self.steps_per_epoch)

    def rising(self, step: int, warmup_steps: int) -> float:
        """Return the rate of a warm-up step: linear from 1% to 100% of the peak rate."""
        return self.lr * (WARMUP_START + (1 - WARMUP_START) * step / warmup_steps)


@dataclass(frozen=True)
class LRSchedule:
    """A schedule with its options bound.

    Attributes:
        rate: Step (from 0, over the whole training) -> learning rate.
        settles: Whether the rate ends at its lowest, so that the last epoch's weights are as good as any.
        shortfall: One sentence on what the epochs are too few for; empty: nothing.
        epoch_done: Receives the validation score of each epoch.
    """

    rate: Callable[[int], float]
    settles: bool
    shortfall: str = ""
    epoch_done: Callable[[float], None] = lambda score: None


schedules: Registry[Callable[..., LRSchedule]] = Registry("schedule")


class Schedule:
    """Sets the learning rate of each parameter group: its ``lr_scale`` times the rate of the schedule."""

    def __init__(self, optimizer: Optimizer, lr_schedule: LRSchedule) -> None:
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule

    def at(self, step: int) -> None:
        """Set the rates for a step (from 0, over the whole training); call it before the step."""
        rate = self.lr_schedule.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)

    def epoch_done(self, score: float) -> None:
        """Record the score of an epoch; on resume, replay the scores of the finished epochs."""
        self.lr_schedule.epoch_done(score)


def build_schedule(
    component: Component,
    optimizer: Optimizer,
    lr: float,
    epochs: int,
    steps_per_epoch: int,
    higher_is_better: bool = True,
) -> Schedule:
    """Return the configured schedule of an optimizer.

    Raises:
        KitError: The name or an option is unknown, or the floor is above ``lr``.
    """
    floor = component.options.get("floor", 0.0)
    lr_schedule = _lr_schedule(component, TrainingLength(lr, epochs, steps_per_epoch, higher_is_better))
    if floor > lr:
        raise KitError(
            f"{WHERE}.floor",
            f"is {floor:g}, and train.lr is {lr:g}",
            "The floor must not exceed it",
            code="floor_above_lr",
        )
    return Schedule(optimizer, lr_schedule)


def check_schedule(component: Component, epochs: int) -> None:
    """Check the name and the options of a schedule.

    Raises:
        KitError: The name or an option is unknown, or the warm-up is as long as the training.
    """
    _lr_schedule(component, TrainingLength(1.0, epochs, TRIAL_STEPS))


def shortfall(component: Component, epochs: int, lr: float | None = None) -> str | None:
    """Return one sentence on what the epochs are too few for; None: nothing.

    Args:
        lr: Peak learning rate; None: floors are not checked.
    """
    return _lr_schedule(component, TrainingLength(lr or 0.0, epochs, TRIAL_STEPS)).shortfall or None


def kept_epoch(train: TrainConfig) -> Literal["last", "best"]:
    """Return the epoch whose weights are kept: as configured, or as the schedule allows.

    The best epoch is chosen on the rows that it is scored on, so that its score is too high. Where the rate
    ends at its floor, the last epoch does as well on new images.
    """
    if train.keep != "auto":
        return train.keep
    settles = _lr_schedule(train.schedule, TrainingLength(train.lr, train.epochs, TRIAL_STEPS)).settles
    return "last" if settles and train.patience is None else "best"


def rates(component: Component, lr: float, epochs: int, steps_per_epoch: int) -> tuple[float, float, float]:
    """Return the first, the highest and the last rate; for ``plateau``, those without a drop."""
    length = TrainingLength(lr, epochs, steps_per_epoch)
    lr_schedule = _lr_schedule(component, length)
    all_rates = [lr_schedule.rate(step) for step in range(length.steps)]
    return all_rates[0], max(all_rates), all_rates[-1]


def _lr_schedule(component: Component, length: TrainingLength) -> LRSchedule:
    schedule, options = schedules.bind(component, WHERE)
    return schedule(length, **options)


def _along_cosine(begin: float, end: float, share: float) -> float:
    """Return the half cosine from ``begin`` to ``end`` at ``share`` of the way."""
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


@schedules.register("cosine")
def cosine(
    length: TrainingLength,
    *,
    warmup_epochs: Warmup = None,
    t_max: Annotated[float, Field(gt=0)] | None = None,
    floor: NotNegative = 0.0,
) -> LRSchedule:
    """Linear warm-up, then cosine decay to ``floor`` at the last step.

    Loshchilov & Hutter 2017, "SGDR", without restarts.

    Options:
        t_max: Epochs of the decay after the warm-up. If more follow, the rate rises again as it fell, like
            that of torch's CosineAnnealingLR; None: the decay ends with the training.
    """
    warmup = length.warmup_steps(warmup_epochs)
    rest = max(1, length.steps - warmup - 1)
    decay = rest if t_max is None else t_max * length.steps_per_epoch

    def rate(step: int) -> float:
        if step < warmup:
            return length.rising(step, warmup)
        return _along_cosine(length.lr, floor, (step - warmup) / decay)

    return LRSchedule(rate, settles=t_max is None)


@schedules.register("constant")
def constant(length: TrainingLength, *, warmup_epochs: Warmup = None) -> LRSchedule:
    """Linear warm-up, then a constant rate."""
    warmup = length.warmup_steps(warmup_epochs)

    def rate(step: int) -> float:
        return length.rising(step, warmup) if step < warmup else length.lr

    return LRSchedule(rate, settles=False)


@schedules.register("step")
def step(
    length: TrainingLength,
    *,
    every: Annotated[float, Field(gt=0)],
    factor: Factor = 0.1,
    floor: NotNegative = 0.0,
    warmup_epochs: Warmup = None,
) -> LRSchedule:
    """Multiply the rate by ``factor`` every ``every`` epochs, down to ``floor``.

    Epochs count from the start, warm-up included.
    """
    warmup = length.warmup_steps(warmup_epochs)

    def level(step: int) -> float:
        # 1e-9: a division by, say, 2.4 may round just below a whole number.
        drops = math.floor(step / length.steps_per_epoch / every + 1e-9)
        return max(floor, length.lr * factor**drops)

    def rate(step: int) -> float:
        return min(length.rising(step, warmup), level(step)) if step < warmup else level(step)

    last = level(length.steps - 1)
    missing = ""
    if every >= length.epochs:
        missing = (
            f"The rate never drops: every is {every:g}, and there are {counted(length.epochs, 'epoch')}."
        )
    elif floor and last > floor * (1 + 1e-9):  # 1e-9: rounding of the powers
        missing = f"The rate ends at {last:g}, above its floor of {floor:g}."
    return LRSchedule(rate, not missing, missing)


@schedules.register("one_cycle")
def one_cycle(
    length: TrainingLength,
    *,
    peak_at: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    start_factor: AboveOne = 25.0,
    end_factor: AboveOne = 1e4,
) -> LRSchedule:
    """One cycle: cosine rise to the peak rate, then a longer cosine decay.

    Smith & Topin 2018, "Super-convergence", like torch's OneCycleLR without momentum cycling.

    Options:
        peak_at: Share of the steps after which the peak rate is reached.
        start_factor: First rate = peak rate / start_factor.
        end_factor: Last rate = first rate / end_factor.
    """
    first = length.lr / start_factor
    # A training of a few steps starts at the peak.
    peak = max(0.0, peak_at * length.steps - 1)
    last = max(1, length.steps - 1)

    def rate(step: int) -> float:
        if step < peak:
            return _along_cosine(first, length.lr, step / peak)
        return _along_cosine(length.lr, first / end_factor, min(1.0, (step - peak) / max(1e-9, last - peak)))

    return LRSchedule(rate, settles=True)


@schedules.register("plateau")
def plateau(
    length: TrainingLength,
    *,
    factor: Factor = 0.1,
    patience: Annotated[int, Field(ge=0)] = 3,
    floor: NotNegative = 0.0,
    warmup_epochs: Warmup = None,
) -> LRSchedule:
    """Multiply the rate by ``factor`` after more than ``patience`` epochs without a better score.

    As in torch's ReduceLROnPlateau, better means by more than 0.01% of the best score. Epochs that end in the
    warm-up do not count.
    """
    warmup = length.warmup_steps(warmup_epochs)
    # ReduceLROnPlateau needs an optimizer; this one only holds the rate.
    holder = SGD([torch.nn.Parameter(torch.zeros(()))], lr=length.lr)
    watcher = ReduceLROnPlateau(
        holder, "max" if length.higher_is_better else "min", factor=factor, patience=patience, min_lr=floor
    )
    not_counted = math.ceil(warmup / length.steps_per_epoch)
    done = 0

    def epoch_done(score: float) -> None:
        nonlocal done
        done += 1
        if done > not_counted:
            watcher.step(score)

    def rate(step: int) -> float:
        current: float = holder.param_groups[0]["lr"]
        return min(current, length.rising(step, warmup)) if step < warmup else current

    # One epoch sets the best score, patience + 1 epochs miss it, and one more must remain.
    missing = ""
    if length.epochs - not_counted < patience + 3:
        missing = (
            f"The rate never drops: patience {patience} does not run out in "
            f"{counted(length.epochs, 'epoch')}."
        )
    return LRSchedule(rate, settles=False, shortfall=missing, epoch_done=epoch_done)
