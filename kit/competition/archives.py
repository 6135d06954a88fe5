"""Unpack a zip or tar of competition data: completely or not at all, never outside the target folder."""

from __future__ import annotations

import errno
import json
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kit.competition.files import is_hidden
from kit.errors import KitError, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_json

SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".tar", ".zip")
RECEIPT = ".unpacked.json"
CHUNK = 2**20
MAX_SHOWN = 80  # characters of a name in a message
MAX_NAME, MAX_PATH = 255, 1024  # bytes that file systems allow, with room for the folder before the path
DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # an unknown compression method
    UnicodeDecodeError,  # in a name
)

Archive = zipfile.ZipFile | tarfile.TarFile


class Member(NamedTuple):
    """An entry of an archive, with the facts that decide whether it is unpacked."""

    entry: zipfile.ZipInfo | tarfile.TarInfo
    name: str
    size: int
    is_folder: bool
    is_regular: bool
    is_encrypted: bool = False


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
    with _opened(archive) as source:
        members = _checked_members(archive, source, max_bytes, target)
        with _draft(target) as folder:
            for member in progress.track(members, len(members), f"unpacking {archive.name}"):
                _extract(source, member, folder)
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


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    """Open an archive; errors about damage, now or while reading, become one KitError."""
    try:
        with zipfile.ZipFile(path) if path.name.lower().endswith(".zip") else tarfile.open(path) as source:
            yield source
    except (*DAMAGE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # a problem of the disk; damage has no errno, or EINVAL for a seek before the start
        what = str(error).partition("\n")[0].rstrip(":")
        raise KitError(
            path,
            f"is damaged or not an archive: {what}",
            "An archive must unpack completely",
            "Download it again.",
            code="archive_damaged",
        ) from error


def _members(source: Archive) -> Iterator[Member]:
    if isinstance(source, zipfile.ZipFile):
        for info in source.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            regular = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            encrypted = bool(info.flag_bits & 1)
            yield Member(info, info.filename, info.file_size, info.is_dir(), regular, encrypted)
        return
    for entry in source:
        yield Member(entry, entry.name, entry.size, entry.isdir(), entry.isreg() or entry.isdir())
    # `tarfile` treats a damaged header as the end, and does not verify a checksum after the end.
    if (stream := source.fileobj) is not None:
        stream.seek(source.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"it ends too early, after {len(source.getmembers())} entries")
        while stream.read(CHUNK):
            pass


def _checked_members(path: Path, source: Archive, max_bytes: int, target: Path) -> list[Member]:
    """Return the files to unpack, or refuse the archive with all entries that have the same problem."""
    members: list[Member] = []
    wrong: dict[str, list[str]] = {}
    total = 0
    for member in _members(source):
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
    wrong["files occur twice"] = [name for name, count in names.items() if count > 1]
    wrong["files have the name of a folder"] = [name for name in names if name in folders]
    for what, named in wrong.items():
        if named:
            problem = f"{len(named)} {what} ({first_few(named)})"
            raise KitError(
                path, problem, "An archive must hold plain files, each once", code="archive_unsafe"
            )
    if not members:
        raise KitError(path, "holds no file", code="archive_empty")
    _check_size(path, total, max_bytes, target)
    return members


def _problem(member: Member) -> str | None:
    """Return what is wrong with an entry, if anything is."""
    name = member.name
    has_drive = name[1:2] == ":" and name[0].isalpha()
    if name.startswith("/") or "\\" in name or has_drive or ".." in name.split("/") or "\0" in name:
        return "files lie outside its folder"
    if not member.is_regular:
        return "entries are links or devices"
    if member.is_encrypted:
        return "files are encrypted"
    try:
        parts = [len(part.encode()) for part in name.split("/")]
    except UnicodeEncodeError:  # bytes that are not UTF-8
        parts = [MAX_PATH + 1]
    return "names are too long or not UTF-8" if max(parts) > MAX_NAME or sum(parts) > MAX_PATH else None


def _check_size(path: Path, size: int, max_bytes: int, target: Path) -> None:
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
def _draft(target: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``target`` if the block succeeds, and is removed otherwise.

    A draft that a killed process left is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _extract(source: Archive, member: Member, folder: Path) -> None:
    """Unpack one file. Both libraries write at most the declared size, the sum of which was checked."""
    if isinstance(source, zipfile.ZipFile):
        source.extract(member.entry, folder)  # type: ignore[arg-type]
    else:
        source.extract(member.entry, folder, set_attrs=False, filter="data")  # type: ignore[arg-type]
    if (folder / member.name).stat().st_size != member.size:
        raise zipfile.BadZipFile(f"{member.name} ends early")
