"""Measure how fast the disk reads the images of an epoch, with an empty page cache."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kit.engine.data.image_store import ImageStore, Picture
    from kit.engine.data.pixel_file import PixelFile


def reading_rate(store: ImageStore, pictures: Sequence[Picture]) -> float | None:
    """Return images per second, read from the cache of decoded images or else from the image files.

    None if the system cannot drop its page cache.
    """
    if not hasattr(os, "posix_fadvise"):
        return None
    cache = store.cache
    is_cached = [cache is not None and cache.read(picture) is not None for picture in pictures]
    if cache is not None:
        drop_cache_pages(cache)
    drop_file_pages([store.root / picture.path for picture in pictures])
    began = time.perf_counter()
    for picture, in_cache in zip(pictures, is_cached, strict=True):
        if cache is not None and in_cache:
            np.array(cache.read(picture))  # copy: a mapped file is read on access
        else:
            (store.root / picture.path).read_bytes()
    return len(pictures) / (time.perf_counter() - began)


def drop_file_pages(files: Sequence[Path]) -> None:
    """Drop files from the page cache of the system."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def drop_cache_pages(cache: PixelFile[Picture]) -> None:
    """Write a pixel file to disk and drop it from the page cache."""
    os.fsync(cache.file.fileno())
    cache.mapped.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(cache.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
