"""Views for test-time augmentation: each view is one or several versions of an image.

A view is a function of the model input and its options; it returns ``ViewImage``s. A source (a resized crop
or a random draw) is computed once per image; exact changes such as flips are applied to its tensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kit.config import Component
from kit.engine.augment.channels import check_channels
from kit.engine.augment.pipelines import Seeded, Transform, build_step, prediction_transform
from kit.engine.models.build import Classifier
from kit.engine.models.preprocessing import Preprocessing
from kit.errors import KitError
from kit.registry import Registry, bind_options

SHIFT = 16  # a shift moves the image by 1/16 of its side
STRIDES = (32, 16, 8, 4, 2)  # total strides of networks; sizes are multiples of the largest that fits
KEY = "predict.tta"

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CenterSource:
    """The center crop, ``size`` x ``size``, of the image resized to a short side of ``size / crop``."""

    size: int
    crop: float

    def transform(self, own: Preprocessing) -> Transform:
        """Return the transform, with the model's interpolation."""
        return prediction_transform(replace(own, predict_size=self.size, crop=self.crop))


@dataclass(frozen=True)
class RandomSource:
    """A random version of the image, resized to ``size`` unless the pipeline does so.

    Attributes:
        pipeline: Albumentations steps, as JSON.
        number: Number of the draw; seed, image id and number determine the result.
    """

    size: int
    crop: float
    pipeline: str
    number: int

    @property
    def steps(self) -> list[Any]:
        """The albumentations steps; an unknown step or option is a KitError."""
        steps = json.loads(self.pipeline)
        return [build_step(step, f"{KEY}.random.pipeline[{i}]") for i, step in enumerate(steps)]

    def transform(self, own: Preprocessing) -> Transform:
        """Return the random transform.

        Raises:
            KitError: A step or an option is unknown.
        """
        augment = Seeded(self.steps)
        resize = CenterSource(self.size, self.crop).transform(own)

        def draw(image: np.ndarray, seed: int) -> np.ndarray:
            augmented = augment(image, seed)
            return augmented if augmented.shape[:2] == (self.size, self.size) else resize(augmented, seed)

        return draw


Source = CenterSource | RandomSource


class ViewImage(NamedTuple):
    """One model input: a source, and an exact change of its tensor (B, C, H, W)."""

    source: Source
    change: Change


@dataclass(frozen=True)
class ModelInput:
    """The model input size that views are built for.

    Attributes:
        size: Height and width in pixels.
        crop: Share of the resized short side in the center crop.
        patch: Patch size of a transformer; 0: none.
    """

    size: int
    crop: float
    patch: int = 0

    @classmethod
    def of(cls, model: Classifier) -> ModelInput:
        """Return the prediction input of a model."""
        own = model.preprocessing
        return cls(own.predicting, own.crop, _patch_size(model.backbone))

    @property
    def center(self) -> CenterSource:
        """The plain image, without a view."""
        return CenterSource(self.size, self.crop)

    def nearest_size(self, scale: float) -> int:
        """Return the valid input size nearest to ``scale`` times the model's size.

        >>> ModelInput(224, 0.875).nearest_size(0.875), ModelInput(518, 1.0, patch=14).nearest_size(1.125)
        (192, 588)
        """
        fitting = (stride for stride in STRIDES if self.size % stride == 0 and stride * 8 <= self.size)
        unit = self.patch or next(fitting, 1)
        return max(1, round(self.size * scale / unit)) * unit


def _patch_size(backbone: nn.Module) -> int:
    side: Any = getattr(getattr(backbone, "patch_embed", None), "patch_size", 0)
    return int(max(side)) if isinstance(side, tuple) else int(side)


View = Callable[..., tuple[ViewImage, ...]]
views: Registry[View] = Registry("view")


