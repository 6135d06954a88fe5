"""Unpack a zip, tar or 7z of competition data: completely or not at all, never outside the target folder."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from kit.competition.images.files import is_hidden
from kit.competition.unpack.archive_readers import (
    SUFFIXES,
    ArchiveReader,
    IncompleteArchiveError,
    Member,
    opened,
)
from kit.errors import KitError, counted, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_json

RECEIPT = ".unpacked.json"
MAX_SHOWN = 80  # characters of a name in a message
MAX_NAME, MAX_PATH = 255, 1024  # bytes that file systems allow, with room for the folder before the path


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, by its suffix."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def archive_stem(path: Path) -> str:
    """Return an archive's name without its suffix."""
    suffix = next(each for each in SUFFIXES if path.name.lower().endswith(each))
    return path.name[: -len(suffix)]


def unpack(archive: Path, target: Path, max_bytes: int, progress: Progress = SILENT) -> bool:
    """Unpack an archive to the folder ``target``; return False if this archive was unpacked there before.

    Hidden files and files of archive tools are skipped. Permissions, owners and times are not restored.

    Args:
        max_bytes: The largest total size of the files.

    Raises:
        KitError: The archive is damaged, encrypted or too large, or has links, devices or paths outside its
            folder; or ``target`` has other content. Nothing is left behind.
    """
    state = archive.stat()
    receipt = {"archive": archive.name, "bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    if target.exists():
        _check_receipt(target, archive, receipt)
        return False
    with opened(archive) as source:
        members = checked_members(archive, source, max_bytes, target)
        with draft_of(target) as folder:
            extract(archive, source, members, folder, progress)
            write_json(folder / RECEIPT, receipt)
    return True


def _check_receipt(target: Path, archive: Path, receipt: dict[str, object]) -> None:
    try:
        existing = json.loads((target / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        existing = None
    if existing != receipt:
        raise KitError(
            target,
            f"exists already, and is not the content of {archive.name}",
            "An archive is unpacked to a folder with the archive's name",
            f"Remove or rename the folder, or give it instead of the archive: kit init {target}",
            code="folder_exists",
        )


def checked_members(path: Path, source: ArchiveReader, max_bytes: int, target: Path) -> list[Member]:
    """Return the files to unpack, without hidden ones.

    Args:
        max_bytes: The largest total size of the files.
        target: Where they will be written; its disk must have the space.

    Raises:
        KitError: The archive is unsafe, empty or too large; the message has all entries with that problem.
    """
    members: list[Member] = []
    wrong: dict[tuple[str, str], list[str]] = {}
    total = 0
    for member in source.members():
        if problem := _problem(member):
            shown = member.name.encode(errors="backslashreplace").decode()[:MAX_SHOWN]
            wrong.setdefault(problem, []).append(shown)
        elif not member.is_folder and not any(map(is_hidden, PurePosixPath(member.name).parts)):
            members.append(member)
            total += member.size
        if total > max_bytes:
            break  # listing the rest of a tar would decompress all of it
    names = Counter(str(PurePosixPath(member.name)) for member in members)
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    wrong["file occurs twice", "files occur twice"] = [name for name, count in names.items() if count > 1]
    both = [name for name in names if name in folders]
    wrong["file has the name of a folder", "files have the name of a folder"] = both
    for what, named in wrong.items():
        if named:
            found = f"{counted(len(named), *what)} ({first_few(named)})"
            raise KitError(path, found, "An archive must hold plain files, each once", code="archive_unsafe")
    if not members:
        raise KitError(path, "holds no file", next="Download it again, or remove it.", code="archive_empty")
    check_size(path, total, max_bytes, target)
    return members


def _problem(member: Member) -> tuple[str, str] | None:
    """Return what is wrong with an entry, if anything is: for one entry, and for several."""
    name = member.name
    has_drive = name[1:2] == ":" and name[0].isalpha()
    if name.startswith("/") or "\\" in name or has_drive or ".." in name.split("/") or "\0" in name:
        return "file lies outside its folder", "files lie outside its folder"
    if not member.is_regular:
        return "entry is a link or a device", "entries are links or devices"
    if member.is_encrypted:
        return "file is encrypted", "files are encrypted"
    try:
        parts = [len(part.encode()) for part in name.split("/")]
    except UnicodeEncodeError:  # bytes that are not UTF-8
        parts = [MAX_PATH + 1]
    if max(parts) <= MAX_NAME and sum(parts) <= MAX_PATH:
        return None
    return "name is too long or not UTF-8", "names are too long or not UTF-8"


def check_size(path: Path, size: int, max_bytes: int, target: Path) -> None:
    """Refuse to unpack ``size`` bytes if that exceeds the limit, or the free space of the target's disk."""
    if size > max_bytes:
        raise KitError(
            path,
            f"unpacks to {size / 1e9:.1f} GB, more than the limit of {max_bytes / 1e9:.1f} GB",
            "A small archive can fill a disk",
            "If the size is right, raise the limit: --max-gb.",
            code="archive_too_large",
        )
    disk = next(parent for parent in target.absolute().parents if parent.exists())
    free = shutil.disk_usage(disk).free
    if size > free:
        problem = f"unpacks to {size / 1e9:.1f} GB, and {disk} has {free / 1e9:.1f} GB free"
        raise KitError(path, problem, code="disk_full")


@contextmanager
def draft_of(target: Path, inner: str = "") -> Iterator[Path]:
    """Yield a folder to write to; if the block succeeds it becomes ``target``, otherwise it is removed.

    A draft that a killed process left is removed first.

    Args:
        inner: The file or folder in the draft that becomes ``target``; empty: the draft itself.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        (draft / inner).replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def extract(
    path: Path, source: ArchiveReader, members: Sequence[Member], folder: Path, progress: Progress
) -> None:
    """Write checked files of an open archive below a folder; each must have its declared size."""
    written = source.extract(members, folder)
    for member in progress.track(written, len(members), f"unpacking {path.name}"):
        if (folder / member.name).stat().st_size != member.size:
            raise IncompleteArchiveError(f"{member.name} ends early")
