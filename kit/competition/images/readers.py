"""Readers of image files, by suffix: Pillow, and OpenCV for several channels with more than eight bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from kit.competition.images.tiff_channels import (
    EXTRA_SAMPLES,
    SAMPLES,
    first_tags,
    has_usual_channels,
    read_tiff,
)
from kit.competition.images.turns import TURNS
from kit.errors import counted
from kit.registry import Registry

FIRST_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*")
OTHER_SUFFIXES = frozenset(
    {  # files that are not looked into
        *(".csv", ".tsv", ".txt", ".xml", ".json", ".jsonl", ".md", ".html", ".pdf", ".py", ".ipynb"),
        *(".zip", ".tar", ".gz", ".7z", ".npz", ".parquet", ".feather", ".h5", ".hdf5", ".pkl"),
        *(".pth", ".pt", ".safetensors", ".mp4", ".avi", ".wav"),
    }
)
DICOM_MARK = slice(128, 132)  # of the bytes of a file
JPEG_SCALES = (8, 4, 2)  # the factors by which a JPEG decoder can shrink an image, which is much faster
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339  # tags of a TIFF
SIGNED = 2  # of the tag SAMPLE_FORMAT


class Frames(NamedTuple):
    """The values of a file with several frames, (F, H, W) or (F, H, W, C), of any type."""

    values: np.ndarray


Source = Image.Image | np.ndarray | Frames
# (path, pixels that the shorter side needs or None) -> an image, which may decode its pixels on `load`, or
# the values of any type, (H, W) or (H, W, C); of an array, no channel is opacity.
ImageReader = Callable[[Path, int | None], Source]
image_readers: Registry[ImageReader] = Registry("image reader")  # by suffix, in lower case


class ReaderFacts(NamedTuple):
    """What else is known of the files of a suffix.

    Attributes:
        only_if_most: Such files are images only in folders where most files are of that kind.
        module: The module that reads them, if it is not always installed.
        extra: The extra of kit that installs it.
    """

    only_if_most: bool = False
    module: str = ""
    extra: str = ""


ALWAYS_IMAGES = ReaderFacts()
reader_facts: dict[str, ReaderFacts] = {}  # by suffix


class UnreadableImageError(Exception):
    """An image that cannot be decoded; the message is the reason."""


def register_reader(
    *suffixes: str, facts: ReaderFacts = ALWAYS_IMAGES
) -> Callable[[ImageReader], ImageReader]:
    """Return a decorator that registers an image reader for some suffixes."""

    def add(reader: ImageReader) -> ImageReader:
        for suffix in suffixes:
            image_readers.register(suffix)(reader)
            reader_facts[suffix] = facts
        return reader

    return add


@register_reader(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
def read_with_pillow(path: Path, side: int | None = None) -> Source:
    """Read an image with Pillow; a JPEG with far more than ``side`` pixels is decoded at a smaller scale.

    A TIFF of a kind that Pillow does not know, such as colors in floating point, is read with OpenCV; one
    with channels that are no colors is read as it is stored.
    """
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        return read_with_opencv(path) if _has_colors(path) else read_channels(path)
    if image.format == "TIFF" and not has_usual_channels(image.tag_v2):  # type: ignore[attr-defined]
        image.close()
        return read_channels(path)
    if side is not None:
        shrink = next((scale for scale in JPEG_SCALES if min(image.size) >= side * scale), 1)
        if shrink > 1:
            image.draft(None, (image.width // shrink, image.height // shrink))
    return image


def _has_colors(path: Path) -> bool:
    try:
        return first_tags(path).get(SAMPLES, 1) in (1, 3)
    except Exception as error:  # damaged files raise many types of errors
        raise UnidentifiedImageError("not an image") from error


def read_channels(path: Path) -> np.ndarray | Frames:
    """Return the values of a TIFF as they are stored, upright: (H, W, C), or frames of them.

    Raises:
        ValueError: It is damaged or of a rare kind, or its pages have different shapes.
    """
    pages = read_tiff(path)
    if len({(page.shape, page.dtype) for page in pages}) > 1:
        raise ValueError(f"its {counted(len(pages), 'page has', 'pages have')} different sizes or types")
    return pages[0] if len(pages) == 1 else Frames(np.stack(pages))


def reads_other_values(image: Image.Image) -> bool:
    """Return whether Pillow changes stored channels of a TIFF, as it does for colors that opacity scales.

    Raises:
        ValueError: It is a PNG of two channels of 16 bits, of which Pillow keeps 8.
    """
    if image.format == "PNG" and image.mode == "LA" and _raw_mode(image).endswith(";16B"):
        raise ValueError("a PNG of two channels of 16 bits is not supported: use TIFF or .npy")
    return image.format == "TIFF" and EXTRA_SAMPLES in image.tag_v2  # type: ignore[attr-defined]


def stored_channels(image: Image.Image) -> np.ndarray:
    """Return the channels of a loaded image of eight bits as they are stored: (H, W) or (H, W, C), uint8.

    Pixels of a palette are its colors.
    """
    if image.mode in ("P", "PA"):
        image = image.convert("RGB" if image.mode == "P" else "RGBA")
    return np.asarray(image.convert("L") if image.mode == "1" else image)


def read_with_opencv(path: Path, frame: int = 0) -> np.ndarray:
    """Return the values of one frame of a PNG or TIFF in full depth: (H, W) or (H, W, 3 or 4), R G B (A)."""
    import cv2

    cv2.utils.logging.setLogLevel(0)  # it prints unknown tags, and damage, which kit reports
    if path.suffix.lower() in (".tif", ".tiff"):
        read, frames = cv2.imreadmulti(str(path), start=frame, count=1, flags=cv2.IMREAD_UNCHANGED)
        values = frames[0] if read and frames else None
    else:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise UnidentifiedImageError("OpenCV cannot read it")
    if values.ndim == 3 and values.shape[2] in (3, 4):  # OpenCV has B G R
        return np.ascontiguousarray(values[:, :, [2, 1, 0, 3][: values.shape[2]]])
    found: np.ndarray = values
    return found


def is_reduced(image: Image.Image) -> bool:
    """Return whether Pillow reduces several channels of 16 bits to 8; ask before the pixels are loaded."""
    if image.mode not in ("RGB", "RGBA"):
        return False  # OpenCV takes four other channels, such as CMYK, for colors and opacity
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return len(bits) > 1 and max(bits) > 8
    return image.format == "PNG" and _raw_mode(image).endswith(";16B")


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None) or []
    return str(tiles[0][3]) if tiles else ""


def full_depth(path: Path, image: Image.Image, frame: int) -> np.ndarray:
    """Return the values (H, W, 3 or 4) of an image that Pillow reduces, upright; Pillow finds its damage.

    Args:
        image: The image as Pillow opened it, not loaded.
    """
    image.load()
    values = read_with_opencv(path, frame)
    turn = None if image.format == "TIFF" else TURNS.get(_orientation(image))  # OpenCV turns a TIFF
    return values if turn is None else np.ascontiguousarray(turn(values))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(274, 1))
    except Exception:  # readers raise many types of errors for damaged EXIF blocks
        return 1


def deep_values(image: Image.Image) -> np.ndarray | None:
    """Return the values (H, W) of a loaded gray image with more than eight bits; None: it has eight."""
    if image.mode[0] not in "IF":
        return None
    values: np.ndarray[Any, Any] = np.asarray(image)
    if image.mode == "I":  # Pillow keeps several types as 32 bits
        tags = getattr(image, "tag_v2", {})
        if image.format in ("PNG", "PPM"):
            return values.astype(np.uint16)
        if tags.get(BITS_PER_SAMPLE) == (16,) and tags.get(SAMPLE_FORMAT) == (SIGNED,):
            return values.astype(np.int16)
    return values.astype(values.dtype.newbyteorder("="))


def is_image(name: str) -> bool:
    """Return whether a reader exists for the suffix of a file name, in upper or lower case."""
    return suffix_of(name) in image_readers


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case, with its dot."""
    return name[name.rfind(".") :].lower()


