"""How training images are varied, and how every image is brought to the model's size.

The only module that knows albumentations. A transform maps an image (H, W, C) uint8 and a seed to an image
(size, size, C) uint8; the same seed gives the same image.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kit.config import AugmentConfig
from kit.engine.preprocessing import Preprocessing
from kit.errors import KitError
from kit.registry import Registry, unknown_name

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for its version
import albumentations as A
import cv2

Transform = Callable[[np.ndarray, int], np.ndarray]
INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
CONTAINERS = {"OneOf", "SomeOf", "Sequential", "OneOrOther"}


class Seeded:
    """An albumentations pipeline whose draws depend on the given seed alone."""

    def __init__(self, steps: list[Any]) -> None:
        self.pipeline = A.Compose(steps)

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Return the varied image."""
        self.pipeline.set_random_seed(seed)
        result: np.ndarray = self.pipeline(image=image)["image"]
        return result


Preset = Callable[[], list[Any]]
presets: Registry[tuple[tuple[float, float], Preset]] = Registry("augmentation preset")


def register_preset(name: str, scale: tuple[float, float]) -> Callable[[Preset], Preset]:
    """Register what follows the crop; ``scale`` is the share of the image's area that the crop keeps."""

    def add(steps: Preset) -> Preset:
        presets.register(name)((scale, steps))
        return steps

    return add


@register_preset("none", scale=(1.0, 1.0))
def no_steps() -> list[Any]:
    """Return nothing: the image as it is predicted, flips apart."""
    return []


@register_preset("light", scale=(0.7, 1.0))
def light_steps() -> list[Any]:
    """Return small turns: for little images, drawings, signs."""
    return [
        A.Affine(rotate=(-8, 8), translate_percent=(-0.05, 0.05), border_mode=cv2.BORDER_REPLICATE, p=0.5)
    ]


@register_preset("medium", scale=(0.5, 1.0))
def medium_steps() -> list[Any]:
    """Return turns and colours: for photos, when there are many."""
    return [
        A.Affine(rotate=(-12, 12), shear=(-6, 6), border_mode=cv2.BORDER_REFLECT_101, p=0.4),
        A.ColorJitter((0.7, 1.3), (0.7, 1.3), (0.7, 1.3), (-0.03, 0.03), p=0.7),
    ]


@register_preset("heavy", scale=(0.3, 1.0))
def heavy_steps() -> list[Any]:
    """Return turns, colours, blur or noise, and holes: for photos, when there are few."""
    return [
        A.Affine(
            rotate=(-20, 20),
            shear=(-10, 10),
            translate_percent=(-0.08, 0.08),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.5,
        ),
        A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.05, 0.05), p=0.8),
        A.OneOf([A.GaussianBlur((3, 5)), A.MotionBlur((3, 5)), A.GaussNoise((0.02, 0.1))], p=0.2),
        A.CoarseDropout((1, 3), (0.1, 0.3), (0.1, 0.3), p=0.3),
    ]


def training_transform(augment: AugmentConfig, preprocessing: Preprocessing) -> Transform:
    """Return what training images go through.

    Raises:
        KitError: The preset, or a step or option of the free pipeline, does not exist, or the pipeline gives
            images of another size than the model takes.
    """
    if augment.pipeline is not None:
        transform = Seeded(
            [build_step(step, f"augment.pipeline[{i}]") for i, step in enumerate(augment.pipeline)]
        )
        return _checked_size(transform, preprocessing)
    scale, steps = presets.get(augment.preset, "augment.preset")
    flips = [*([A.HorizontalFlip()] if augment.hflip else []), *([A.VerticalFlip()] if augment.vflip else [])]
    return Seeded([*_crop_steps(scale, preprocessing), *flips, *steps()])


def prediction_transform(preprocessing: Preprocessing) -> Transform:
    """Return what validation and test images go through: resize, then crop the centre."""
    return Seeded(_centre_steps(preprocessing, preprocessing.predicting))


def _crop_steps(scale: tuple[float, float], preprocessing: Preprocessing) -> list[Any]:
    if scale == (1.0, 1.0):
        return _centre_steps(preprocessing, preprocessing.size)
    size = (preprocessing.size, preprocessing.size)
    interpolation = INTERPOLATIONS[preprocessing.interpolation]
    return [A.RandomResizedCrop(size, scale=scale, interpolation=interpolation, area_for_downscale="image")]


def _centre_steps(preprocessing: Preprocessing, size: int) -> list[Any]:
    interpolation = INTERPOLATIONS[preprocessing.interpolation]
    resized = int(size / preprocessing.crop)
    return [
        A.SmallestMaxSize(resized, interpolation=interpolation, area_for_downscale="image"),
        A.CenterCrop(size, size),
    ]


def build_step(step: dict[str, Any], where: str) -> Any:
    """Return one albumentations transform from ``{name: HorizontalFlip, p: 0.5}``; ``OneOf`` nests.

    Raises:
        KitError: There is no such transform or option, or a value is out of range.
    """
    options = dict(step)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise KitError(where, f"{step} has no name", "A step is {name: HorizontalFlip, p: 0.5}")
    if name in CONTAINERS:
        inner = options.pop("transforms", [])
        options["transforms"] = [build_step(s, f"{where}.transforms[{i}]") for i, s in enumerate(inner)]
    elif name not in _transform_names():
        raise unknown_name(where, "albumentations transform", name, _transform_names())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unknown option is only a warning there
            return getattr(A, name)(**options)
    except (ValueError, TypeError, Warning) as error:
        raise KitError(where, f"{name} refuses its options: {_one_line(error)}") from error


def _transform_names() -> list[str]:
    public = {name: getattr(A, name) for name in dir(A) if not name.startswith("_")}
    kinds = (A.DualTransform, A.ImageOnlyTransform)
    return sorted(
        n for n, c in public.items() if isinstance(c, type) and issubclass(c, kinds) and c not in kinds
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _checked_size(transform: Seeded, preprocessing: Preprocessing) -> Seeded:
    size, channels = preprocessing.size, preprocessing.channels
    trial = np.zeros((2 * size + 1, 2 * size, channels), dtype=np.uint8)
    try:
        shape = transform(trial, 0).shape
    except Exception as error:  # whatever a free pipeline may raise, it is the user's to mend
        raise KitError("augment.pipeline", f"fails on an image: {_one_line(error)}") from error
    if shape != (size, size, channels):
        raise KitError(
            "augment.pipeline",
            f"makes {shape[1]} x {shape[0]} images of {trial.shape[1]} x {trial.shape[0]} ones",
            f"The model takes {size} x {size}",
            f"Begin with {{name: RandomResizedCrop, size: [{size}, {size}]}}.",
        )
    return transform
