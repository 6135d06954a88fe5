"""Augment training images and resize every image to the model's input size, with albumentations.

A transform maps an image (H, W, C) uint8 and a seed to an image (size, size, C) uint8; equal seeds give equal
images.
"""

import contextlib
import inspect
import os
import random
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from kit.config import AugmentConfig, Component
from kit.engine.models.preprocessing import Preprocessing
from kit.errors import KitError
from kit.registry import Registry, unknown_name

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for its version
import albumentations as A
import cv2

from kit.engine.augment.channels import check_channels, color_warning, for_channels
from kit.engine.augment.resizing import INTERPOLATIONS, Fit, RandomResizedCrop, Shift, Square, fits
from kit.engine.augment.torchvision_ops import MAGNITUDES, SEVERITIES, AugMix, RandAugment, TorchvisionStep

Transform = Callable[[np.ndarray, int], np.ndarray]
CONTAINERS = {"OneOf", "SomeOf", "Sequential", "OneOrOther"}
TORCHVISION_STEPS = {"RandAugment": RandAugment, "AugMix": AugMix}
NOT_DESCRIBED = {"p", "interpolation", "mask_interpolation", "area_for_downscale", "border_mode", "fill_mask"}


class Seeded:
    """Albumentations steps whose draws depend on the given seed alone.

    The steps run one by one: for a small image, ``Compose`` takes longer than the steps in it.
    """

    def __init__(self, steps: list[Any]) -> None:
        self.steps = steps

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Return the varied image.

        All steps draw from one generator: each seeded alike on its own, they would act all or none.
        """
        drawn = np.random.default_rng(seed), random.Random(seed)
        for step in self.steps:
            step.set_random_state(*drawn)
            image = step(image=image)["image"]
        return image


@dataclass(frozen=True)
class Fixed:
    """Fit an image to the input size, the same for every seed, without the cost of a pipeline.

    For small images that cost is several times the resizing's.
    """

    step: Fit

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Return the fitted image."""
        fitted: np.ndarray = self.step.apply(image)
        return fitted


@dataclass(frozen=True)
class Variation:
    """What a preset does beside the flips.

    Attributes:
        crop: The smallest share of the image's area that the random crop keeps; 1: the center is cropped.
        steps: What follows the crop and the flips.
    """

    crop: float
    steps: list[Any]


Preset = Callable[..., Variation]
presets: Registry[Preset] = Registry("augmentation preset")
Crop = Annotated[float, Field(gt=0, lt=1)]


@presets.register("none")
def none() -> Variation:
    """No augmentation except flips: resize and center crop as in prediction."""
    return Variation(1.0, [])


@presets.register("shift")
def shift(*, share: Annotated[float, Field(gt=0, le=0.5)] = 0.125) -> Variation:
    """Random shifts, nothing else (He et al. 2016, section 4.2): for very small images, characters."""
    return Variation(1.0, [Shift(share)])


@presets.register("light")
def light(*, crop: Crop = 0.7) -> Variation:
    """Small rotations and shifts: for small images, drawings, signs."""
    turn = A.Affine(rotate=(-8, 8), translate_percent=(-0.05, 0.05), border_mode=cv2.BORDER_REPLICATE, p=0.5)
    return Variation(crop, [turn])


@presets.register("medium")
def medium(*, crop: Crop = 0.5) -> Variation:
    """Rotation, shear and color jitter: for photos, many training images."""
    turn = A.Affine(rotate=(-12, 12), shear=(-6, 6), border_mode=cv2.BORDER_REFLECT_101, p=0.4)
    color = A.ColorJitter((0.7, 1.3), (0.7, 1.3), (0.7, 1.3), (-0.03, 0.03), p=0.7)
    return Variation(crop, [turn, color])


@presets.register("heavy")
def heavy(*, crop: Crop = 0.3) -> Variation:
    """Strong rotation, shear, color, blur or noise, and holes: for photos, few training images."""
    turn = A.Affine(
        rotate=(-20, 20),
        shear=(-10, 10),
        translate_percent=(-0.08, 0.08),
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.5,
    )
    color = A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.05, 0.05), p=0.8)
    unsharp = A.OneOf([A.GaussianBlur((3, 5)), A.MotionBlur((3, 5)), A.GaussNoise((0.02, 0.1))], p=0.2)
    holes = A.CoarseDropout((1, 3), (0.1, 0.3), (0.1, 0.3), p=0.3)
    return Variation(crop, [turn, color, unsharp, holes])


