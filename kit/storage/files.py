"""Write files whole or not at all; read and write JSON; checksum files."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.errors import KitError

DRAFT = ".tmp"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to: it becomes ``path`` when the block ends well, and goes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        yield draft
        _reach_the_disk(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _reach_the_disk(path: Path) -> None:
    """Wait until a file's bytes are on the disk: a name must not get there before them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sized(count: int) -> str:
    """Return a number of bytes for people.

    >>> sized(1_234_567_890), sized(42)
    ('1.2 GB', '42 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def room_taken(path: Path) -> int:
    """Return how many bytes of the disk a file takes, which is less than its length while it has holes.

    One that another process has just removed takes none.
    """
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def remove_drafts(folder: Path) -> None:
    """Remove what a process that was killed while writing left half-written in a folder."""
    for draft in folder.glob(f".*{DRAFT}"):
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are, whole or not at all."""
    with written_whole(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json_text(values))


def json_text(values: Any) -> str:
    """Return JSON that any reader takes: what is not a number, as an interval without draws, becomes null."""
    return json.dumps(_known(values), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, as others reckon it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """Return a short digest of a file's bytes."""
    return checksum(path)[:16]


def read_json(path: Path) -> Any:
    """Return what a JSON file of kit's own holds.

    Raises:
        KitError: It is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KitError(path, f"cannot be read: {error}", "kit wrote it and needs it whole") from error
