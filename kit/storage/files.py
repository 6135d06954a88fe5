"""Write files atomically (completely or not at all); read and write JSON; checksum files."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit.errors import KitError, counted
from kit.storage.full_disk import free_bytes, naming_the_file
from kit.storage.json_mistakes import json_mistake

DRAFT = ".tmp"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a draft to write to: it becomes ``path`` if the block succeeds, and is removed otherwise.

    Raises:
        OSError: The file cannot be written, for example because the disk is full; ``filename`` is ``path``.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        with naming_the_file(path, draft):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            _sync(draft)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file's content is on the disk, which must happen before it is renamed."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def format_bytes(count: int) -> str:
    """Return a number of bytes as text.

    >>> format_bytes(1_234_567_890), format_bytes(42)
    ('1.2 GB', '42 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return counted(count, "byte")


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


def _shown_free(path: Path) -> str:
    return format_bytes(free_bytes(path))


def disk_usage(path: Path) -> int:
    """Return how many bytes a file uses on the disk, which is less than its length if it is sparse.

    A file that another process has just removed uses 0 bytes.
    """
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that a process left in a folder when it was killed."""
    for draft in folder.glob(f".*{DRAFT}"):
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; line ends are unchanged."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json_text(values))


def json_text(values: Any) -> str:
    """Return standard JSON: NaN and infinity become null."""
    return json.dumps(_finite(values), indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_regular_file(path: Path, rule: str) -> None:
    """Refuse a path that exists and is not a file with content: a folder, pipe or device. It may be missing.

    Args:
        rule: What the file should be.

    Raises:
        KitError: The path is something else; reading it could block or never end.
    """
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise KitError(path, f"is {what}, not a regular file", rule, code="not_a_file")


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Return the first 16 digits of the SHA-256 of a text: the ``file_digest`` of a file that holds it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the first 16 digits of a file's SHA-256."""
    return checksum(path)[:16]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file that kit wrote.

    Raises:
        KitError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KitError(path, f"cannot be read: {error.strerror}", code="file_damaged") from error
    except (ValueError, RecursionError) as error:
        raise KitError(path, json_mistake(error), code="file_damaged") from error


def read_json_object(path: Path, next_step: str) -> dict[str, Any]:
    """Return the JSON object in a file that kit wrote.

    Args:
        next_step: What to do if the file is damaged.

    Raises:
        KitError: The file is missing or damaged.
    """
    try:
        values = read_json(path)
    except KitError as error:
        raise KitError(path, error.problem, error.rule, next_step, code="file_damaged") from error
    if not isinstance(values, dict):
        raise KitError(path, "is not a JSON object", "kit wrote one", next_step, code="file_damaged")
    return values


def json_number(value: Any) -> float | None:
    """Return a value from JSON as a finite number; None stays None.

    Raises:
        ValueError: The value is not a finite number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
