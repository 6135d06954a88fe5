"""Decode image files to pixels. All of kit decodes here: an image the scan can read, training can read too.

To read another format, register a reader for its suffixes:

    @register_reader(".dcm")
    def read_dicom(path, side=None): ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from kit.competition.images import array_readers as array_readers
from kit.competition.images.pixels import (
    CHANNELS,
    DEFAULTS,
    DecodeOptions,
    eight_bits,
    frame_number,
    is_deep,
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
    reader_of,
    register_reader,
)

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
    "num_frames",
    "register_reader",
    "stored_values",
]

ColorMode = Literal["rgb", "grey"]
ANIMATED = frozenset({"GIF", "PNG", "TIFF", "WEBP", "AVIF", "FITS"})  # an MPO's other frames are previews


class LoadedImage(NamedTuple):
    """An image of eight bits per channel, upright, without transparency.

    Attributes:
        stored: How the file stores pixels: Pillow's mode (``RGB``), or a type of more bits (``uint16``).
        frames: How many frames the file has; 1 if they were not counted.
    """

    image: Image.Image
    stored: str
    frames: int


def decode(
    path: Path, mode: ColorMode, side: int | None = None, options: DecodeOptions = DEFAULTS
) -> np.ndarray:
    """Return an image (H, W, C), uint8, C = 3 or 1.

    Args:
        side: How many pixels the shorter side needs; a much larger JPEG is decoded at a smaller scale.

    Raises:
        UnreadableImageError: The file is missing, empty, truncated, not an image, or too large.
        KitError: The image is deeper than eight bits, and its range is not known.
    """
    image = load_image(path, side, options).image
    pixels = np.asarray(image.convert("RGB" if mode == "rgb" else "L"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def load_image(
    path: Path, side: int | None = None, options: DecodeOptions = DEFAULTS, count_frames: bool = False
) -> LoadedImage:
    """Return an image as training sees it, before the conversion to RGB or gray.

    A damaged EXIF block is ignored: the pixels are complete.

    Args:
        side: How many pixels the shorter side needs; a much larger JPEG is decoded at a smaller scale.
        count_frames: Count the frames, which takes time for a GIF.

    Raises:
        UnreadableImageError: The file is missing, empty, truncated, not an image, or too large.
        KitError: The image is deeper than eight bits, and its range is not known.
    """
    source, frames = _read(path, side, options, count_frames)
    if isinstance(source, np.ndarray):
        image, stored = eight_bits(source, options, path), source.dtype.name
    elif (values := deep_values(source)) is not None:
        image, stored = eight_bits(values, options, path), values.dtype.name
        if isinstance(clear := source.info.get("transparency"), int):
            image.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    else:
        image, stored = source, source.mode
    return LoadedImage(visible(image, options.background), stored, frames)


def stored_values(path: Path) -> np.ndarray | None:
    """Return the values of an image deeper than eight bits, (H, W) or (H, W, C); None if it is not deep.

    Of an image with several frames, these are the values of the first.

    Raises:
        UnreadableImageError: The file cannot be decoded.
    """
    if not _may_be_deep(path):
        return None
    source, _ = _read(path, None, DEFAULTS, False)
    if isinstance(source, np.ndarray):
        return source if is_deep(source.dtype.name) else None
    return deep_values(source)


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
        if isinstance(source, Frames):
            return _checked(source.values[_frame(len(source.values), options)], options), len(source.values)
        if isinstance(source, np.ndarray):
            return _checked(source, options), 1
        with source as image:
            _check_size(image.size, options)
            frames = _count(image) if count_frames or options.frame != "first" else 1
            if number := _frame(frames, options):
                image.seek(number)
            if is_reduced(image):
                return _checked(full_depth(path, image, number), options), frames
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


def _checked(values: np.ndarray, options: DecodeOptions) -> np.ndarray:
    """Return values (H, W) or (H, W, C), if kit can use an image of that shape."""
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or channels not in CHANNELS or 0 in values.shape:
        raise ValueError(f"an array {values.shape} is no image: kit reads (H, W) and (H, W, 3)")
    _check_size((values.shape[1], values.shape[0]), options)
    return values


def _count(image: Image.Image) -> int:
    return getattr(image, "n_frames", 1) if image.format in ANIMATED else 1


def _frame(frames: int, options: DecodeOptions) -> int:
    number = frame_number(frames, options.frame)
    if number is None:
        raise ValueError(f"it has {frames} frames, and image.frame is {options.frame} (counted from 0)")
    return number


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if path.is_file() and path.stat().st_size == 0:
        return "empty file"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    return str(error) or type(error).__name__