def without_strays(images: list[str]) -> tuple[list[str], list[str]]:
    """Return the images among files that a reader exists for, and files that only look like images.

    Arrays and DICOM files are images where they are more than half of all: one beside photos is not.
    """
    strays = {name for name in images if reader_facts.get(suffix_of(name), ALWAYS_IMAGES).only_if_most}
    if not strays or 2 * len(strays) > len(images):
        return images, []
    return [name for name in images if name not in strays], sorted(strays)


def missing_extras(images: Iterable[str]) -> dict[str, list[str]]:
    """Return extra of kit that is needed and not installed -> the images that need it."""
    missing: dict[str, list[str]] = {}
    needing = {suffix: facts for suffix, facts in reader_facts.items() if facts.module}
    absent = {suffix: facts.extra for suffix, facts in needing.items() if find_spec(facts.module) is None}
    for name in images if absent else ():
        if (extra := absent.get(suffix_of(name))) is not None:
            missing.setdefault(extra, []).append(name)
    return missing


def needed_extras(images: Iterable[str]) -> set[str]:
    """Return the extras of kit that read some images, installed or not."""
    suffixes = {suffix_of(name) for name in images}
    return {facts.extra for suffix, facts in reader_facts.items() if facts.module and suffix in suffixes}


def has_image_content(path: Path) -> bool:
    """Return whether a file of another suffix begins like an image that kit can open."""
    if path.suffix.lower() in OTHER_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(DICOM_MARK.stop)
    except OSError:
        return False  # a broken link
    if start[4:12] == b"ftypavif":
        return bool(features.check("avif"))
    is_bmp = start[:2] == b"BM" and start[6:10] == bytes(4)
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(FIRST_BYTES) or is_bmp or is_webp or start[DICOM_MARK] == b"DICM"


def reader_of(path: Path) -> ImageReader:
    """Return the reader of a file: by its suffix, or else by its content."""
    suffix = suffix_of(path.name)
    if suffix in image_readers:
        return image_readers.get(suffix)
    with path.open("rb") as file:
        is_dicom = file.read(DICOM_MARK.stop)[DICOM_MARK] == b"DICM"
    return image_readers.get(".dcm") if is_dicom else read_with_pillow
