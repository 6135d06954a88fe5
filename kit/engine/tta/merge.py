"""What a model says of several images of one thing -> one answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kit.metrics import EPSILON
from kit.metrics.averages import geometric_mean, mean_rank
from kit.registry import Registry


class MergeFunction(Protocol):
    """From probabilities (V, N, C) and the share of each view (V, 1, 1), summing to 1, to (N, C)."""

    def __call__(self, probs: Tensor, shares: Tensor) -> Tensor:
        """Return one answer per row."""
        ...


@dataclass(frozen=True)
class Merge:
    """One way to merge.

    Attributes:
        needs_all: Whether a row's answer depends on the other rows of its set.
    """

    function: MergeFunction
    needs_all: bool

    @property
    def description(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def __call__(self, probs: Tensor, counts: Tensor, exclusive: bool) -> Tensor:
        """Return what several views say together.

        Args:
            probs: (V, N, C), float32.
            counts: How many images each view stands for, (V,).
            exclusive: Whether each row has one class, so that its probabilities sum to 1.

        Returns:
            (N, C).
        """
        shares = (counts / counts.sum()).to(probs)[:, None, None]
        merged = self.function(probs, shares)
        if exclusive:
            merged = merged / merged.sum(dim=1, keepdim=True)
        return merged


merges: Registry[Merge] = Registry("merge")


def register_merge(name: str, needs_all: bool = False) -> Callable[[MergeFunction], MergeFunction]:
    """Register a way to merge; the argument is the attribute of ``Merge``."""

    def add(function: MergeFunction) -> MergeFunction:
        merges.register(name)(Merge(function, needs_all))
        return function

    return add


@register_merge("mean")
def mean(probs: Tensor, shares: Tensor) -> Tensor:
    """Return the mean of the probabilities."""
    return (probs * shares).sum(dim=0)


@register_merge("gmean")
def gmean(probs: Tensor, shares: Tensor) -> Tensor:
    """Return the geometric mean: one view that rules a class out weighs more than one that is sure of it."""
    merged: Tensor = geometric_mean(probs, shares, torch)
    return merged


@register_merge("logit_mean")
def logit_mean(probs: Tensor, shares: Tensor) -> Tensor:
    """Return the probabilities whose log-odds, each class against the rest, are the mean of the views'."""
    return (probs.logit(EPSILON) * shares).sum(dim=0).sigmoid()


@register_merge("max")
def largest(probs: Tensor, shares: Tensor) -> Tensor:
    """Return each class's highest probability, whatever the shares: for what only some views show."""
    return probs.amax(dim=0)


@register_merge("rank", needs_all=True)
def rank(probs: Tensor, shares: Tensor) -> Tensor:
    """Return the mean of the percentile ranks that rows have in each class, ties sharing theirs.

    A rank says nothing of how probable a class is: for metrics that look at the order of the rows alone.
    """
    ranks = mean_rank(probs.cpu().numpy(), shares.flatten().cpu().numpy())
    return torch.from_numpy(ranks).to(probs)
