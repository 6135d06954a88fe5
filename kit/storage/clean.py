"""What can be made again of images, and is removed: decoded pixels, foreground masks, features."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import KitError, first_few
from kit.storage.files import room_taken
from kit.storage.workspace import Workspace


@dataclass(frozen=True)
class Kept:
    """What is kept of a competition's images.

    Attributes:
        bytes: Of the disk, which is less than the files' lengths while they have holes.
    """

    competition: str
    folder: Path
    files: int
    bytes: int


def clean(workspace: Workspace, competition: str | None = None, dry_run: bool = False) -> list[Kept]:
    """Remove what is kept of images, and return what it was. A training that uses it goes on doing so.

    Args:
        competition: Only of this one.
        dry_run: Remove nothing.

    Raises:
        KitError: Nothing is known of such a competition.
    """
    folders = workspace.caches()
    if competition is not None:
        if competition not in folders:
            raise KitError(competition, "nothing is kept of its images", *_there_are(list(folders)))
        folders = {competition: folders[competition]}
    kept = [_kept(name, folder) for name, folder in folders.items()]
    for each in [] if dry_run else kept:
        _remove(each.folder)
    return kept


def _remove(folder: Path) -> None:
    """Remove a folder; what a training puts there meanwhile stays, and what it takes away is no error."""

    def passed_over(function: object, path: str, info: Any) -> None:
        error = info[1]
        if not isinstance(error, FileNotFoundError) and error.errno != errno.ENOTEMPTY:
            raise error

    shutil.rmtree(folder, onerror=passed_over)


def _there_are(names: list[str]) -> tuple[str, str]:
    return "", f"There are: {first_few(names)}." if names else "There is nothing to remove."


def _kept(competition: str, folder: Path) -> Kept:
    sizes = [room_taken(path) for path in folder.rglob("*") if path.is_file()]
    return Kept(competition, folder, len(sizes), sum(sizes))
