"""Unpack the packed files of a competition folder beside themselves: ``train.zip`` to ``train/``."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kit.competition.images.decode import is_image
from kit.competition.images.files import is_hidden
from kit.competition.unpack.extract import draft_of
from kit.competition.unpack.packed import Packed, packed_suffix, rarely_packed, unpackers
from kit.errors import KitError, counted, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_json
from kit.storage.full_disk import FULL

MAX_DEPTH = 3  # of the folders that are searched for packed files
MAX_OF_SUFFIX = 50  # files of one suffix in a folder
MAX_NESTED = 3  # how deep archives in archives are unpacked
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass
class Unpacking:
    """What was unpacked in a competition folder. Names are relative to the folder.

    Attributes:
        unpacked: Packed file -> the file or folder that now holds its content, and what kit found in it.
        unused: Packed file -> why it was not unpacked.
        others: Files with the suffix of a packed file that hold something else, such as settings in JSON.
    """

    unpacked: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @property
    def seen(self) -> set[str]:
        """The files that were examined."""
        return {*self.unpacked, *self.unused, *self.others}

    @property
    def told(self) -> list[str]:
        """One line for every packed file that was unpacked now."""
        return [f"{name}: unpacked to {into}" for name, into in self.unpacked.items()]


@dataclass(frozen=True)
class Place:
    """Where the content of a packed file belongs.

    Attributes:
        target: The file or folder that appears as a whole.
        inner: Its path in the packed file; empty: the target holds all files.
    """

    target: Path
    inner: str

    def path_of(self, name: str) -> Path:
        """Return where a file of the packed file lies after unpacking."""
        return (self.target.parent if self.inner else self.target) / name


def unpack_beside(root: Path, max_bytes: int, progress: Progress = SILENT) -> Unpacking:
    """Unpack all packed files of a folder beside themselves, also packed files in those.

    Every file or folder appears as a whole or not at all. What exists already is not unpacked again.

    Args:
        max_bytes: The largest total size of the unpacked files of each packed file.

    Raises:
        KitError: A packed file is damaged, unsafe or too large, or the folder cannot be written to.
    """
    found = Unpacking()
    for _ in range(MAX_NESTED):
        pending = [name for name in _packed_files(root) if name not in found.seen]
        for name in pending:
            _unpack_one(root, name, max_bytes, found, progress)
        if not pending:
            return found
    for name in _packed_files(root):
        if name not in found.seen:
            found.unused[name] = f"not unpacked: it lies in {MAX_NESTED} archives"
    return found


def _packed_files(root: Path) -> list[str]:
    """Return the files that an unpacker exists for, in order of depth and name."""
    names: list[str] = []
    for parent, folders, files in os.walk(root):
        below = Path(parent).relative_to(root)
        is_near = len(below.parts) < MAX_DEPTH
        folders[:] = sorted(name for name in folders if not is_hidden(name)) if is_near else []
        packed = _without_common_suffixes(
            [name for name in files if packed_suffix(name) and not is_hidden(name)]
        )
        names += [(below / name).as_posix() for name in packed if Path(parent, name).is_file()]
    return sorted(names, key=lambda name: (name.count("/"), name))


def _without_common_suffixes(names: list[str]) -> list[str]:
    """Return the names without those of which a folder has too many for packed files."""
    counts = Counter(packed_suffix(name) for name in names)
    common = {suffix for suffix, count in counts.items() if count > MAX_OF_SUFFIX and suffix in rarely_packed}
    return [name for name in names if packed_suffix(name) not in common]


def _unpack_one(root: Path, name: str, max_bytes: int, found: Unpacking, progress: Progress) -> None:
    path = root / name
    receipt = path.with_name(f".{path.name}.unpacked.json")
    if (known := _known_target(receipt, path)) is not None:
        found.unused[name] = _existing(root, known)
        return
    suffix = packed_suffix(name) or ""
    packed = unpackers.get(suffix)(path, max_bytes)
    if packed is None:
        found.others.add(name)
        return
    place = _place(path, path.name[: -len(suffix)], packed)
    if _is_there(place.target):
        found.unused[name] = _compared(root, path, packed, place)
        return
    with _telling_disk_problems(root, path), draft_of(place.target, place.inner) as folder:
        packed.write(folder, progress)
    with suppress(OSError):  # without it the files are compared next time
        write_json(receipt, _stamp(path) | {"into": place.target.name})
    about = f" ({packed.about})" if packed.about else ""
    found.unpacked[name] = _shown(root, place.target) + about


def _place(path: Path, stem: str, packed: Packed) -> Place:
    """Return where the content belongs: beside the file, in a folder with its name, which is not doubled."""
    tops = {name.split("/")[0] for name in packed.files}
    top = next(iter(tops), "")
    one_file = top in packed.files and not is_image(top)
    if len(tops) == 1 and (top == stem or one_file):
        return Place(path.with_name(top), top)
    return Place(path.with_name(stem), "")


def _is_there(target: Path) -> bool:
    """Return whether a file, or a folder that is not empty, exists."""
    return target.is_file() or (target.is_dir() and any(target.iterdir()))


def _compared(root: Path, path: Path, packed: Packed, place: Place) -> str:
    """Return why a packed file is not unpacked although its target exists.

    Raises:
        KitError: The target is a folder with none of the files.
    """
    if not packed.files:
        shown = _shown(root, place.target)
        return f"not unpacked: {shown} exists. Remove {shown} to unpack it"
    missing = [name for name, size in packed.files.items() if not _has(place.path_of(name), size)]
    if not missing:
        return _existing(root, place.target)
    shown = _shown(root, place.target)
    if place.target.is_file():
        return f"not unpacked: {shown} exists with other content, and is used instead"
    if len(missing) < len(packed.files):
        count = (
            f"{len(missing)} of its {counted(len(packed.files), 'file')} "
            f"{'is' if len(missing) == 1 else 'are'} not there ({first_few(missing)})"
        )
        return f"not unpacked: {shown} exists, but {count}. Remove {shown} to unpack it again"
    raise KitError(
        path,
        f"belongs in {shown}, which exists with none of its {counted(len(packed.files), 'file')}",
        "An archive is unpacked to a folder with its name",
        f"Rename or remove {shown} or the archive.",
        code="folder_exists",
    )


def _has(path: Path, size: int | None) -> bool:
    return path.is_file() and size in (None, path.stat().st_size)


def _existing(root: Path, target: Path) -> str:
    return f"already unpacked to {_shown(root, target)}"


def _shown(root: Path, target: Path) -> str:
    return target.relative_to(root).as_posix() + ("/" if target.is_dir() else "")


def _stamp(path: Path) -> dict[str, object]:
    state = path.stat()
    return {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _known_target(receipt: Path, path: Path) -> Path | None:
    """Return where kit unpacked this very file earlier, if that still exists."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(receipt.read_text(encoding="utf-8"))
        target = path.with_name(str(known.pop("into")))
        if known == _stamp(path) and _is_there(target):
            return target
    return None


@contextmanager
def _telling_disk_problems(root: Path, path: Path) -> Iterator[None]:
    """Turn errors about a read-only folder or a full disk into a KitError."""
    try:
        yield
    except OSError as error:
        if error.errno in READ_ONLY:
            raise KitError(
                path,
                "must be unpacked, and its folder cannot be written to",
                "kit init unpacks archives beside themselves",
                f"Copy the folder: cp -r {root} data/, then kit init the copy.",
                code="folder_read_only",
            ) from error
        if error.errno in FULL:
            rule = "An archive must unpack completely; nothing is left behind"
            next_step = "Free space on that disk, or copy the folder to a larger one."
            raise KitError(path, "its disk is full", rule, next_step, code="disk_full") from error
        raise
