"""Recognize a full disk behind the errors of several libraries; say how much space is left and what to do."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.errors import KitError

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
    return any(text in str(error) for text in SAFETENSORS_FULL) or _free_bytes(path) < NEARLY_FULL


def disk_full_error(path: Path | None) -> KitError:
    """Return the error that says that a disk is full.

    Args:
        path: The file that could not be written; None if unknown.
    """
    if path is not None:
        where, problem = str(path), f"cannot be written: its disk is full ({_shown_free(path)} free)"
    else:
        here, temporary = Path.cwd(), Path(tempfile.gettempdir())
        where = "a file"
        problem = (
            f"cannot be written: its disk is full ({_shown_free(here)} free in the current folder, "
            f"{_shown_free(temporary)} in {temporary})"
        )
    return KitError(
        where,
        problem,
        "kit writes a file completely or not at all, so no file is damaged",
        "Free space (`kit clean` removes caches) and run the same command again.",
        code="disk_full",
    )


def _free_bytes(path: Path) -> int:
    """Return the free bytes of the file system of a path, which may not exist yet."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def _shown_free(path: Path) -> str:
    from kit.storage.files import format_bytes

    return format_bytes(_free_bytes(path))
