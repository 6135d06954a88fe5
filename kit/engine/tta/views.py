"""Views for test-time augmentation: by name, the images that a model is asked about instead of one.

A view is a function of what the model sees and of its own options; it returns shots. All shots of one source
share its pixels: a source is made once per image, and exact changes of it are made on the tensor.
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
from kit.engine.augment.pipelines import Seeded, Transform, build_step, prediction_transform
from kit.engine.models.build import Classifier
from kit.engine.models.preprocessing import Preprocessing
from kit.errors import KitError
from kit.registry import Registry, bind_options

SHIFT = 16  # a shift moves the image by 1/16 of its side
STRIDES = (32, 16, 8, 4, 2)  # sides that convolutions halve evenly; the largest that fits is taken
KEY = "predict.tta"

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CenterSource:
    """The centre of the image, ``size`` pixels wide and high, once its short side is ``size / crop``."""

    size: int
    crop: float

    def transform(self, own: Preprocessing) -> Transform:
        """Return what brings an image to this source, with a model's interpolation."""
        return prediction_transform(replace(own, predict_size=self.size, crop=self.crop))


@dataclass(frozen=True)
class RandomSource:
    """The image varied at random, then brought to ``size`` as usual, if the pipeline has not done so.

    Attributes:
        pipeline: Albumentations steps, as JSON.
        number: Which draw it is; with the seed and the id of an image it decides what is drawn.
    """

    size: int
    crop: float
    pipeline: str
    number: int

    def transform(self, own: Preprocessing) -> Transform:
        """Return what draws from an image.

        Raises:
            KitError: A step or an option of it does not exist.
        """
        steps = json.loads(self.pipeline)
        vary = Seeded([build_step(step, f"{KEY}.random.pipeline[{i}]") for i, step in enumerate(steps)])
        finish = CenterSource(self.size, self.crop).transform(own)

        def draw(image: np.ndarray, seed: int) -> np.ndarray:
            varied = vary(image, seed)
            return varied if varied.shape[:2] == (self.size, self.size) else finish(varied, seed)

        return draw


Source = CenterSource | RandomSource


class ViewImage(NamedTuple):
    """One image that the model is asked about: a source, and what is done to its tensor (B, C, H, W)."""

    source: Source
    change: Change


@dataclass(frozen=True)
class ModelInput:
    """What a model sees of an image, as far as views have to know.

    Attributes:
        size: Height and width in pixels.
        crop: The share of the resized short side that the centre crop keeps.
        patch: The side of the patches that a transformer cuts images into; 0: it cuts none.
    """

    size: int
    crop: float
    patch: int = 0

    @classmethod
    def of(cls, model: Classifier) -> ModelInput:
        """Return what a model sees when it predicts."""
        own = model.preprocessing
        return cls(own.predicting, own.crop, _patch_side(model.backbone))

    @property
    def center(self) -> CenterSource:
        """The image as it is seen without any view."""
        return CenterSource(self.size, self.crop)

    def nearest_size(self, scale: float) -> int:
        """Return the size nearest to ``scale`` times the own one that the network divides evenly.

        >>> Sight(224, 0.875).nearest_size(0.875), Sight(518, 1.0, patch=14).nearest_size(1.125)
        (192, 588)
        """
        fitting = (side for side in STRIDES if self.size % side == 0 and side * 8 <= self.size)
        unit = self.patch or next(fitting, 1)
        return max(1, round(self.size * scale / unit)) * unit


def _patch_side(backbone: nn.Module) -> int:
    side: Any = getattr(getattr(backbone, "patch_embed", None), "patch_size", 0)
    return int(max(side)) if isinstance(side, tuple) else int(side)


View = Callable[..., tuple[ViewImage, ...]]
views: Registry[View] = Registry("view")


def register_exact(name: str) -> Callable[[Change], Change]:
    """Register a change of images (B, C, H, W) that keeps their shape as a view of one image."""

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
    """Return the images as they are."""
    return images


@register_exact("hflip")
def hflip(images: Tensor) -> Tensor:
    """Return the images mirrored left to right."""
    return images.flip(3)


@register_exact("vflip")
def vflip(images: Tensor) -> Tensor:
    """Return the images mirrored top to bottom."""
    return images.flip(2)


@register_exact("transpose")
def transpose(images: Tensor) -> Tensor:
    """Return the images mirrored at the diagonal: rows become columns."""
    return images.transpose(2, 3)


@register_exact("rot90")
def rot90(images: Tensor) -> Tensor:
    """Return the images turned by a quarter, against the clock."""
    return images.rot90(1, (2, 3))


@register_exact("rot180")
def rot180(images: Tensor) -> Tensor:
    """Return the images turned by half a turn."""
    return images.flip(2, 3)


@register_exact("rot270")
def rot270(images: Tensor) -> Tensor:
    """Return the images turned by a quarter, with the clock."""
    return images.rot90(3, (2, 3))


def antitranspose(images: Tensor) -> Tensor:
    """Return the images mirrored at the other diagonal."""
    return rot180(transpose(images))


