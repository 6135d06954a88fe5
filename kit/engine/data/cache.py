"""Decoded pictures from one command to the next: in which file, how much room, and what makes way."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kit.engine.data.image_store import Picture, Rendering
from kit.engine.data.pixel_file import PixelFile
from kit.errors import KitError
from kit.runtime.progress import Progress
from kit.storage.files import disk_usage, format_bytes

AUTO_SHARE_OF_DISK = 0.25  # of what is free, or already taken by what is kept
UNITS = {"MB": 10**6, "GB": 10**9}
FORMAT = 1  # of how pictures are taken from their files: a change decodes them anew
SUFFIX = ".pixels"
FEATURES = ".features.npy"


def open_cache(
    folder: Path,
    rendering: Rendering,
    pictures: Sequence[Picture],
    scan: pd.DataFrame,
    cache: str,
    progress: Progress,
) -> PixelFile[Picture] | None:
    """Return the file that keeps decoded pictures, or None where nothing is to be kept.

    It is another one as soon as any image, or how pictures are taken, differs. Older files make way where
    there would not be room for all.

    Args:
        pictures: Those at the end are not kept where there is no room.
        scan: ``path bytes mtime_ns width height`` of every image.
        cache: ``image.cache``.

    Raises:
        KitError: ``cache`` is neither ``auto``, ``none`` nor a size.
    """
    budget = cache_budget(cache, folder)
    if budget == 0 or not pictures:
        return None
    pictures = list(dict.fromkeys(pictures))
    facts = scan.set_index("path")
    stamps = dict(zip(facts.index, zip(facts["bytes"], facts["mtime_ns"], strict=True), strict=True))
    shapes = dict(zip(facts.index, zip(facts["height"], facts["width"], strict=True), strict=True))
    file = folder / f"{_digest(rendering, pictures, stamps)}{SUFFIX}"
    capacities = [rendering.most_bytes(picture, *shapes[picture.path]) for picture in pictures]
    try:
        make_room(file, sum(capacities), budget)
        kept = PixelFile(file, pictures, capacities, budget)
        os.utime(file)  # the file that was used last makes way last
    except OSError as error:
        progress.warn(
            f"decoded images cannot be kept in {folder} ({error.strerror}): each look decodes them anew; "
            "$KIT_CACHE puts them elsewhere"
        )
        return None
    if kept.fitting < len(pictures):
        progress.note(
            f"image.cache {cache} has room for {kept.fitting} of {len(pictures)} decoded images "
            f"({format_bytes(sum(capacities))} in all); each look at the others decodes them anew"
        )
    return kept


def _digest(rendering: Rendering, pictures: Sequence[Picture], stamps: dict[str, tuple[int, int]]) -> str:
    """Return a digest of everything that pixels depend on."""
    digest = hashlib.blake2b(f"{FORMAT} {rendering.label}".encode(), digest_size=16)
    for picture in pictures:
        digest.update(f"{picture.path}\0{picture.box} {stamps[picture.path]}\n".encode())
    return digest.hexdigest()


def make_room(file: Path, needed: int, budget: int) -> None:
    """Remove the oldest other files until what is needed fits; who reads one of them can go on doing so."""
    others = sorted((f for f in kept_files(file.parent) if f != file), key=_last_used)
    room = budget - min(needed, budget)
    taken = sum(map(disk_usage, others))
    for other in others:
        if taken <= room:
            return
        taken -= disk_usage(other)
        other.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has removed it
        return 0.0


def kept_files(folder: Path) -> list[Path]:
    """Return the files of decoded pictures, and of features, in a folder."""
    return sorted(path for suffix in (SUFFIX, FEATURES) for path in folder.glob(f"*{suffix}"))


def cache_budget(cache: str, folder: Path) -> int:
    """Return how many bytes ``image.cache`` allows for a folder, which need not exist.

    Raises:
        KitError: It is neither ``auto``, ``none`` nor a size.
    """
    if cache == "none":
        return 0
    if cache == "auto":
        there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        taken = sum(map(disk_usage, kept_files(folder)))
        return int((shutil.disk_usage(there).free + taken) * AUTO_SHARE_OF_DISK)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB)", cache)
    if size is None:
        raise KitError(
            "image.cache",
            f"is '{cache}'",
            "Allowed: auto, none, or a size such as 500MB or 2GB",
            code="option_invalid",
        )
    return int(float(size[1]) * UNITS[size[2]])