def register_exact(name: str) -> Callable[[Change], Change]:
    """Register a shape-preserving change of images (B, C, H, W) as a view of one image."""

    def add(change: Change) -> Change:
        def view(model_input: ModelInput) -> tuple[ViewImage, ...]:
            return (ViewImage(model_input.center, change),)

        view.__doc__ = change.__doc__  # its first line describes the view
        views.register(name)(view)
        return change

    return add


# --- exact views: one image, changed on the tensor


@register_exact("identity")
def identity(images: Tensor) -> Tensor:
    """The image as it is."""
    return images


@register_exact("hflip")
def hflip(images: Tensor) -> Tensor:
    """The image flipped left to right."""
    return images.flip(3)


@register_exact("vflip")
def vflip(images: Tensor) -> Tensor:
    """The image flipped top to bottom."""
    return images.flip(2)


@register_exact("transpose")
def transpose(images: Tensor) -> Tensor:
    """The image transposed: rows become columns."""
    return images.transpose(2, 3)


@register_exact("rot90")
def rot90(images: Tensor) -> Tensor:
    """The image rotated by 90 degrees counterclockwise."""
    return images.rot90(1, (2, 3))


@register_exact("rot180")
def rot180(images: Tensor) -> Tensor:
    """The image rotated by 180 degrees."""
    return images.flip(2, 3)


@register_exact("rot270")
def rot270(images: Tensor) -> Tensor:
    """The image rotated by 270 degrees counterclockwise."""
    return images.rot90(3, (2, 3))


def antitranspose(images: Tensor) -> Tensor:
    """The image mirrored at the anti-diagonal."""
    return rot180(transpose(images))


