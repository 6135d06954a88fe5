"""Recognize a full disk behind the errors of several libraries, and name the file in them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
NEARLY_FULL = 1_000_000  # bytes; an error without a number is put down to the disk if less is free
SAFETENSORS_FULL = tuple(f"os error {number}" for number in FULL)  # its errors have no number, only text


@contextmanager
def naming_the_file(path: Path, draft: Path) -> Iterator[None]:
    """Let every operating-system error of the block name ``path``, and have the number of its cause.

    NumPy, Arrow and ``write`` do not say which file could not be written; a draft's name helps nobody.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error, path):
            error.errno, error.strerror = error.errno or errno.ENOSPC, "No space left on device"
        if error.errno is not None and error.filename in (None, str(draft)):
            error.filename = str(path)
        raise


def is_disk_full(error: BaseException, path: Path) -> bool:
    """Return whether a failed write to ``path`` failed because its disk, or the user's quota, is full."""
    number = getattr(error, "errno", None)
    if number is not None:
        return number in FULL
    return any(text in str(error) for text in SAFETENSORS_FULL) or free_bytes(path) < NEARLY_FULL


def free_bytes(path: Path) -> int:
    """Return the free bytes of the file system of a path, which may not exist yet."""
    return shutil.disk_usage(_existing(path)).free


def on_one_disk(path: Path, other: Path) -> bool:
    """Return whether two paths, which may not exist yet, are on the same file system."""
    return _existing(path).stat().st_dev == _existing(other).stat().st_dev


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())