def _shift(images: Tensor, down: int, right: int) -> Tensor:
    """Return the images moved by 1/16 of a side, the edge repeated where they moved away from."""
    height, width = images.shape[2:]
    dy, dx = max(1, height // SHIFT), max(1, width // SHIFT)
    padded = F.pad(images.float(), (dx, dx, dy, dy), mode="replicate").to(images.dtype)
    top, left = dy - down * dy, dx - right * dx
    return padded[:, :, top : top + height, left : left + width]


@register_exact("shift_up")
def shift_up(images: Tensor) -> Tensor:
    """Return the images moved up."""
    return _shift(images, -1, 0)


@register_exact("shift_down")
def shift_down(images: Tensor) -> Tensor:
    """Return the images moved down."""
    return _shift(images, 1, 0)


@register_exact("shift_left")
def shift_left(images: Tensor) -> Tensor:
    """Return the images moved left."""
    return _shift(images, 0, -1)


@register_exact("shift_right")
def shift_right(images: Tensor) -> Tensor:
    """Return the images moved right."""
    return _shift(images, 0, 1)


# --- views of several images

SYMMETRIES = (identity, rot90, rot180, rot270, hflip, vflip, transpose, antitranspose)


@views.register("d4")
def d4(model_input: ModelInput) -> tuple[ViewImage, ...]:
    """Return the eight symmetries of a square: for images without an up, such as cells or aerial photos."""
    return tuple(ViewImage(model_input.center, change) for change in SYMMETRIES)


@dataclass(frozen=True)
class Cut:
    """A square cut out of images (B, C, H, W), perhaps mirrored left to right."""

    top: int
    left: int
    size: int
    mirrored: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Return the squares, (B, C, size, size)."""
        square = images[:, :, self.top : self.top + self.size, self.left : self.left + self.size]
        return hflip(square) if self.mirrored else square


Share = Annotated[float, Field(gt=0, lt=1)]


@views.register("five_crop")
def five_crop(model_input: ModelInput, *, share: Share = 0.875) -> tuple[ViewImage, ...]:
    """Return the corners and the centre of a larger square, each ``share`` of its side.

    Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 4.1.
    """
    return _cuts(model_input, share, (False,))


@views.register("ten_crop")
def ten_crop(model_input: ModelInput, *, share: Share = 0.875) -> tuple[ViewImage, ...]:
    """Return what ``five_crop`` does, and each mirrored too (likewise)."""
    return _cuts(model_input, share, (False, True))


def _cuts(model_input: ModelInput, share: float, mirrored: Iterable[bool]) -> tuple[ViewImage, ...]:
    size, larger = model_input.size, max(model_input.size + 2, round(model_input.size / share))
    far, middle = larger - size, (larger - size) // 2
    places = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]
    source = CenterSource(larger, 1.0)
    return tuple(ViewImage(source, Cut(top, left, size, flip)) for flip in mirrored for top, left in places)


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
    """Return the image at several sizes, each the nearest to a scale that the network divides evenly."""
    sizes = dict.fromkeys(model_input.nearest_size(scale) for scale in scales)
    return tuple(ViewImage(CenterSource(size, model_input.crop), identity) for size in sizes)


@views.register("random")
def random(
    model_input: ModelInput,
    *,
    times: Annotated[int, Field(ge=1, le=256)] = 8,
    pipeline: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None,
) -> tuple[ViewImage, ...]:
    """Return the image varied ``times`` by random albumentations steps.

    Without a ``pipeline``: a crop of 0.8 to 1 of the area, turned by up to 10 degrees either way.
    """
    steps = json.dumps(pipeline if pipeline is not None else _slight_changes(model_input.size))
    return tuple(
        ViewImage(RandomSource(model_input.size, model_input.crop, steps, number), identity)
        for number in range(times)
    )


def _slight_changes(size: int) -> list[dict[str, Any]]:
    import cv2

    crop = {"name": "RandomResizedCrop", "size": [size, size], "scale": [0.8, 1.0]}
    smooth = {"area_for_downscale": "image", "interpolation": cv2.INTER_CUBIC}
    turn = {"name": "Rotate", "limit": 10, "border_mode": cv2.BORDER_REFLECT_101, "p": 1.0}
    return [crop | smooth, turn]


# --- by name

TRIAL = Preprocessing(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
NOMINAL = ModelInput(TRIAL.size, TRIAL.crop)  # where it does not matter what a model sees


def view_images_of(component: Component, model_input: ModelInput) -> tuple[ViewImage, ...]:
    """Return the images that a model is asked about for one view.

    Raises:
        KitError: The view or an option of it does not exist.
    """
    view = views.get(component.name, KEY)
    return view(model_input, **bind_options(f"{KEY}.{component.name}", view, component.options))


def check_view(component: Component) -> None:
    """Refuse a view, an option or a step that does not exist, before there is a model."""
    for view_image in view_images_of(component, NOMINAL):
        view_image.source.transform(TRIAL)


@torch.inference_mode()
def check_sizes(asked: Iterable[Component], model: Classifier) -> None:
    """Refuse views that show a model images of a size that it does not take.

    Raises:
        KitError: The first such view, and what the network says.
    """
    model_input = ModelInput.of(model)
    device = model.mean.device
    for component in asked:
        for source, change in view_images_of(component, model_input):
            blank = torch.zeros(2, model.preprocessing.channels, source.size, source.size, device=device)
            seen = change(blank)
            if seen.shape[2] == model_input.size:
                continue
            try:
                model.eval()(seen)
            except (RuntimeError, ValueError, AssertionError) as error:
                raise KitError(
                    f"{KEY}.{component.name}",
                    f"the model does not take {seen.shape[2]} px ({' '.join(str(error).split())[:200]})",
                    f"It is built for images of {model_input.size} px",
                    "Leave this view out; five_crop shows parts of a larger image at the model's own size.",
                    code="image_size_unsuitable",
                ) from error
