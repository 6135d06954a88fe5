"""Turn stored pixel values into eight bits: ranges of deep images, colors behind transparency, frames."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from kit.config.experiment import ImageConfig
from kit.errors import KitError

FULL_RANGES = {"bool": (0.0, 1.0), "uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}
ALL_TYPES = "all"
RGB = 3  # image.channels of images as people see them: gray and opacity become red, green and blue, too
Frame = Literal["first", "middle", "last"] | int


@dataclass(frozen=True)
class DecodeOptions:
    """What decides the eight-bit pixels of an image beside its file, for all that show or hash images.

    Attributes:
        background: The color behind transparent pixels.
        ranges: Stored type -> the values that become black and white; ``all`` stands for all types.
        frame: The frame to use of an image with several; a number counts from 0.
        max_pixels: The most pixels that an image may have.
        channels: The number of channels; except for 3, images have exactly that many, as they are stored.
    """

    background: str = "white"
    ranges: tuple[tuple[str, float, float], ...] = ()
    frame: Frame = "first"
    max_pixels: int = 178_956_970  # where Pillow refuses to decode
    channels: int = RGB

    @classmethod
    def of(cls, config: ImageConfig) -> DecodeOptions:
        """Return the options that the section ``image`` of a config describes."""
        ranges = tuple((stored, low, high) for stored, (low, high) in sorted(config.range.items()))
        return cls(config.background, ranges, config.frame, config.max_pixels, config.channels)

    @property
    def key(self) -> str:
        """A short text that differs for all options, for file names; empty for the defaults."""
        if self == DEFAULTS:
            return ""
        return hashlib.blake2b(repr(self).encode(), digest_size=6).hexdigest()

    @property
    def frame_text(self) -> str:
        """Which frame is used, for messages."""
        return f"number {self.frame}, from 0," if isinstance(self.frame, int) else f"the {self.frame}"

    def has_range(self, stored: str) -> bool:
        """Return whether the config says which values of a stored type become black and white."""
        return any(name in (ALL_TYPES, stored) for name, _, _ in self.ranges)

    def range_of(self, stored: str, where: object) -> tuple[float, float]:
        """Return the values of a stored type, such as ``uint16``, that become black and white.

        Raises:
            KitError: The config has no range for this type, and the type has no usual one.
        """
        for name, low, high in self.ranges:
            if name in (ALL_TYPES, stored):
                return low, high
        if stored in FULL_RANGES:
            return FULL_RANGES[stored]
        raise KitError(
            where,
            f"has {stored} values, and image.range does not say which are black and white",
            "Only 8-bit and unsigned 16-bit values have a usual range",
            "Run kit init again, which measures it, or set it: image.range: [0, 4095]",
            code="range_missing",
        )


DEFAULTS = DecodeOptions()


def is_deep(stored: str) -> bool:
    """Return whether a stored type, such as ``uint16``, has more than eight bits."""
    return stored != "uint8" and stored.startswith(("uint", "int", "float"))


def eight_bits(values: np.ndarray, options: DecodeOptions, where: object) -> Image.Image:
    """Return stored values (H, W) or (H, W, C) of any type as an image of eight bits per channel.

    Values outside the range are black or white; NaN is black. The fourth channel is opacity.

    Raises:
        KitError: The range of this type is not known.
    """
    values = values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.dtype == np.uint8:
        return Image.fromarray(values)
    low, high = options.range_of(values.dtype.name, where)
    colors = _scaled(values, low, high)
    if colors.ndim == 3 and colors.shape[2] == 4:
        opacity = FULL_RANGES.get(values.dtype.name, (low, high))
        colors[:, :, 3] = _scaled(values[:, :, 3], *opacity)
    return Image.fromarray(colors)


def channels_of_eight_bits(values: np.ndarray, options: DecodeOptions, where: object) -> np.ndarray:
    """Return stored values (H, W, C) of any type as uint8; all channels are scaled alike.

    Values outside the range are black or white; NaN is black.

    Raises:
        KitError: The range of this type is not known.
    """
    if values.dtype == np.uint8:
        return values
    return _scaled(values, *options.range_of(values.dtype.name, where))


def three_channel_view(pixels: np.ndarray) -> np.ndarray:
    """Return an image (H, W, C) uint8 as people are shown it, (H, W, 3).

    One channel is gray; of two, the mean is gray; of more, the first three are red, green and blue.
    """
    if pixels.shape[2] >= RGB:
        return np.ascontiguousarray(pixels[:, :, :RGB])
    gray = pixels if pixels.shape[2] == 1 else pixels.mean(axis=2, keepdims=True).round().astype(np.uint8)
    return np.repeat(gray, RGB, axis=2)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values scaled so that ``low`` becomes 0 and ``high`` 255, rounded, uint8."""
    is_short = values.dtype.itemsize <= 2 or values.dtype == np.float32
    exact: Any = values.astype(np.float32 if is_short else np.float64)
    exact -= low
    exact *= 255 / (high - low)
    np.nan_to_num(exact, copy=False, nan=0, posinf=255, neginf=0)
    scaled: np.ndarray = exact.clip(0, 255, out=exact).round(out=exact).astype(np.uint8)
    return scaled


def visible(image: Image.Image, background: str) -> Image.Image:
    """Return an image without transparency: the background shows through."""
    if not image.has_transparency_data:
        return image
    colors = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colors.size, background), colors)


def frame_number(frames: int, frame: Frame) -> int | None:
    """Return which of an image's frames to use, counted from 0; None: there is no such frame.

    >>> frame_number(5, "middle"), frame_number(1, 3), frame_number(5, 7)
    (2, 0, None)
    """
    if frames == 1:
        return 0
    named = {"first": 0, "middle": frames // 2, "last": frames - 1}
    number = frame if isinstance(frame, int) else named[frame]
    return number if number < frames else None
