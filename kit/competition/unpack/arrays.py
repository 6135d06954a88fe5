"""Unpackers of NumPy files that hold many images in one array (N, H, W) or (N, H, W, C)."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kit.competition.unpack.image_files import Row, as_type, stored_type, write_rows
from kit.competition.unpack.packed import DOWNLOAD_AGAIN, Packed, register_unpacker
from kit.errors import KitError
from kit.runtime.progress import Progress

DAMAGE = (ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # or pickled objects, which kit never loads
MIN_IMAGES = 10  # an array of fewer is one image of several channels
MIN_SIDE = 4
MIN_ALIKE = 3  # arrays of one shape in a folder: fewer can be a training and a test set
MAX_BESIDE = 100  # whose shapes are compared
SAMPLED = 50  # images that decide the type of the files
CHANNELS = (1, 3)
PIXELS = {"x", "image", "images", "img", "imgs", "data", "pixels"}  # words that name pixels, not a set


@register_unpacker(".npy", few=True)
def open_npy(path: Path, max_bytes: int) -> Packed | None:
    """Return the images of an array, with the arrays of as many labels beside it as columns."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE:
        return None
    if not _is_stack(images) or _is_one_of_many(path, images.shape):
        return None
    beside = {
        other.stem: other for other in sorted(path.parent.glob("*.npy")) if other != path and other.is_file()
    }
    loaded = {name: np.load(other, mmap_mode="r") for name, other in beside.items() if _is_plain(other)}
    columns = _columns_of(path.stem, images, loaded)
    return _packed(path, {"": (images, columns)}, max_bytes)


@register_unpacker(".npz", few=True)
def open_npz(path: Path, max_bytes: int) -> Packed | None:
    """Return the images of all arrays of images; several arrays become folders with their names."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        problem = "is damaged, holds Python objects, or is not a NumPy archive"
        raise KitError(path, problem, *DOWNLOAD_AGAIN, code="archive_damaged") from error
    stacks = {name: array for name, array in arrays.items() if _is_stack(array)}
    if not stacks:
        return None
    others = {name: array for name, array in arrays.items() if name not in stacks}
    found = {name: (array, _columns_of(name, array, others)) for name, array in stacks.items()}
    return _packed(path, found if len(found) > 1 else {"": next(iter(found.values()))}, max_bytes)


def _arrays_beside(path: Path) -> list[Path]:
    return [other for other in path.parent.glob("*.npy") if other != path and other.is_file()]


def _is_plain(path: Path) -> bool:
    try:
        return bool(np.load(path, mmap_mode="r", allow_pickle=False).ndim in (1, 2))
    except DAMAGE:
        return False


def _is_one_of_many(path: Path, shape: tuple[int, ...]) -> bool:
    """Return whether the folder has more arrays of exactly this shape: then each is an image of channels.

    Stacks of a competition, such as training and test images, differ in length.
    """
    others = _arrays_beside(path)[:MAX_BESIDE]
    return sum(_shape(other) == shape for other in others) >= MIN_ALIKE - 1


def _shape(path: Path) -> tuple[int, ...]:
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return found.shape
    except DAMAGE:
        return ()


def _has_channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether a shape (A, B, C) is rather of an image (H, W, channels) than of A images."""
    rows, columns, channels = shape
    return 2 * channels < min(rows, columns) and max(rows, columns) <= 2 * min(rows, columns)


def _is_stack(array: np.ndarray) -> bool:
    if array.dtype.kind not in "buif" or array.ndim not in (3, 4) or len(array) < MIN_IMAGES:
        return False
    if array.ndim == 3:
        is_large = array.shape[2] > max(CHANNELS) and min(array.shape[1:]) >= MIN_SIDE
        return bool(is_large and not _has_channels_last(array.shape))
    return bool(array.shape[3] in CHANNELS and min(array.shape[1:3]) >= MIN_SIDE)


def _columns_of(name: str, images: np.ndarray, others: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with one value per image, of the set (such as ``train``) that the name says."""
    fitting = {
        key: array.reshape(-1)
        for key, array in others.items()
        if array.dtype.kind in "buifUS" and array.size == len(images) == len(array)
    }
    own = _words(name) - PIXELS
    return {key: array for key, array in fitting.items() if not own or own & _words(key)}


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))


def _packed(
    path: Path, found: Mapping[str, tuple[np.ndarray, dict[str, np.ndarray]]], max_bytes: int
) -> Packed:
    files: dict[str, int | None] = {}
    for key, (images, _) in found.items():
        suffix = ".png" if stored_type(images[:SAMPLED]).kind == "u" else ".tif"
        files |= {f"{key}/{n}{suffix}".lstrip("/"): None for n in range(len(images))}

    def write(folder: Path, progress: Progress) -> None:
        for key, (images, columns) in found.items():
            below = folder / key
            below.mkdir(exist_ok=True)
            named = path.with_name(f"{key or path.stem}.csv")
            write_rows(named, below, _rows(path, images, columns), len(images), max_bytes, progress)

    sets = "; ".join(f"{key or 'array'} {images.shape}" for key, (images, _) in found.items())
    return Packed(files, write, f"images named by their position in {sets}")


def _rows(path: Path, images: np.ndarray, columns: Mapping[str, np.ndarray]) -> Iterator[Row]:
    kind = stored_type(images[:SAMPLED])
    for number, image in enumerate(images):
        cells: dict[str, Any] = {name: column[number] for name, column in columns.items()}
        name = str(number)
        yield Row(name, as_type(np.asarray(image), kind, path), {"id": name, **cells} if cells else {})
