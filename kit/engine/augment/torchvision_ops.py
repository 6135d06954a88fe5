"""torchvision augmentations (RandAugment, AugMix) as albumentations transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import albumentations as A
import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torchvision.transforms import v2

Count = Annotated[int, Field(ge=1)]
MAGNITUDES = 30
SEVERITIES = 10
INTERPOLATION = v2.InterpolationMode.BILINEAR


class TorchvisionStep(A.ImageOnlyTransform):  # type: ignore[misc]
    """A torchvision transform whose random draws depend only on the seed of albumentations.

    Subclasses set ``torchvision_transform``, torchvision's transform of a PIL image.
    """

    torchvision_transform: Callable[[Image.Image], Image.Image]

    def get_params(self) -> dict[str, Any]:
        """Return the seed of torch's generator for one image."""
        return {"seed": self.py_random.getrandbits(32)}

    def apply(self, img: np.ndarray, seed: int, **params: Any) -> np.ndarray:
        """Return the augmented image, of the same shape (H, W, C) or (H, W), uint8.

        Raises:
            ValueError: It has other channels than one or three: Pillow would take four for opacity.
        """
        if img.ndim == 3 and img.shape[2] not in (1, 3):
            raise ValueError(f"{type(self).__name__} needs 1 or 3 channels, and the image has {img.shape[2]}")
        # torchvision uses torch's global generator; restore its state, since MixUp uses it, too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            one_channel = img.ndim == 3 and img.shape[2] == 1
            result = self.torchvision_transform(Image.fromarray(img[:, :, 0] if one_channel else img))
        return np.asarray(result).reshape(img.shape)


class RandAugment(TorchvisionStep):
    """``num_ops`` random operations out of fourteen, with strength ``magnitude`` (of 30).

    Cubuk et al. 2020, "RandAugment".
    """

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """Valid options."""

        num_ops: Count
        magnitude: Annotated[int, Field(ge=0, le=MAGNITUDES)]

    def __init__(self, num_ops: int = 2, magnitude: int = 9, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.torchvision_transform = v2.RandAugment(num_ops, magnitude, interpolation=INTERPOLATION)


class AugMix(TorchvisionStep):
    """The image mixed with ``width`` augmentation chains, of strength up to ``severity`` (of 10).

    Hendrycks et al. 2020, "AugMix".
    """

    class InitSchema(A.BasicTransform.InitSchema):  # type: ignore[misc]
        """Valid options."""

        severity: Annotated[int, Field(ge=1, le=SEVERITIES)]
        width: Count
        depth: Literal[-1, 1, 2, 3]

    def __init__(self, severity: int = 3, width: int = 3, depth: int = -1, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.severity, self.width, self.depth = severity, width, depth
        self.torchvision_transform = v2.AugMix(
            severity, width, chain_depth=depth, interpolation=INTERPOLATION
        )
