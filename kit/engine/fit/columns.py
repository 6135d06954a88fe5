"""Metadata of a fold's images in training: what the model reads, and what it learns to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.engine.models.tabular import AuxiliaryHeads, EncodedRows, Sizes, layers_of


class BatchColumns(NamedTuple):
    """The targets of a batch (B, K), the rows that the model reads, and the auxiliary targets."""

    targets: Tensor
    rows: tuple[Tensor, ...] = ()
    auxiliary: Tensor | None = None


@dataclass(frozen=True)
class AuxiliaryTargets:
    """Columns that the network learns to predict.

    Attributes:
        rows: Of the training images.
        weights: The weight of each column's loss.
    """

    rows: EncodedRows
    weights: tuple[float, ...]

    def loss(self, model: nn.Module, targets: Tensor) -> Tensor:
        """Return the weighted loss of a model's last forward pass, averaged over the images.

        Args:
            targets: The rows of the images (B, W), which may be mixed.
        """
        outputs = [head.taken() for head in layers_of(model, AuxiliaryHeads)]
        losses = [auxiliary_loss(each.float(), targets, self.rows.sizes, self.weights) for each in outputs]
        return torch.stack(losses).mean()


def auxiliary_loss(outputs: Tensor, targets: Tensor, sizes: Sizes, weights: tuple[float, ...]) -> Tensor:
    """Return the weighted sum of the losses of the columns: cross-entropy, or the squared error of a number.

    A missing value adds nothing. Of a mixed image, each part counts by its share if its value is known: the
    cross-entropy is linear in the targets, and a number is the mean of the known ones.

    Args:
        outputs: (B, V): a value per number and a logit per category.
        targets: (B, W) as from ``EncodedRows``.
    """
    total = outputs.new_zeros(())
    output, target = 0, 0
    for size, weight in zip(sizes, weights, strict=True):
        if size is None:
            value, missing = targets[:, target], targets[:, target + 1]
            known = 1 - missing
            wanted = value / known.clamp(min=torch.finfo(value.dtype).eps)
            loss = known * (outputs[:, output] - wanted) ** 2
            output, target = output + 1, target + 2
        else:
            shares = targets[:, target + 1 : target + 1 + size]
            loss = -(shares * functional.log_softmax(outputs[:, output : output + size], dim=1)).sum(dim=1)
            output, target = output + size, target + 1 + size
        total = total + weight * loss.mean()
    return total


@dataclass(frozen=True)
class FoldColumns:
    """The metadata of a fold, encoded with what its training side defines; None: the config names no column.

    Attributes:
        train: Rows of the training images, which the model reads.
        validation: The same of the validation images.
        auxiliary: What the network learns to predict of the training images.
    """

    train: EncodedRows | None = None
    validation: EncodedRows | None = None
    auxiliary: AuxiliaryTargets | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """The values of a training image's row, and of its auxiliary targets."""
        auxiliary = None if self.auxiliary is None else self.auxiliary.rows
        return 0 if self.train is None else self.train.width, 0 if auxiliary is None else auxiliary.width

    @property
    def validation_rows(self) -> tuple[EncodedRows, ...]:
        """The rows of the validation images as ``Predictor`` takes them."""
        return () if self.validation is None else (self.validation,)

    def split(self, joined: Tensor) -> BatchColumns:
        """Return the parts of what ``JoinedTargets`` joins."""
        if not any(self.widths):
            return BatchColumns(joined)
        rows, auxiliary = self.widths
        sizes = [joined.shape[1] - rows - auxiliary, rows, auxiliary]
        targets, own, predicted = torch.split(joined, sizes, dim=1)
        return BatchColumns(targets, (own,) if rows else (), predicted if auxiliary else None)


NO_COLUMNS = FoldColumns()


class JoinedTargets:
    """The targets of training images with their metadata as further columns: both are mixed in one step.

    Args:
        targets: (N, K).
    """

    def __init__(self, targets: Tensor, columns: FoldColumns) -> None:
        self.targets = targets
        auxiliary = None if columns.auxiliary is None else columns.auxiliary.rows
        self.rows = [each for each in (columns.train, auxiliary) if each is not None]
        self.width = targets.shape[1] + sum(columns.widths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Return the targets of some images (B,), with their metadata, (B, width)."""
        if not self.rows:
            return self.targets[indices]
        return torch.cat([self.targets[indices], *(each[indices] for each in self.rows)], dim=1)
