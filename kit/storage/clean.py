"""Remove caches of images, which can be recomputed: decoded pixels, foreground masks, features."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import KitError, first_few
from kit.storage.files import disk_usage
from kit.storage.workspace import Workspace


@dataclass(frozen=True)
class CacheUsage:
    """The cache of a competition's images.

    Attributes:
        bytes: Disk usage, which is less than the files' lengths if they are sparse.
    """

    competition: str
    folder: Path
    files: int
    bytes: int


def clean(workspace: Workspace, competition: str | None = None, dry_run: bool = False) -> list[CacheUsage]:
    """Remove the caches of images, and return what they used. Training that runs at the same time continues.

    Args:
        competition: Only this one.
        dry_run: Remove nothing.

    Raises:
        KitError: There is no cache of this competition.
    """
    folders = workspace.caches()
    if competition is not None:
        if competition not in folders:
            known = (
                f"Competitions with a cache: {first_few(list(folders))}."
                if folders
                else "There is nothing to remove."
            )
            raise KitError(competition, "has no cache", "", known, code="cache_missing")
        folders = {competition: folders[competition]}
    caches = [_usage(name, folder) for name, folder in folders.items()]
    for cache in [] if dry_run else caches:
        _remove(cache.folder)
    return caches


def _remove(folder: Path) -> None:
    """Remove a folder; files that a training adds or removes at the same time are no error."""

    def ignore_races(function: object, path: str, info: Any) -> None:
        error = info[1]
        if not isinstance(error, FileNotFoundError) and error.errno != errno.ENOTEMPTY:
            raise error

    shutil.rmtree(folder, onerror=ignore_races)


def _usage(competition: str, folder: Path) -> CacheUsage:
    sizes = [disk_usage(path) for path in folder.rglob("*") if path.is_file()]
    return CacheUsage(competition, folder, len(sizes), sum(sizes))
