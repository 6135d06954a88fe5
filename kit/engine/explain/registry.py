"""The registry of methods that explain a prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kit.registry import Registry

Explainer = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, images (B, C, H, W) of 0..255, class of each image (B,)) -> maps (B, H, W) of 0..1."""

explainers: Registry[Explainer] = Registry("method")


def scaled(maps: Tensor) -> Tensor:
    """Return maps (B, H, W) without negative values, the largest of each 1; a map of zeros stays."""
    positive = maps.clamp(min=0)
    return positive / positive.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
