"""Merge the predictions of several views into one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kit.errors import KitError
from kit.metrics import EPSILON
from kit.metrics.averages import geometric_mean, mean_rank
from kit.registry import Registry
from kit.tasks import Task


class MergeFunction(Protocol):
    """Probabilities (V, N, C) and view weights (V, 1, 1), which sum to 1 -> (N, C)."""

    def __call__(self, probs: Tensor, shares: Tensor) -> Tensor:
        """Return one prediction per row."""
        ...


@dataclass(frozen=True)
class Merge:
    """A merge method.

    Attributes:
        needs_all: Whether a row depends on the other rows, so that batches cannot be merged separately.
        number: Whether it suits the numbers of a regression, which may be negative.
    """

    function: MergeFunction
    needs_all: bool
    number: bool

    @property
    def description(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def __call__(self, probs: Tensor, counts: Tensor, exclusive: bool) -> Tensor:
        """Return the merged probabilities.

        Args:
            probs: (V, N, C), float32.
            counts: Weight of each view, (V,).
            exclusive: One class per row: probabilities sum to 1.

        Returns:
            (N, C).
        """
        shares = (counts / counts.sum()).to(probs)[:, None, None]
        merged = self.function(probs, shares)
        if exclusive:
            merged = merged / merged.sum(dim=1, keepdim=True)
        return merged


merges: Registry[Merge] = Registry("merge")
MERGE = "predict.merge"  # the config key


def check_merge(name: str, task: Task) -> None:
    """Refuse a merge that does not exist, or that does not suit the numbers of a regression.

    Raises:
        KitError: The message names the merges that suit.
    """
    if task.numeric and not merges.get(name, MERGE).number:
        fitting = ", ".join(each for each in merges if merges.get(each).number)
        raise KitError(
            MERGE,
            f"{name} is for probabilities, and the task is {task.name}",
            f"Suitable: {fitting}",
            code="merge_unsuitable",
        )
    merges.get(name, MERGE)


def register_merge(
    name: str, needs_all: bool = False, number: bool = False
) -> Callable[[MergeFunction], MergeFunction]:
    """Register a merge function; the arguments are attributes of ``Merge``."""

    def add(function: MergeFunction) -> MergeFunction:
        merges.register(name)(Merge(function, needs_all, number))
        return function

    return add


@register_merge("mean", number=True)
def mean(probs: Tensor, shares: Tensor) -> Tensor:
    """Arithmetic mean of the probabilities, or of the numbers of a regression."""
    return (probs * shares).sum(dim=0)


@register_merge("gmean")
def gmean(probs: Tensor, shares: Tensor) -> Tensor:
    """Geometric mean of the probabilities: one view that rules a class out dominates."""
    merged: Tensor = geometric_mean(probs, shares, torch)
    return merged


@register_merge("logit_mean")
def logit_mean(probs: Tensor, shares: Tensor) -> Tensor:
    """Mean of the log-odds (each class against the rest), back to probabilities."""
    return (probs.logit(EPSILON) * shares).sum(dim=0).sigmoid()


@register_merge("max")
def largest(probs: Tensor, shares: Tensor) -> Tensor:
    """Highest probability of each class over the views: for objects that only some views show."""
    return probs.amax(dim=0)


@register_merge("rank", needs_all=True)
def rank(probs: Tensor, shares: Tensor) -> Tensor:
    """Mean percentile rank of the rows in each class: for ranking metrics such as ROC AUC only.

    Ties share their rank. The result is not a probability.
    """
    ranks = mean_rank(probs.cpu().numpy(), shares.flatten().cpu().numpy())
    return torch.from_numpy(ranks.astype(np.float32)).to(probs)