def _shift(images: Tensor, down: int, right: int) -> Tensor:
    """Return the images shifted by 1/16 of a side; the edge is repeated."""
    height, width = images.shape[2:]
    dy, dx = max(1, height // SHIFT), max(1, width // SHIFT)
    padded = F.pad(images.float(), (dx, dx, dy, dy), mode="replicate").to(images.dtype)
    top, left = dy - down * dy, dx - right * dx
    return padded[:, :, top : top + height, left : left + width]


@register_exact("shift_up")
def shift_up(images: Tensor) -> Tensor:
    """The image shifted up by 1/16 of its side."""
    return _shift(images, -1, 0)


@register_exact("shift_down")
def shift_down(images: Tensor) -> Tensor:
    """The image shifted down by 1/16 of its side."""
    return _shift(images, 1, 0)


@register_exact("shift_left")
def shift_left(images: Tensor) -> Tensor:
    """The image shifted left by 1/16 of its side."""
    return _shift(images, 0, -1)


@register_exact("shift_right")
def shift_right(images: Tensor) -> Tensor:
    """The image shifted right by 1/16 of its side."""
    return _shift(images, 0, 1)


# --- views of several images

SYMMETRIES = (identity, rot90, rot180, rot270, hflip, vflip, transpose, antitranspose)


@views.register("d4")
def d4(model_input: ModelInput) -> tuple[ViewImage, ...]:
    """The eight symmetries of the square, for images without an orientation (cells, aerial photos)."""
    return tuple(ViewImage(model_input.center, change) for change in SYMMETRIES)


@dataclass(frozen=True)
class Crop:
    """A square crop of images (B, C, H, W), optionally flipped left to right."""

    top: int
    left: int
    size: int
    flipped: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Return the crops, (B, C, size, size)."""
        square = images[:, :, self.top : self.top + self.size, self.left : self.left + self.size]
        return hflip(square) if self.flipped else square


Share = Annotated[float, Field(gt=0, lt=1)]


@views.register("five_crop")
def five_crop(model_input: ModelInput, *, share: Share = 0.875) -> tuple[ViewImage, ...]:
    """Five crops: the corners and the center of a larger square, each ``share`` of its side.

    Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 4.1.
    """
    return _crops(model_input, share, (False,))


@views.register("ten_crop")
def ten_crop(model_input: ModelInput, *, share: Share = 0.875) -> tuple[ViewImage, ...]:
    """Ten crops: ``five_crop`` and its horizontal flips."""
    return _crops(model_input, share, (False, True))


def _crops(model_input: ModelInput, share: float, flips: Iterable[bool]) -> tuple[ViewImage, ...]:
    size, larger = model_input.size, max(model_input.size + 2, round(model_input.size / share))
    far, middle = larger - size, (larger - size) // 2
    places = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]
    source = CenterSource(larger, 1.0)
    return tuple(ViewImage(source, Crop(top, left, size, flip)) for flip in flips for top, left in places)


@views.register("multi_scale")
def multi_scale(
    model_input: ModelInput,
    *,
    scales: Annotated[list[Annotated[float, Field(ge=0.25, le=4)]], Field(min_length=1)] = [  # noqa: B006
        0.875,
        1.0,
        1.125,
    ],
) -> tuple[ViewImage, ...]:
    """The image at several scales, each rounded to a size that the network accepts."""
    sizes = dict.fromkeys(model_input.nearest_size(scale) for scale in scales)
    return tuple(ViewImage(CenterSource(size, model_input.crop), identity) for size in sizes)


@views.register("random")
def random(
    model_input: ModelInput,
    *,
    times: Annotated[int, Field(ge=1, le=256)] = 8,
    pipeline: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None,
) -> tuple[ViewImage, ...]:
    """``times`` random versions of the image, by albumentations steps.

    Default ``pipeline``: a crop of 0.8 to 1 of the area, rotated by up to 10 degrees.
    """
    steps = json.dumps(pipeline if pipeline is not None else _default_pipeline(model_input.size))
    return tuple(
        ViewImage(RandomSource(model_input.size, model_input.crop, steps, number), identity)
        for number in range(times)
    )


def _default_pipeline(size: int) -> list[dict[str, Any]]:
    import cv2

    crop = {"name": "RandomResizedCrop", "size": [size, size], "scale": [0.8, 1.0]}
    resize = {"area_for_downscale": "image", "interpolation": cv2.INTER_CUBIC}
    rotate = {"name": "Rotate", "limit": 10, "border_mode": cv2.BORDER_REFLECT_101, "p": 1.0}
    return [crop | resize, rotate]


# --- by name

TRIAL = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
NOMINAL = ModelInput(TRIAL.size, TRIAL.crop)  # for uses independent of the model


def view_images_of(component: Component, model_input: ModelInput) -> tuple[ViewImage, ...]:
    """Return the model inputs of one view.

    Raises:
        KitError: The view or an option is unknown.
    """
    view = views.get(component.name, KEY)
    return view(model_input, **bind_options(f"{KEY}.{component.name}", view, component.options))


def check_view(component: Component) -> None:
    """Check the name, the options and the steps of a view; a mistake is a KitError."""
    for view_image in view_images_of(component, NOMINAL):
        view_image.source.transform(TRIAL)


@torch.inference_mode()
def check_sizes(components: Iterable[Component], model: Classifier) -> None:
    """Refuse views whose image size or channels the model or the view does not accept.

    Raises:
        KitError: The first such view, with the network's message.
    """
    model_input = ModelInput.of(model)
    device = model.mean.device
    for component in components:
        for source, change in view_images_of(component, model_input):
            if isinstance(source, RandomSource) and source.number == 0:
                check_channels(
                    source.steps, f"{KEY}.{component.name}", model.preprocessing.channels, source.size
                )
            zeros = torch.zeros(2, model.preprocessing.channels, source.size, source.size, device=device)
            images = change(zeros)
            if images.shape[2] == model_input.size:
                continue
            try:
                model.eval()(images)
            except (RuntimeError, ValueError, AssertionError) as error:
                raise KitError(
                    f"{KEY}.{component.name}",
                    f"the model does not accept {images.shape[2]} px ({' '.join(str(error).split())[:200]})",
                    f"It accepts {model_input.size} px",
                    "Remove this view, or use five_crop, which keeps the size.",
                    code="image_size_unsuitable",
                ) from error
