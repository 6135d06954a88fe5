"""Join encoded metadata to the image features before the head, or predict it from them in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 32  # width of the layer that embeds categories and numbers
JOINED = 32  # values that are joined to the image features
UNKNOWN_SHARE = 0.05  # of the cells and of the rows that training replaces by missing values
COLUMNS, AUXILIARY = "columns", "auxiliary_columns"  # names of the layers in a head

Sizes = tuple[int | None, ...]  # categories of each column; None: numbers
M = TypeVar("M", bound=nn.Module)


def widths_of(sizes: Sizes) -> list[int]:
    """Return the values of each column in a row: number and missing flag, or unknown and each category."""
    return [2 if size is None else 1 + size for size in sizes]


class EncodedRows:
    """Encoded metadata of images, looked up by their positions.

    A row is a vector (W,): of each number its scaled value and a flag for missing; of each text a one-hot
    vector, whose first value stands for missing and unknown. So rows can be mixed like targets.

    Args:
        encoded: (N, K) as from ``ColumnEncoder.encode``.
    """

    def __init__(self, encoded: np.ndarray, sizes: Sizes) -> None:
        self.encoded, self.sizes = torch.from_numpy(encoded), sizes
        self.width = sum(widths_of(sizes))

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Return the rows at some positions (B,), as (B, W) float32."""
        parts = []
        for cells, size in zip(self.encoded[indices].unbind(1), self.sizes, strict=True):
            if size is None:
                missing = cells.isnan()
                parts.append(torch.stack([cells.nan_to_num(), missing.float()], dim=1))
            else:
                parts.append(functional.one_hot(cells.long(), 1 + size).float())
        return torch.cat(parts, dim=1)


def missing_row(sizes: Sizes) -> Tensor:
    """Return the row of an image without metadata, (W,)."""
    return EncodedRows(np.array([[np.nan if size is None else 0 for size in sizes]], np.float32), sizes)[
        torch.tensor([0])
    ][0]


class JoinColumns(nn.Module):
    """A layer of the head: joins embedded metadata to the image features.

    The first linear layer embeds: a category has a vector, a number scales one, and they are summed. In
    training, some cells and rows become missing, so that missing and unknown values have a learned vector,
    too. Rows are set before a forward pass; without them all values are missing.

    Args:
        sizes: Categories of each column.
        spatial: Whether features are maps (B, C, H, W) instead of vectors (…, C).
    """

    missing: Tensor
    column_of: Tensor

    def __init__(self, sizes: Sizes, spatial: bool) -> None:
        super().__init__()
        widths = widths_of(sizes)
        self.spatial, self.num_columns = spatial, len(sizes)
        self.embed, self.join = nn.Linear(sum(widths), HIDDEN), nn.Linear(HIDDEN, JOINED)
        nn.init.normal_(self.embed.weight, std=len(sizes) ** -0.5)
        self.register_buffer("missing", missing_row(sizes), persistent=False)
        self.register_buffer(
            "column_of", torch.arange(len(sizes)).repeat_interleave(torch.tensor(widths)), persistent=False
        )
        self.rows: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, …, D) to (B, …, D + JOINED), or maps (B, D, H, W) to (B, D + JOINED, H, W)."""
        rows = self.missing.expand(len(features), -1) if self.rows is None else self.rows
        if self.training:
            rows = self._with_some_missing(rows)
        joined = self.join(functional.relu(self.embed(rows)))
        if self.spatial:
            joined = joined[:, :, None, None].expand(-1, -1, *features.shape[2:])
            return torch.cat([features, joined], dim=1)
        between = (1,) * (features.ndim - 2)
        joined = joined.view(len(joined), *between, -1).expand(*features.shape[:-1], -1)
        return torch.cat([features, joined], dim=-1)

    def _with_some_missing(self, rows: Tensor) -> Tensor:
        cells = torch.rand(len(rows), self.num_columns, device=rows.device) < UNKNOWN_SHARE
        whole = torch.rand(len(rows), 1, device=rows.device) < UNKNOWN_SHARE
        return torch.where((cells | whole)[:, self.column_of], self.missing, rows)


class AuxiliaryHeads(nn.Module):
    """A layer of the head for training only: predicts columns from the image features, which it passes on."""

    def __init__(self, width: int, spatial: bool, sizes: Sizes) -> None:
        super().__init__()
        self.spatial = spatial
        self.predict = nn.Linear(width, sum(1 if size is None else size for size in sizes))
        for parameter in self.predict.parameters():  # as every new head: it must not damage the features
            nn.init.zeros_(parameter)
        self.outputs: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Return the features unchanged; in training, ``taken`` then returns the predictions."""
        if self.training:
            vectors = features.mean(dim=(2, 3)) if self.spatial else features
            self.outputs = self.predict(vectors if vectors.ndim == 2 else vectors.flatten(1, -2).mean(dim=1))
        return features

    def taken(self) -> Tensor:
        """Return the predictions of the last forward pass, (B, V): a value per number and category."""
        assert self.outputs is not None, "a forward pass in training goes before"
        outputs, self.outputs = self.outputs, None
        return outputs


def layers_of(model: nn.Module, kind: type[M]) -> list[M]:
    """Return the layers of a class in a network: one per head."""
    return [module for module in model.modules() if isinstance(module, kind)]


@contextmanager
def rows_set(network: nn.Module, rows: Tensor | None) -> Iterator[None]:
    """Let the heads of a network read metadata (B, W) while the block runs; None: missing values."""
    readers = [] if rows is None else layers_of(network, JoinColumns)
    for layer in readers:
        layer.rows = rows
    try:
        yield
    finally:
        for layer in readers:
            layer.rows = None


class WithRows(nn.Module):
    """A classifier with the metadata of one image: images (B, C, H, W) of it in, logits out."""

    def __init__(self, classifier: nn.Module, row: Tensor) -> None:
        super().__init__()
        self.classifier, self.row = classifier, row

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) of 0..255 to logits (B, num_classes)."""
        logits: Tensor = self.classifier(images, self.row.expand(len(images), -1))
        return logits


def without_auxiliary(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without the heads that only training uses."""
    return {key: tensor for key, tensor in state.items() if f".{AUXILIARY}." not in key}


def placeholder(columns: Sequence[object]) -> Sizes:
    """Return sizes for a network that is built before the columns are read: its speed and shape are right."""
    return (None,) * len(columns)
