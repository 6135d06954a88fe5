"""The learning rate as a function of the step, so that a training that goes on has nothing to restore.

Only ``plateau`` looks at what was reached; it is brought back by telling it the scores of the epochs done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from kit.config import Component
from kit.errors import KitError
from kit.registry import Registry

WHERE = "train.schedule"
WARMUP_START = 0.01  # of the full rate
TRIAL_STEPS = 100  # steps per epoch where no data says how many there are

NotNegative = Annotated[float, Field(ge=0)]
Warmup = NotNegative | None
Factor = Annotated[float, Field(gt=0, lt=1)]
AboveOne = Annotated[float, Field(ge=1)]


@dataclass(frozen=True)
class TrainingLength:
    """What a schedule stretches over.

    Attributes:
        lr: The full rate.
        higher_is_better: Of the scores that epochs end with.
    """

    lr: float
    epochs: int
    steps_per_epoch: int
    higher_is_better: bool = True

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return self.epochs * self.steps_per_epoch

    def warmup_steps(self, epochs: float | None) -> int:
        """Return how many steps the rate rises; None: those of an epoch, or of a quarter of fewer than 4.

        Raises:
            KitError: The warm-up does not end before the training does.
        """
        wanted = min(1.0, self.epochs / 4) if epochs is None else epochs
        if wanted >= self.epochs:
            raise KitError(
                f"{WHERE}.warmup_epochs",
                f"is {wanted:g} of {self.epochs} epochs",
                "The warm-up ends before the training does, or the full rate is never reached",
                code="warmup_too_long",
            )
        return round(wanted * self.steps_per_epoch)

    def rising(self, step: int, warmup_steps: int) -> float:
        """Return the rate of a step within the warm-up: on the line from a hundredth to the full rate."""
        return self.lr * (WARMUP_START + (1 - WARMUP_START) * step / warmup_steps)


@dataclass(frozen=True)
class LRSchedule:
    """A schedule with its options in place.

    Attributes:
        rate: From a step of the whole training, from 0, to its rate.
        shortfall: What it does not come to in its epochs, in a sentence; empty: nothing.
        epoch_done: To be told the score of each epoch.
    """

    rate: Callable[[int], float]
    shortfall: str = ""
    epoch_done: Callable[[float], None] = lambda score: None


schedules: Registry[Callable[..., LRSchedule]] = Registry("schedule")


class Schedule:
    """Sets the rates of an optimiser's groups, each at its own ``lr_scale`` times the course's."""

    def __init__(self, optimizer: Optimizer, lr_schedule: LRSchedule) -> None:
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule

    def at(self, step: int) -> None:
        """Set the rate of a step (from 0, over the whole training), to be called before it is taken."""
        rate = self.lr_schedule.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)

    def epoch_done(self, score: float) -> None:
        """Take note of an epoch's score; to go on with a training, repeat those of the epochs done."""
        self.lr_schedule.epoch_done(score)


def build_schedule(
    component: Component,
    optimizer: Optimizer,
    lr: float,
    epochs: int,
    steps_per_epoch: int,
    higher_is_better: bool = True,
) -> Schedule:
    """Return the configured schedule of an optimiser.

    Raises:
        KitError: The name or an option is unknown, or the floor is not below the rate.
    """
    floor = component.options.get("floor", 0.0)
    lr_schedule = _lr_schedule(component, TrainingLength(lr, epochs, steps_per_epoch, higher_is_better))
    if floor > lr:
        raise KitError(
            f"{WHERE}.floor",
            f"is {floor:g}, and train.lr is {lr:g}",
            "The floor is not above it",
            code="floor_above_lr",
        )
    return Schedule(optimizer, lr_schedule)


def check_schedule(component: Component, epochs: int) -> None:
    """Refuse a schedule that does not exist, or whose options cannot be.

    Raises:
        KitError: The name or an option is unknown, or the warm-up takes all of the training.
    """
    _lr_schedule(component, TrainingLength(1.0, epochs, TRIAL_STEPS))


def shortfall(component: Component, epochs: int, lr: float | None = None) -> str | None:
    """Return what the schedule will not come to in its epochs, in one sentence; None: nothing.

    Args:
        lr: The full rate; without it nothing is said of floors.
    """
    return _lr_schedule(component, TrainingLength(lr or 0.0, epochs, TRIAL_STEPS)).shortfall or None


def rates(component: Component, lr: float, epochs: int, steps_per_epoch: int) -> tuple[float, float, float]:
    """Return the first, the highest and the last rate; those of ``plateau`` without any drop."""
    length = TrainingLength(lr, epochs, steps_per_epoch)
    lr_schedule = _lr_schedule(component, length)
    all_rates = [lr_schedule.rate(step) for step in range(length.steps)]
    return all_rates[0], max(all_rates), all_rates[-1]


