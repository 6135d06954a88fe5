"""Decode image files to pixels. All of kit decodes here: an image the scan can read, training can read too.

To read another format, register a reader for its suffixes:

    @register_reader(".dcm")
    def read_dicom(path, side=None): ...
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from kit.competition.images import array_readers as array_readers
from kit.competition.images.pixels import (
    DEFAULTS,
    RGB,
    DecodeOptions,
    channels_of_eight_bits,
    eight_bits,
    frame_number,
    is_deep,
    three_channel_view,
    visible,
)
from kit.competition.images.readers import (
    Frames,
    Source,
    UnreadableImageError,
    deep_values,
    full_depth,
    has_image_content,
    image_readers,
    is_image,
    is_reduced,
    read_channels,
    reader_of,
    reads_other_values,
    register_reader,
    stored_channels,
)
from kit.errors import counted

__all__ = [
    "DEFAULTS",
    "ColorMode",
    "DecodeOptions",
    "LoadedImage",
    "UnreadableImageError",
    "decode",
    "has_image_content",
    "header_size",
    "image_readers",
    "is_image",
    "load_image",
    "num_channels",
    "num_frames",
    "register_reader",
    "stored_values",
]

ColorMode = Literal["rgb", "grey"]
ANIMATED = frozenset({"GIF", "PNG", "TIFF", "WEBP", "AVIF", "FITS"})  # an MPO's other frames are previews


class LoadedImage(NamedTuple):
    """An image of eight bits per channel, upright, without transparency.

    Attributes:
        image: The image; if ``image.channels`` is not 3, its three-channel view for people.
        stored: How the file stores pixels: Pillow's mode (``RGB``), or a type (``uint16``).
        frames: How many frames the file has; 1 if they were not counted.
        channels: If ``image.channels`` is not 3, all channels as they are stored, (H, W, C), uint8.
    """

    image: Image.Image
    stored: str
    frames: int
    channels: np.ndarray | None = None

    def pixels(self, mode: ColorMode = "rgb") -> np.ndarray:
        """Return the pixels that a model sees, (H, W, C), uint8."""
        if self.channels is not None:
            return self.channels
        pixels = np.asarray(self.image.convert("RGB" if mode == "rgb" else "L"))
        return pixels if pixels.ndim == 3 else pixels[:, :, None]


def decode(
    path: Path, mode: ColorMode, side: int | None = None, options: DecodeOptions = DEFAULTS
) -> np.ndarray:
    """Return an image (H, W, C), uint8: C = 3, or 1 in mode ``grey``, or ``options.channels`` if not 3.

    Args:
        side: How many pixels the shorter side needs; a much larger JPEG is decoded at a smaller scale.

    Raises:
        UnreadableImageError: The file is missing, empty, truncated, not an image, or too large, or has
            another number of channels.
        KitError: The image is deeper than eight bits, and its range is not known.
    """
    return load_image(path, side, options).pixels(mode)


def load_image(
    path: Path, side: int | None = None, options: DecodeOptions = DEFAULTS, count_frames: bool = False
) -> LoadedImage:
    """Return an image as training sees it, before the conversion to RGB or gray.

    A damaged EXIF block is ignored: the pixels are complete.

    Args:
        side: How many pixels the shorter side needs; a much larger JPEG is decoded at a smaller scale.
        count_frames: Count the frames, which takes time for a GIF.

    Raises:
        UnreadableImageError: The file is missing, empty, truncated, not an image, or too large, or has
            another number of channels.
        KitError: The image is deeper than eight bits, and its range is not known.
    """
    source, frames = _read(path, side, options, count_frames)
    if options.channels != RGB:
        values, stored = _all_channels(source, options)
        channels = channels_of_eight_bits(values, options, path)
        return LoadedImage(Image.fromarray(three_channel_view(channels)), stored, frames, channels)
    if isinstance(source, np.ndarray):
        image, stored = eight_bits(source, options, path), source.dtype.name
    elif (deep := deep_values(source)) is not None:
        image, stored = eight_bits(deep, options, path), deep.dtype.name
        if isinstance(clear := source.info.get("transparency"), int):
            image.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    else:
        image, stored = source, source.mode
    return LoadedImage(visible(image, options.background), stored, frames)


def _all_channels(source: Image.Image | np.ndarray, options: DecodeOptions) -> tuple[np.ndarray, str]:
    """Return the values (H, W, C) as they are stored, and how they are stored."""
    mode = ""
    if not isinstance(source, np.ndarray):
        deep = deep_values(source)
        mode = source.mode if deep is None else ""
        source = stored_channels(source) if deep is None else deep
    values = source if source.ndim == 3 else source[:, :, None]
    if values.shape[2] != options.channels:
        raise UnreadableImageError(_other_channels(values.shape[2], options))
    return np.ascontiguousarray(values), mode or values.dtype.name


def _other_channels(found: int, options: DecodeOptions) -> str:
    channels = f"{found} channel{'' if found == 1 else 's'}"
    rule = "; a fourth is opacity only where the file says so" if found == RGB + 1 else ""
    return f"it has {channels}, and image.channels is {options.channels}: one number for all images{rule}"


def stored_values(path: Path) -> np.ndarray | None:
    """Return the values of an image deeper than eight bits, (H, W) or (H, W, C) without opacity; or None.

    Of an image with several frames, these are the values of the first.

    Raises:
        UnreadableImageError: The file cannot be decoded.
    """
    if not _may_be_deep(path):
        return None
    channels = num_channels(path)
    source, _ = _read(path, None, replace(DEFAULTS, channels=channels), False)
    values = source if isinstance(source, np.ndarray) else deep_values(source)
    if values is None or not is_deep(values.dtype.name):
        return None
    return values if values.ndim == 2 else values[:, :, :channels]


def _may_be_deep(path: Path) -> bool:
    """Return whether an image is deep as its header says; True if the file cannot be opened."""
    try:
        image = _open(path, None)
        if not isinstance(image, Image.Image):
            return True
        with image:
            return image.mode[0] in "IF" or is_reduced(image)
    except Exception:  # readers raise many types of errors for damaged files
        return True


def num_frames(path: Path) -> int:
    """Return how many frames a file has, from its headers.

    Raises:
        UnreadableImageError: The file is missing, empty or not an image.
    """
    try:
        source = _open(path, None)
        if isinstance(source, Frames):
            return len(source.values)
        if isinstance(source, np.ndarray):
            return 1
        with source:
            return _count(source)
    except Exception as error:  # readers raise many types of errors for damaged files
        raise UnreadableImageError(_reason(path, error)) from error


def num_channels(path: Path) -> int:
    """Return how many channels a file stores; 3 for an image of colors or gray, with or without opacity.

    Raises:
        UnreadableImageError: The file is missing, empty or not an image, or its channels seem to be its first
            axis.
    """
    try:
        source = _open(path, None)
        if isinstance(source, Frames):
            return _depth(source.values[0])
        if isinstance(source, np.ndarray):
            return _depth(source)
        source.close()
        return RGB
    except Exception as error:  # readers raise many types of errors for damaged files
        raise UnreadableImageError(_reason(path, error)) from error


def _depth(values: np.ndarray) -> int:
    if values.ndim == 2 or values.shape[2] == 1:
        return RGB
    if values.shape[0] < min(values.shape[1:]):
        raise ValueError(f"an array {values.shape} seems to be (channels, H, W): kit reads (H, W, channels)")
    return int(values.shape[2])


def header_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels from the header, before an EXIF rotation.

    Raises:
        UnreadableImageError: The file is missing, empty or not an image.
    """
    try:
        image = _open(path, None)
        if isinstance(image, Frames):
            return image.values.shape[2], image.values.shape[1]
        if isinstance(image, np.ndarray):
            return image.shape[1], image.shape[0]
        with image:
            return image.size
    except Exception as error:  # readers raise many types of errors for damaged files
        raise UnreadableImageError(_reason(path, error)) from error


