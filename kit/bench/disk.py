"""How quickly the disk gives what an epoch reads, when nothing of it is in the memory."""

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
    """Return images per second: of decoded images where they are kept, else of the images' files.

    None where the system cannot be told to forget what it has read.
    """
    if not hasattr(os, "posix_fadvise"):
        return None
    kept = store.cache
    is_kept = [kept is not None and kept.read(picture) is not None for picture in pictures]
    if kept is not None:
        forget_kept(kept)
    forget_files([store.root / picture.path for picture in pictures])
    began = time.perf_counter()
    for picture, there in zip(pictures, is_kept, strict=True):
        if kept is not None and there:
            np.array(kept.read(picture))  # the pixels of a mapped file are read when they are used
        else:
            (store.root / picture.path).read_bytes()
    return len(pictures) / (time.perf_counter() - began)


def forget_files(files: Sequence[Path]) -> None:
    """Let the system forget what it has read of files, as if nobody ever had."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def forget_kept(kept: PixelFile[Picture]) -> None:
    """Let the system forget what it has of a file of pixels, all of which is on the disk then."""
    os.fsync(kept.file.fileno())
    kept.mapped.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(kept.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
