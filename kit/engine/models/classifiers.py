"""The last layer of a network for metric learning: cosine similarities, trained with a margin.

An entry is a function of its options that returns the ``CosineSettings``. The layer computes the cosine of
the angle between an image's features and the center of each class; in training, the loss asks the true class
for a better cosine than the others by a margin. So images of a class come close to each other, which helps
with many classes of few images, and to recognize that an image belongs to no known class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kit.config import Component
from kit.errors import KitError
from kit.registry import Registry

WHERE = "model.classifier"
SIZE_POWER = 0.25  # of a class's number of images, for margins by size (Ha et al. 2020)
Positive = Annotated[float, Field(gt=0)]
Margin = Annotated[float, Field(ge=0, le=1.5)]
Count = Annotated[int, Field(ge=1)]
Penalty = Callable[[Tensor, Tensor], Tensor]  # cosines (B, C), margins (B, C) -> smaller cosines (B, C)


@dataclass(frozen=True)
class CosineSettings:
    """A cosine classifier and its margin.

    Attributes:
        scale: Factor of the cosines: the logits lie in -scale..scale.
        margin: Of the class with the fewest images, and of all without ``least_margin``.
        least_margin: Of the class with the most images; None: all classes have the same margin.
        centers: Centers per class; the nearest one counts.
    """

    penalty: Penalty
    scale: float
    margin: float
    least_margin: float | None = None
    centers: int = 1

    def margins(self, counts: Tensor) -> Tensor:
        """Return the margin of each class, (C,), from its number of training images.

        It falls from ``margin`` to ``least_margin`` with the fourth root of the number (dynamic margins, Ha
        et al. 2020, "Google Landmark Recognition 2020 Competition Third Place Solution").
        """
        least = self.margin if self.least_margin is None else self.least_margin
        sizes = counts.float().clamp_min(1) ** -SIZE_POWER
        low, high = sizes.min(), sizes.max()
        shares = torch.ones_like(sizes) if low == high else (sizes - low) / (high - low)
        return least + (self.margin - least) * shares


class CosineClassifier(nn.Module):
    """Cosines of features and class centers, times a scale.

    Computed in fp32: near 1, neighboring cosines of bf16 differ by 0.004.
    """

    def __init__(self, in_features: int, out_features: int, scale: float, centers: int) -> None:
        super().__init__()
        self.out_features, self.scale, self.centers = out_features, scale, centers
        self.weight = nn.Parameter(torch.empty(out_features * centers, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, C)."""
        with torch.autocast(features.device.type, enabled=False):
            cosines = F.linear(F.normalize(features.float()), F.normalize(self.weight.float()))
        by_class = cosines.view(-1, self.out_features, self.centers)
        return by_class.amax(dim=2) * self.scale


def angular_penalty(cosines: Tensor, margins: Tensor) -> Tensor:
    """Return cos(angle + margin); beyond 180 degrees, cosine - margin sin(margin), which falls on."""
    sines = (1 - cosines**2).clamp_min(1e-7).sqrt()
    moved = cosines * margins.cos() - sines * margins.sin()
    return torch.where(cosines > -margins.cos(), moved, cosines - margins * margins.sin())


def cosine_penalty(cosines: Tensor, margins: Tensor) -> Tensor:
    """Return cosine - margin."""
    return cosines - margins


classifiers: Registry[Callable[..., CosineSettings]] = Registry("classifier")


@classifiers.register("arcface")
def arcface(
    *, scale: Positive = 30.0, margin: Margin = 0.3, least_margin: Margin | None = None
) -> CosineSettings:
    """ArcFace (Deng et al. 2019): the angle to the true class must be smaller by a margin, in radians."""
    return CosineSettings(angular_penalty, scale, margin, least_margin)


@classifiers.register("subcenter_arcface")
def subcenter_arcface(
    *, scale: Positive = 30.0, margin: Margin = 0.3, least_margin: Margin | None = None, centers: Count = 3
) -> CosineSettings:
    """Sub-center ArcFace (Deng et al. 2020): several centers per class, for noisy or varied classes."""
    return CosineSettings(angular_penalty, scale, margin, least_margin, centers)


@classifiers.register("cosface")
def cosface(
    *, scale: Positive = 30.0, margin: Margin = 0.3, least_margin: Margin | None = None
) -> CosineSettings:
    """CosFace (Wang et al. 2018): the cosine of the true class must be larger by a margin."""
    return CosineSettings(cosine_penalty, scale, margin, least_margin)


def settings_of(component: Component) -> CosineSettings:
    """Return the settings of ``model.classifier``.

    Raises:
        KitError: The name or an option is unknown or invalid.
    """
    build, options = classifiers.bind(component, WHERE)
    settings = build(**options)
    if settings.least_margin is not None and settings.least_margin > settings.margin:
        raise KitError(
            f"{WHERE}.least_margin",
            f"is {settings.least_margin:g}, more than the margin {settings.margin:g}",
            "Classes with fewer images get the larger margin",
            code="option_invalid",
        )
    return settings


def with_margin(
    loss: Callable[[Tensor, Tensor], Tensor], settings: CosineSettings, counts: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss that moves the cosines of the true classes by their margins first.

    A class with target t gets t times its margin, so mixed images have a part of two margins.

    Args:
        loss: Of logits (B, C) and targets (B, C).
        counts: The number of training images of each class, (C,).
    """
    margins = settings.margins(counts)

    def of_batch(logits: Tensor, targets: Tensor) -> Tensor:
        cosines = (logits / settings.scale).clamp(-1, 1)
        return loss(settings.penalty(cosines, margins * targets) * settings.scale, targets)

    return of_batch