@presets.register("rand_augment")
def rand_augment(
    *,
    num_ops: Annotated[int, Field(ge=1)] = 2,
    magnitude: Annotated[int, Field(ge=0, le=MAGNITUDES)] = 9,
    crop: Crop = 0.3,
) -> Variation:
    """RandAugment: ``num_ops`` random changes of one ``magnitude`` (Cubuk et al. 2020)."""
    return Variation(crop, [RandAugment(num_ops, magnitude)])


@presets.register("augmix")
def augmix(
    *,
    severity: Annotated[int, Field(ge=1, le=SEVERITIES)] = 3,
    width: Annotated[int, Field(ge=1)] = 3,
    crop: Crop = 0.3,
) -> Variation:
    """AugMix: mix chains of changes (Hendrycks et al. 2020), for test images from another distribution."""
    return Variation(crop, [AugMix(severity, width)])


def smallest_crop(preset: Component) -> float:
    """Return the smallest share of an image's area that a preset crops; 1: the center, as predicted."""
    return _variation(preset).crop


def check_preset(component: Component) -> None:
    """Refuse a preset or an option of it that does not exist."""
    _variation(component)


def training_transform(augment: AugmentConfig, preprocessing: Preprocessing) -> Transform:
    """Return what training images go through.

    Raises:
        KitError: The preset, or a step or option of the free pipeline, does not exist, or needs other
            channels, or the pipeline gives images of another size than the model takes.
    """
    steps = _training_steps(augment, preprocessing)
    where = "augment.preset" if augment.pipeline is None else "augment.pipeline"
    check_channels(steps, where, preprocessing.channels, preprocessing.size)
    if augment.pipeline is not None:
        return _checked_size(Seeded(steps), preprocessing)
    return Fixed(steps[0]) if len(steps) == 1 and isinstance(steps[0], Fit) else Seeded(steps)


def describe(augment: AugmentConfig, preprocessing: Preprocessing) -> list[str]:
    """Return a line for each step that training images go through: what is not as usual in it, how often."""
    return [_line(step) for step in _training_steps(augment, preprocessing)]


def shows_as_predicted(augment: AugmentConfig, preprocessing: Preprocessing) -> bool:
    """Tell whether training images are shown as they are predicted, the same in every epoch."""
    as_predicted = _fit(preprocessing, preprocessing.predicting)
    return describe(augment, preprocessing) == [_line(as_predicted)]


def _training_steps(augment: AugmentConfig, preprocessing: Preprocessing) -> list[Any]:
    if augment.pipeline is not None:
        return [build_step(step, f"augment.pipeline[{i}]") for i, step in enumerate(augment.pipeline)]
    variation = _variation(augment.preset)
    flips = [*([A.HorizontalFlip()] if augment.hflip else []), *([A.VerticalFlip()] if augment.vflip else [])]
    # Noise, as it erased best in Zhong et al. 2020, "Random erasing data augmentation".
    erasing = [A.Erasing(fill="random", p=augment.erasing)] if augment.erasing else []
    steps = for_channels(variation.steps, preprocessing.channels)
    return [*_crop_steps(variation.crop, preprocessing), *flips, *steps, *erasing]


def preset_warning(augment: AugmentConfig, channels: int) -> list[str]:
    """Return a warning if the preset does less for images of other channels than one or three."""
    return [] if augment.pipeline is not None else color_warning(_variation(augment.preset).steps, channels)


def _variation(component: Component) -> Variation:
    preset, options = presets.bind(component, "augment.preset")
    return preset(**options)


def prediction_transform(preprocessing: Preprocessing) -> Transform:
    """Return what validation and test images go through, as ``image.fit`` says."""
    return Fixed(_fit(preprocessing, preprocessing.predicting))


def _crop_steps(crop: float, preprocessing: Preprocessing) -> list[Any]:
    fit = _fit(preprocessing, preprocessing.size)
    if crop == 1:
        return [fit]
    size = (preprocessing.size, preprocessing.size)
    interpolation = INTERPOLATIONS[preprocessing.interpolation]
    whole = [Square(fit)] if fit.keeps_all else []
    return [*whole, RandomResizedCrop(size, scale=(crop, 1.0), interpolation=interpolation)]


