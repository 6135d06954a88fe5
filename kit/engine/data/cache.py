"""Cache of decoded images on disk: file names, size limit, and removal of old files."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kit.engine.data.image_store import ImageDecoder, Picture
from kit.engine.data.pixel_file import PixelFile
from kit.errors import KitError, counted
from kit.runtime.progress import Progress
from kit.storage.files import disk_usage, format_bytes

AUTO_SHARE_OF_DISK = 0.25  # of the free space plus the space that the cache uses
UNITS = {"MB": 10**6, "GB": 10**9}
FORMAT = 2  # raise it when decoding changes
SUFFIX = ".pixels"
FEATURES = ".features.npy"


def open_cache(
    folder: Path,
    decoder: ImageDecoder,
    pictures: Sequence[Picture],
    scan: pd.DataFrame,
    cache: str,
    progress: Progress,
) -> PixelFile[Picture] | None:
    """Return the cache file of decoded pictures, or None if nothing is cached.

    The file name changes with the images and with the decode settings. The oldest files are removed if the
    cache would exceed its limit.

    Args:
        pictures: Pictures beyond the limit are not cached.
        scan: ``path bytes mtime_ns width height`` of every image.
        cache: ``image.cache``.

    Raises:
        KitError: ``cache`` is not ``auto``, ``none`` or a size.
    """
    budget = cache_budget(cache, folder)
    if budget == 0 or not pictures:
        return None
    pictures = list(dict.fromkeys(pictures))
    facts = scan.set_index("path")
    stamps = dict(zip(facts.index, zip(facts["bytes"], facts["mtime_ns"], strict=True), strict=True))
    shapes = dict(zip(facts.index, zip(facts["height"], facts["width"], strict=True), strict=True))
    file = folder / f"{_digest(decoder, pictures, stamps)}{SUFFIX}"
    capacities = [decoder.max_bytes(picture, *shapes[picture.path]) for picture in pictures]
    try:
        remove_oldest(file, sum(capacities), budget)
        pixel_file = PixelFile(file, pictures, capacities, budget)
        os.utime(file)  # the least recently used file is removed first
    except OSError as error:
        progress.warn(
            f"decoded images cannot be cached in {folder} ({error.strerror}): every epoch decodes "
            "them again. Set $KIT_CACHE to another folder"
        )
        return None
    if pixel_file.num_fitting < len(pictures):
        progress.note(
            f"image.cache {cache} fits {pixel_file.num_fitting} of {counted(len(pictures), 'decoded image')} "
            f"({format_bytes(sum(capacities))} in total); every epoch decodes the others again"
        )
    return pixel_file


def _digest(decoder: ImageDecoder, pictures: Sequence[Picture], stamps: dict[str, tuple[int, int]]) -> str:
    """Return a digest of everything that determines the pixels."""
    digest = hashlib.blake2b(f"{FORMAT} {decoder.label}".encode(), digest_size=16)
    for picture in pictures:
        digest.update(f"{picture.path}\0{picture.box} {stamps[picture.path]}\n".encode())
    return digest.hexdigest()


def remove_oldest(file: Path, needed: int, budget: int) -> None:
    """Remove the oldest other files until ``needed`` bytes fit; an open file stays readable."""
    others = sorted((f for f in cache_files(file.parent) if f != file), key=_last_used)
    limit = budget - min(needed, budget)
    used = sum(map(disk_usage, others))
    for other in others:
        if used <= limit:
            return
        used -= disk_usage(other)
        other.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # removed by another process
        return 0.0


def cache_files(folder: Path) -> list[Path]:
    """Return the cache files of decoded images and of features in a folder."""
    return sorted(path for suffix in (SUFFIX, FEATURES) for path in folder.glob(f"*{suffix}"))


def cache_budget(cache: str, folder: Path) -> int:
    """Return how many bytes ``image.cache`` allows for a folder, which may not exist yet.

    Raises:
        KitError: ``cache`` is not ``auto``, ``none`` or a size.
    """
    if cache == "none":
        return 0
    if cache == "auto":
        existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        used = sum(map(disk_usage, cache_files(folder)))
        return int((shutil.disk_usage(existing).free + used) * AUTO_SHARE_OF_DISK)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB)", cache)
    if size is None:
        raise KitError(
            "image.cache",
            f"is '{cache}'",
            "Allowed: auto, none, or a size such as 500MB or 2GB",
            code="option_invalid",
        )
    return int(float(size[1]) * UNITS[size[2]])