def _lr_schedule(component: Component, length: TrainingLength) -> LRSchedule:
    schedule, options = schedules.bind(component, WHERE)
    return schedule(length, **options)


def _along_cosine(begin: float, end: float, share: float) -> float:
    """Return the value that half a cosine has between ``begin`` and ``end`` after a share of the way."""
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


@schedules.register("cosine")
def cosine(length: TrainingLength, *, warmup_epochs: Warmup = None, floor: NotNegative = 0.0) -> LRSchedule:
    """Return half a cosine from the full rate to ``floor``, which the last step has.

    Loshchilov & Hutter 2017, "SGDR", without restarts.
    """
    warmup = length.warmup_steps(warmup_epochs)
    rest = max(1, length.steps - warmup - 1)

    def rate(step: int) -> float:
        if step < warmup:
            return length.rising(step, warmup)
        return _along_cosine(length.lr, floor, min(1.0, (step - warmup) / rest))

    return LRSchedule(rate)


@schedules.register("constant")
def constant(length: TrainingLength, *, warmup_epochs: Warmup = None) -> LRSchedule:
    """Return the full rate all along, but for the warm-up."""
    warmup = length.warmup_steps(warmup_epochs)
    return LRSchedule(lambda step: length.rising(step, warmup) if step < warmup else length.lr)


@schedules.register("step")
def step(
    length: TrainingLength,
    *,
    every: Annotated[float, Field(gt=0)],
    factor: Factor = 0.1,
    floor: NotNegative = 0.0,
    warmup_epochs: Warmup = None,
) -> LRSchedule:
    """Return a rate that is multiplied by ``factor`` after ``every`` so many epochs, down to ``floor``.

    Epochs are counted from the first, those of the warm-up too.
    """
    warmup = length.warmup_steps(warmup_epochs)

    def level(step: int) -> float:
        # A whole number of epochs may be a hair less than itself after a division by, say, 2.4.
        drops = math.floor(step / length.steps_per_epoch / every + 1e-9)
        return max(floor, length.lr * factor**drops)

    def rate(step: int) -> float:
        return min(length.rising(step, warmup), level(step)) if step < warmup else level(step)

    last = level(length.steps - 1)
    missing = ""
    if every >= length.epochs:
        missing = f"The rate never drops: every is {every:g}, of {length.epochs} epochs."
    elif floor and last > floor * (1 + 1e-9):  # powers of the factor are off by a rounding
        missing = f"The rate ends at {last:g}, above its floor of {floor:g}."
    return LRSchedule(rate, missing)


@schedules.register("one_cycle")
def one_cycle(
    length: TrainingLength,
    *,
    peak_at: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    start_factor: AboveOne = 25.0,
    end_factor: AboveOne = 1e4,
) -> LRSchedule:
    """Return a rise to the full rate and a longer fall, both along half a cosine.

    Smith & Topin 2018, "Super-convergence", as torch's OneCycleLR goes; the momentum stays as it is.

    Options:
        peak_at: After which share of the steps the full rate is reached.
        start_factor: The first rate is the full one divided by it.
        end_factor: The last rate is the first one divided by it.
    """
    first = length.lr / start_factor
    # A training of a few steps begins with the peak.
    peak = max(0.0, peak_at * length.steps - 1)
    last = max(1, length.steps - 1)

    def rate(step: int) -> float:
        if step < peak:
            return _along_cosine(first, length.lr, step / peak)
        return _along_cosine(length.lr, first / end_factor, min(1.0, (step - peak) / max(1e-9, last - peak)))

    return LRSchedule(rate)


@schedules.register("plateau")
def plateau(
    length: TrainingLength,
    *,
    factor: Factor = 0.1,
    patience: Annotated[int, Field(ge=0)] = 3,
    floor: NotNegative = 0.0,
    warmup_epochs: Warmup = None,
) -> LRSchedule:
    """Return a rate that falls by ``factor`` when more than ``patience`` epochs brought nothing better.

    As torch's ReduceLROnPlateau counts: better is by more than a ten-thousandth of the best score. Epochs
    whose end lies in the warm-up are not counted.
    """
    warmup = length.warmup_steps(warmup_epochs)
    # torch's own changes an optimiser; this one holds nothing but the rate.
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

    # The first counted epoch sets the best score, patience + 1 others miss it, and one must be left.
    missing = ""
    if length.epochs - not_counted < patience + 3:
        missing = f"The rate never drops: patience {patience} does not run out in {length.epochs} epochs."
    return LRSchedule(rate, missing, epoch_done)