def _open(path: Path, side: int | None) -> Source:
    return reader_of(path)(path, side)


def _read(
    path: Path, side: int | None, options: DecodeOptions, count_frames: bool
) -> tuple[Image.Image | np.ndarray, int]:
    """Return the chosen frame of a file, decoded completely, upright, and the number of frames."""
    try:
        _allow(options.max_pixels)
        source = _open(path, side)
        if isinstance(source, np.ndarray | Frames):
            frames = len(source.values) if isinstance(source, Frames) else 1
            return _checked(_chosen(source, options), options), frames
        with source as image:
            _check_size(image.size, options)
            frames = _count(image) if count_frames or options.frame != "first" else 1
            if number := _frame(frames, options):
                image.seek(number)
            if options.channels != RGB and reads_other_values(image):
                return _checked(_chosen(read_channels(path), options), options), frames
            if is_reduced(image):
                return full_depth(path, image, number), frames  # four channels: the last is opacity
            image.load()
    except Exception as error:  # readers raise many types of errors for damaged files
        raise UnreadableImageError(_reason(path, error)) from error
    return _upright(image), frames


def _upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF orientation says; a damaged EXIF block is ignored."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # readers raise many types of errors for damaged EXIF blocks
        return image


def _allow(max_pixels: int) -> None:
    """Raise Pillow's own limit for images, which holds for the process, to the limit that kit checks."""
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)


def _check_size(size: tuple[int, int], options: DecodeOptions) -> None:
    pixels = size[0] * size[1]
    if pixels > options.max_pixels:
        limit = f"image.max_pixels allows {options.max_pixels}"
        raise ValueError(f"{pixels / 1e6:,.0f} million pixels ({pixels}); {limit}")


def _chosen(source: np.ndarray | Frames, options: DecodeOptions) -> np.ndarray:
    if isinstance(source, np.ndarray):
        return source
    chosen: np.ndarray = source.values[_frame(len(source.values), options)]
    return chosen


def _checked(values: np.ndarray, options: DecodeOptions) -> np.ndarray:
    """Return values (H, W) or (H, W, C) of a reader, if kit can use an image of that shape."""
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(f"an array {values.shape} is no image: kit reads (H, W) and (H, W, channels)")
    _check_size((values.shape[1], values.shape[0]), options)
    channels = values.shape[2] if values.ndim == 3 else 1
    if options.channels == RGB and channels not in (1, RGB):
        raise ValueError(f"an array {values.shape}, channels last: {_other_channels(channels, options)}")
    return values


def _count(image: Image.Image) -> int:
    return getattr(image, "n_frames", 1) if image.format in ANIMATED else 1


def _frame(frames: int, options: DecodeOptions) -> int:
    number = frame_number(frames, options.frame)
    if number is None:
        raise ValueError(
            f"it has {counted(frames, 'frame')}, and image.frame is {options.frame} (counted from 0)"
        )
    return number


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if path.is_file() and path.stat().st_size == 0:
        return "empty file"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    return str(error) or type(error).__name__
