"""Files -> pixels: the one decoder, so that what the scan calls readable is readable in training."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

ColourMode = Literal["rgb", "grey"]


class UnreadableImageError(Exception):
    """An image that cannot be decoded; the message says why."""


JPEG_SCALES = (8, 4, 2)  # by which a JPEG can be decoded smaller, which is far quicker


def open_whole(path: Path, side: int | None = None) -> Image.Image:
    """Return an image, decoded to its last byte, upright as its EXIF orientation says.

    A damaged EXIF block is passed over: the pixels are whole.

    Args:
        side: How many pixels the shorter side needs; a JPEG that has far more is decoded smaller.

    Raises:
        UnreadableImageError: The file is missing, empty, cut short, not an image, or far too large.
    """
    try:
        with Image.open(path) as image:
            if side is not None:
                _draft(image, side)
            image.load()
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise UnreadableImageError(_reason(path, error)) from error
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # likewise
        return image


def _draft(image: Image.Image, side: int) -> None:
    """Have a JPEG decoded smaller, as long as its shorter side keeps ``side`` pixels."""
    shrink = next((scale for scale in JPEG_SCALES if min(image.size) >= side * scale), 1)
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))


def header_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels as the header says them, before any turn that EXIF asks for.

    Raises:
        UnreadableImageError: The file is missing, empty or not an image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # likewise
        raise UnreadableImageError(_reason(path, error)) from error


def decode(path: Path, mode: ColourMode, side: int | None = None) -> np.ndarray:
    """Return an image (H, W, C) uint8, C = 3 or 1. Sixteen-bit greys are scaled to eight bits.

    Args:
        side: How many pixels the shorter side needs; a JPEG that has far more is decoded smaller.

    Raises:
        UnreadableImageError: The file is missing, empty, cut short or not an image.
    """
    image = open_whole(path, side)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    pixels = np.asarray(image.convert("RGB" if mode == "rgb" else "L"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if path.is_file() and path.stat().st_size == 0:
        return "empty file"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):  # raised for the header, before anything is decoded
        pixels, limit, *_ = re.findall(r"\d+", str(error))
        return f"{int(pixels) / 1e6:,.0f} million pixels, and at most {int(limit) / 1e6:,.0f} are decoded"
    return str(error) or type(error).__name__
