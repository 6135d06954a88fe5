"""Find folders and files of the user: by environment variables, and by name in several roots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kit.errors import KitError


def folder_from(variable: str) -> Path | None:
    """Return the folder that an environment variable names; None if it is not set.

    Raises:
        KitError: There is no such folder.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    if not Path(value).is_dir():
        raise KitError(f"${variable}", f"'{value}' is not a folder", code="folder_missing")
    return Path(value)


def search(name: str, roots: Sequence[Path], where: str, hint: str, code: str) -> Path:
    """Return the file or folder with this name in the first root that has it, or with this absolute path.

    Raises:
        KitError: There is none.
    """
    path = Path(name).expanduser()
    candidates = [path] if path.is_absolute() else [root / path for root in roots]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    searched = " or ".join(str(candidate) for candidate in candidates)
    raise KitError(f"{where} {name}", f"there is no {searched}", next=hint, code=code)