def _fit(preprocessing: Preprocessing, size: int) -> Fit:
    resized = int(size / preprocessing.crop)
    fit = fits.get(preprocessing.fit, "image.fit")
    return fit(resized, size, INTERPOLATIONS[preprocessing.interpolation], preprocessing.background)


def build_step(step: dict[str, Any], where: str) -> Any:
    """Return one albumentations transform from ``{name: HorizontalFlip, p: 0.5}``; ``OneOf`` nests.

    Raises:
        KitError: There is no such transform or option, or a value is out of range.
    """
    options = dict(step)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise KitError(
            where, f"{step} has no name", "A step is {name: HorizontalFlip, p: 0.5}", code="name_missing"
        )
    if name in CONTAINERS:
        inner = options.pop("transforms", [])
        options["transforms"] = [build_step(s, f"{where}.transforms[{i}]") for i, s in enumerate(inner)]
    elif name not in _transform_names():
        raise unknown_name(where, "albumentations transform", name, _transform_names())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unknown option is only a warning there
            kind = TORCHVISION_STEPS.get(name) or getattr(A, name)
            return kind(**options)
    except (ValueError, TypeError, Warning) as error:
        raise KitError(
            where, f"{name} does not accept its options: {_one_line(error)}", code="option_invalid"
        ) from error


def _transform_names() -> list[str]:
    public = {name: getattr(A, name) for name in dir(A) if not name.startswith("_")}
    kinds = (A.DualTransform, A.ImageOnlyTransform)
    own = [n for n, c in public.items() if isinstance(c, type) and issubclass(c, kinds) and c not in kinds]
    return sorted([*own, *TORCHVISION_STEPS])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _checked_size(transform: Seeded, preprocessing: Preprocessing) -> Seeded:
    size, channels = preprocessing.size, preprocessing.channels
    trial = np.zeros((2 * size + 1, 2 * size, channels), dtype=np.uint8)
    try:
        shape = transform(trial, 0).shape
    except Exception as error:  # a free pipeline may raise anything
        raise KitError(
            "augment.pipeline", f"fails on an image: {_one_line(error)}", code="pipeline_fails"
        ) from error
    if shape != (size, size, channels):
        raise KitError(
            "augment.pipeline",
            f"makes {shape[1]} x {shape[0]} images of {trial.shape[1]} x {trial.shape[0]} ones",
            f"The model takes {size} x {size}",
            f"Begin with {{name: RandomResizedCrop, size: [{size}, {size}]}}.",
            code="pipeline_size",
        )
    return transform


def _line(step: Any) -> str:
    """Return one line on a step, such as ``Affine(rotate=(-8, 8)) p=0.5``; containers name what they hold."""
    parts = map(_line, step.transforms) if isinstance(step, A.BaseCompose) else _unusual(step)
    often = "" if step.p == 1 else f" p={step.p:g}"
    return f"{type(step).__name__}({', '.join(parts)}){often}"


def _unusual(step: Any) -> Iterable[str]:
    """Return the options of a step that are not its defaults, as ``key=value``."""
    options, usual = step.get_transform_init_args(), _usual(step)
    for key, value in options.items():
        if key not in NOT_DESCRIBED and value is not None and value != usual[key]:
            yield f"{key}={_short(value)}"


def _usual(step: Any) -> dict[str, Any]:
    """Return the defaults of a step's options, in the form in which the step keeps them."""
    if isinstance(step, TorchvisionStep):
        return dict.fromkeys(step.get_transform_init_args())  # few enough to be told all
    parameters = inspect.signature(type(step)).parameters
    defaults: dict[str, Any] = {key: p.default for key, p in parameters.items()}
    needed = {key: getattr(step, key) for key, value in defaults.items() if value is inspect.Parameter.empty}
    with contextlib.suppress(ValueError):  # one of several must be given, which the signature does not say
        defaults |= type(step)(**needed).get_transform_init_args() | dict.fromkeys(needed)
    return defaults


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Fit):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_short, value))})"
    if isinstance(value, dict):  # by axis; once, where both are the same
        values = list(dict.fromkeys(map(_short, value.values())))
        return values[0] if len(values) == 1 else str(value)
    return str(value)
