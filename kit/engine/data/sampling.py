"""Class balancing: which images an epoch takes, how often, and the loss weight of each class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from kit.config import Component
from kit.errors import KitError
from kit.registry import Registry
from kit.tasks import Task

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class EpochPlan:
    """The training images of an epoch.

    Attributes:
        length: Number of images per epoch.
        draw: Random generator of the epoch -> positions (length,), in any order.
        class_weights: The loss weight of each class, (C,), 1 on average over the images; None: all 1.
        is_balanced: False: every image once with weight 1.
    """

    length: int
    draw: Callable[[np.random.Generator], np.ndarray]
    class_weights: np.ndarray | None = None
    is_balanced: bool = True

    @classmethod
    def of_all(cls, length: int) -> EpochPlan:
        """Return the plan that takes every image once."""
        return replace(cls.of(np.arange(length)), is_balanced=False)

    @classmethod
    def of(cls, positions: np.ndarray) -> EpochPlan:
        """Return the plan that takes the same positions in every epoch."""
        return cls(len(positions), lambda _: positions.copy())

    def positions(self, seed: int) -> np.ndarray:
        """Return the positions of the images of one epoch."""
        return self.draw(np.random.default_rng(seed))

    def class_counts(self, truth: np.ndarray, seed: int) -> np.ndarray:
        """Return the images per class in one epoch, (C,), for the 0/1 matrix ``truth`` (N, C)."""
        counts: np.ndarray = truth[self.positions(seed)].sum(axis=0).astype(np.int64)
        return counts


Balance = Callable[..., EpochPlan]
balances: Registry[Balance] = Registry("balance")


def plan_epochs(component: Component, truth: np.ndarray, seed: int) -> EpochPlan:
    """Return the plan for the training images of a fold.

    Args:
        truth: (N, C), 1 where an image has a class.

    Raises:
        KitError: The name or an option is unknown.
    """
    balance, options = balances.bind(component, "train.balance")
    return balance(truth.astype(np.float64), np.random.default_rng(seed), **options)


def check_balance(component: Component, task: Task) -> None:
    """Refuse a balance that does not exist, or any balance of classes if labels are numbers.

    Raises:
        KitError: The name or an option is wrong, or the balance needs classes.
    """
    plan = plan_epochs(component, np.eye(3), seed=0)
    if task.numeric and plan.is_balanced:
        raise KitError(
            "train.balance",
            f"{component.name} balances classes, and the task is {task.name}",
            "Numbers have no classes",
            "Leave train.balance out.",
            code="balance_unsuitable",
        )


@balances.register("none")
def none(truth: np.ndarray, rng: np.random.Generator) -> EpochPlan:
    """Take every image once."""
    return EpochPlan.of_all(len(truth))


@balances.register("weights")
def weights(
    truth: np.ndarray, rng: np.random.Generator, *, beta: Annotated[float, Field(ge=0, lt=1)] = 0.999
) -> EpochPlan:
    """Take every image once and weight the loss by the effective number of images of its class.

    The weight of a class of n images is (1 - beta) / (1 - beta^n): Cui et al., CVPR 2019, equation 2.
    """
    counts = truth.sum(axis=0)
    per_class = (1 - beta) / (1 - beta ** np.maximum(counts, 1))
    per_class *= counts.sum() / (per_class * counts).sum()
    return EpochPlan(len(truth), lambda _: np.arange(len(truth)), per_class.astype(np.float32))


@balances.register("sampler")
def sampler(truth: np.ndarray, rng: np.random.Generator) -> EpochPlan:
    """Draw images with replacement so that all classes are equally likely.

    An image with several classes counts for its rarest one; images without a class form one more class.
    """
    share = np.append(truth.sum(axis=0), max(1, (truth.sum(axis=1) == 0).sum()))
    has_class = np.column_stack([truth, truth.sum(axis=1) == 0])
    p = (has_class / np.maximum(share, 1)).max(axis=1)
    p /= p.sum()
    return EpochPlan(len(truth), lambda rng: rng.choice(len(truth), size=len(truth), p=p))


@balances.register("cap")
def cap(truth: np.ndarray, rng: np.random.Generator, *, at: Count | Literal["mean"] = "mean") -> EpochPlan:
    """Undersample: keep at most ``at`` images of each class (``mean``: the mean class size).

    Images with rare classes are kept first.
    """
    counts = truth.sum(axis=0)
    left = np.full(len(counts), _target(at, counts))
    rarest = np.where(truth > 0, counts, np.inf).min(axis=1)
    kept = []
    for position in np.lexsort((rng.random(len(truth)), rarest)):
        classes = truth[position] > 0
        if (left[classes] >= 1).all():
            left[classes] -= 1
            kept.append(position)
    return EpochPlan.of(np.sort(np.array(kept, dtype=np.int64)))


@balances.register("oversample")
def oversample(
    truth: np.ndarray, rng: np.random.Generator, *, to: Count | Literal["mean", "max"] = "max"
) -> EpochPlan:
    """Oversample: repeat images of classes with fewer than ``to`` images, the rarest class first."""
    counts = truth.sum(axis=0)
    target = _target(to, counts)
    chosen = [np.arange(len(truth))]
    for column in np.argsort(counts, kind="stable"):
        positions = np.flatnonzero(truth[:, column])
        missing = int(target - counts[column])
        if missing > 0 and len(positions):
            whole, rest = divmod(missing, len(positions))
            more = np.concatenate([np.repeat(positions, whole), rng.permutation(positions)[:rest]])
            chosen.append(more)
            counts = counts + truth[more].sum(axis=0)
    return EpochPlan.of(np.concatenate(chosen))


def _target(count: int | str, counts: np.ndarray) -> int:
    if count == "mean":
        return round(float(counts.mean()))
    return int(counts.max()) if count == "max" else int(count)
