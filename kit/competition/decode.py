"""Decode image files to pixels. All of kit decodes here: an image the scan can read, training can read too.

To read another format, register a reader for its suffixes:

    @register_reader(".dcm")
    def read_dicom(path, side=None): ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, features

from kit.registry import Registry

ColorMode = Literal["rgb", "grey"]
FIRST_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*")
OTHER_SUFFIXES = frozenset(
    {  # files that are not looked into
        *(".csv", ".tsv", ".txt", ".xml", ".json", ".jsonl", ".md", ".html", ".pdf", ".py", ".ipynb"),
        *(".zip", ".tar", ".gz", ".7z", ".npy", ".npz", ".parquet", ".feather", ".h5", ".hdf5", ".pkl"),
        *(".pth", ".pt", ".safetensors", ".dcm", ".mp4", ".avi", ".wav"),
    }
)
JPEG_SCALES = (8, 4, 2)  # the factors by which a JPEG decoder can shrink an image, which is much faster

# (path, pixels that the shorter side needs or None) -> image, which may decode its pixels on `load`.
ImageReader = Callable[[Path, int | None], Image.Image]
image_readers: Registry[ImageReader] = Registry("image reader")  # by suffix, in lower case


class UnreadableImageError(Exception):
    """An image that cannot be decoded; the message is the reason."""


def register_reader(*suffixes: str) -> Callable[[ImageReader], ImageReader]:
    """Return a decorator that registers an image reader for some suffixes."""

    def add(reader: ImageReader) -> ImageReader:
        for suffix in suffixes:
            image_readers.register(suffix)(reader)
        return reader

    return add


@register_reader(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
def read_with_pillow(path: Path, side: int | None = None) -> Image.Image:
    """Read an image with Pillow; a JPEG with far more than ``side`` pixels is decoded at a smaller scale."""
    image = Image.open(path)
    if side is not None:
        shrink = next((scale for scale in JPEG_SCALES if min(image.size) >= side * scale), 1)
        if shrink > 1:
            image.draft(None, (image.width // shrink, image.height // shrink))
    return image


def is_image(name: str) -> bool:
    """Return whether a reader exists for the suffix of a file name, in upper or lower case."""
    return name[name.rfind(".") :].lower() in image_readers


def has_image_content(path: Path) -> bool:
    """Return whether a file of another suffix begins like an image that Pillow can open."""
    if path.suffix.lower() in OTHER_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False  # a broken link
    if start[4:12] == b"ftypavif":
        return bool(features.check("avif"))
    is_bmp = start[:2] == b"BM" and start[6:10] == bytes(4)
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(FIRST_BYTES) or is_bmp or is_webp


def _open(path: Path, side: int | None) -> Image.Image:
    suffix = path.suffix.lower()
    reader = image_readers.get(suffix) if suffix in image_readers else read_with_pillow
    return reader(path, side)


def load_image(path: Path, side: int | None = None) -> Image.Image:
    """Return an image, decoded completely and turned upright as its EXIF orientation says.

    A damaged EXIF block is ignored: the pixels are complete.

    Args:
        side: How many pixels the shorter side needs; a much larger JPEG is decoded at a smaller scale.

    Raises:
        UnreadableImageError: The file is missing, empty, truncated, not an image, or far too large.
    """
    try:
        with _open(path, side) as image:
            image.load()
    except Exception as error:  # readers raise many types of errors for damaged files
        raise UnreadableImageError(_reason(path, error)) from error
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # readers raise many types of errors for damaged EXIF blocks
        return image


def header_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels from the header, before an EXIF rotation.

    Raises:
        UnreadableImageError: The file is missing, empty or not an image.
    """
    try:
        with _open(path, None) as image:
            return image.size
    except Exception as error:  # readers raise many types of errors for damaged files
        raise UnreadableImageError(_reason(path, error)) from error


def decode(path: Path, mode: ColorMode, side: int | None = None, background: str = "white") -> np.ndarray:
    """Return an image (H, W, C), uint8, C = 3 or 1. Sixteen-bit grays are scaled to eight bits.

    Args:
        background: The color behind transparent pixels, whose own color is not visible.
        side: How many pixels the shorter side needs; a much larger JPEG is decoded at a smaller scale.

    Raises:
        UnreadableImageError: The file is missing, empty, truncated or not an image.
    """
    image = load_image(path, side)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", visible.size, background), visible)
    pixels = np.asarray(image.convert("RGB" if mode == "rgb" else "L"))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if path.is_file() and path.stat().st_size == 0:
        return "empty file"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):  # raised for the header, before decoding
        pixels, limit, *_ = re.findall(r"\d+", str(error))
        return f"{int(pixels) / 1e6:,.0f} million pixels, more than the limit of {int(limit) / 1e6:,.0f}"
    return str(error) or type(error).__name__
