"""Augmentations of images whose channels are no colors: replace color jitter, refuse what needs colors."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from kit.errors import KitError, counted

OF_PICTURES = (1, 3)  # numbers of channels that every augmentation accepts
TRIALS = 4  # draws of each step: some fail for some draws only
TRIAL_SIZE = 96  # pixels, if the size of images does not matter


def for_channels(steps: Sequence[Any], channels: int) -> list[Any]:
    """Return the steps of a preset for images of some channels.

    Other channels than one or three have no hue and no saturation, so that color jitter becomes a change of
    brightness and contrast, of the same strength, alike for all channels.
    """
    if channels in OF_PICTURES:
        return list(steps)
    return [_without_colors(step) if isinstance(step, A.ColorJitter) else step for step in steps]


def _without_colors(jitter: Any) -> Any:
    limits = ((low - 1, high - 1) for low, high in (jitter.brightness, jitter.contrast))
    return A.RandomBrightnessContrast(*limits, brightness_by_max=False, p=jitter.p)


def color_warning(steps: Sequence[Any], channels: int) -> list[str]:
    """Return a warning if ``for_channels`` leaves something out of the steps of a preset."""
    if channels in OF_PICTURES or not any(isinstance(step, A.ColorJitter) for step in steps):
        return []
    return [
        f"augment.preset: ColorJitter needs colors; for image.channels {channels} RandomBrightnessContrast "
        "replaces it, without hue and saturation"
    ]


def check_channels(steps: Sequence[Any], where: str, channels: int, size: int = TRIAL_SIZE) -> None:
    """Refuse augmentations that work on three channels and not on the channels of the images.

    Every step, also within a choice of steps, runs on random images of both kinds.

    Args:
        steps: Albumentations steps.
        where: The config key, for the message.
        size: Pixels; the trial images are a little larger than twice that.

    Raises:
        KitError: The message names all such steps.
    """
    if channels in OF_PICTURES:
        return
    unsuitable = [
        type(step).__name__
        for step in _leaves(steps)
        if not _accepts(step, channels, size) and _accepts(step, 3, size)
    ]
    if unsuitable:
        raise KitError(
            where,
            f"{', '.join(dict.fromkeys(unsuitable))} cannot change images of {counted(channels, 'channel')}",
            "Steps for colors need three channels or one; geometric steps accept any number",
            "Remove them, or use RandomBrightnessContrast, GaussNoise or GaussianBlur.",
            code="channels_unsuitable",
        )


def _leaves(steps: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for step in steps:
        found += _leaves(step.transforms) if isinstance(step, A.BaseCompose) else [step]
    return found


def _accepts(step: Any, channels: int, size: int) -> bool:
    """Return whether a step changes images of some channels into uint8 images of as many."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (2 * size + 1, 2 * size, channels), dtype=np.uint8)
    usual, step.p = step.p, 1.0
    try:
        for number in range(TRIALS):
            step.set_random_state(np.random.default_rng(number), random.Random(number))
            changed = step(image=image.copy())["image"]
            if changed.ndim != 3 or changed.shape[2] != channels or changed.dtype != np.uint8:
                return False
    except Exception:  # a step may raise anything
        return False
    finally:
        step.p = usual
    return True
