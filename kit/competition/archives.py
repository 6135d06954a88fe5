"""A zip or tar as competition data: unpacked whole or not at all, and nothing outside its folder."""

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from kit.competition.files import is_hidden
from kit.errors import KitError, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_json

ENDINGS = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".tar", ".zip")
RECEIPT = ".unpacked.json"
CHUNK = 2**20
SHOWN = 80  # characters of a name in a message
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a way of compression that Python does not know
    UnicodeDecodeError,  # in a name
)
LONGEST_NAME, LONGEST_PATH = 255, 1024  # bytes; what file systems take, with room for the folder before it

Archive = zipfile.ZipFile | tarfile.TarFile
Entry = zipfile.ZipInfo | tarfile.TarInfo


class Member(NamedTuple):
    """One file in an archive: where it goes, its declared size, and what reads it."""

    name: str
    size: int
    entry: Entry


def is_archive(path: Path) -> bool:
    """Tell whether a file is an archive by its ending, whatever its case."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def archive_stem(path: Path) -> str:
    """Return an archive's name without its ending."""
    ending = next(e for e in ENDINGS if path.name.lower().endswith(e))
    return path.name[: -len(ending)]


def unpack(archive: Path, target: Path, max_bytes: int, progress: Progress = SILENT) -> bool:
    """Unpack an archive to the folder ``target``; return False if that very archive was before.

    Hidden files and those of archive tools are left out; permissions and owners are not taken over.

    Args:
        max_bytes: What the files may come to.

    Raises:
        KitError: The archive is damaged or encrypted, too large, or has links, devices or paths that lead out
            of the folder; or ``target`` is something else. Nothing is left behind.
    """
    receipt = _receipt(archive)
    if target.exists():
        _refuse_another(target, archive, receipt)
        return False
    with _opened(archive) as source:
        members = _checked_members(archive, source, max_bytes, target)
        with _draft(target) as folder:
            written = 0
            for member in progress.track(members, len(members), f"unpacking {archive.name}"):
                written += _write(source, member, folder / member.name, max_bytes - written, archive)
            write_json(folder / RECEIPT, receipt)
    return True


def _receipt(archive: Path) -> dict[str, object]:
    state = archive.stat()
    return {"archive": archive.name, "bytes": state.st_size, "mtime_ns": state.st_mtime_ns}


def _refuse_another(target: Path, archive: Path, receipt: dict[str, object]) -> None:
    try:
        there = json.loads((target / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        there = None
    if there != receipt:
        raise KitError(
            target,
            f"is there already, and is not what {archive.name} holds",
            "An archive is unpacked to a folder of its own name",
            f"Remove or rename the folder, or name it instead of the archive: kit init {target}",
        )


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    """Open an archive; what is damaged in it, now or later, becomes one message."""
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as zipped:
                yield zipped
        else:
            with tarfile.open(path) as tarred:
                yield tarred
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's trouble; an archive's own has no number, or is a seek to before its beginning
        what = str(error).partition("\n")[0].rstrip(":")
        raise KitError(
            path, f"is damaged or no archive: {what}", "It must unpack whole", "Download it again."
        ) from error


def _checked_members(path: Path, source: Archive, max_bytes: int, target: Path) -> list[Member]:
    """Return the files to unpack, or refuse the archive with everything of one kind that is wrong."""
    members: list[Member] = []
    wrong: dict[str, list[str]] = {}
    total = 0
    for entry in source.infolist() if isinstance(source, zipfile.ZipFile) else _tar_entries(source):
        name, size = _name_and_size(entry)
        if problem := _problem(entry, name):
            wrong.setdefault(problem, []).append(name.encode(errors="backslashreplace").decode()[:SHOWN])
        elif not _is_folder(entry) and not any(map(is_hidden, PurePosixPath(name).parts)):
            members.append(Member(str(PurePosixPath(name)), size, entry))
            total += size
        if total > max_bytes:
            break  # to read on would be to decompress it all
    names = Counter(member.name for member in members)
    folders = _folders(names)
    wrong["files are there twice"] = [name for name, count in names.items() if count > 1]
    wrong["files have the name of a folder"] = [name for name in names if name in folders]
    for what, named in wrong.items():
        if named:
            raise KitError(path, f"{len(named)} {what} ({first_few(named)})", "An archive holds plain files")
    if not members:
        raise KitError(path, "holds no file")
    _refuse_size(path, total, max_bytes, target)
    return members


def _name_and_size(entry: Entry) -> tuple[str, int]:
    if isinstance(entry, zipfile.ZipInfo):
        return entry.filename, entry.file_size
    return entry.name, entry.size


def _problem(entry: Entry, name: str) -> str | None:
    """Return what is wrong with an entry, if anything is."""
    if _leads_out(name):
        return "files lie outside its folder"
    if _is_odd(entry):
        return "entries are links or devices"
    if isinstance(entry, zipfile.ZipInfo) and entry.flag_bits & 1:
        return "files are encrypted"
    if not _is_writable(name):
        return "names are too long or not UTF-8"
    return None


def _folders(names: Iterable[str]) -> set[str]:
    """Return every folder that the names lie in."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _tar_entries(source: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar, and prove at the end that it was the end.

    `tarfile` takes a damaged header, or nothing at all, for the end, and leaves a checksum behind it unread.
    """
    yield from source
    stream = source.fileobj
    if stream is None:
        return
    stream.seek(source.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it breaks off after {len(source.getmembers())} entries")
    while stream.read(CHUNK):
        pass


def _leads_out(name: str) -> bool:
    has_drive = name[1:2] == ":" and name[0].isalpha()
    return name.startswith("/") or "\\" in name or has_drive or ".." in name.split("/") or "\0" in name


def _is_writable(name: str) -> bool:
    try:
        parts = [len(part.encode()) for part in name.split("/")]
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return False
    return max(parts) <= LONGEST_NAME and sum(parts) <= LONGEST_PATH


def _is_odd(entry: Entry) -> bool:
    """Tell whether an entry is neither a file nor a folder."""
    if isinstance(entry, tarfile.TarInfo):
        return not (entry.isreg() or entry.isdir())
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _is_folder(entry: Entry) -> bool:
    return entry.is_dir() if isinstance(entry, zipfile.ZipInfo) else entry.isdir()


def _refuse_size(path: Path, size: int, max_bytes: int, target: Path) -> None:
    if size > max_bytes:
        raise KitError(
            path,
            f"unpacks to {size / 1e9:.1f} GB, more than the {max_bytes / 1e9:.1f} GB allowed",
            "A small archive can hold a disk full",
            "If that is right, allow it: --max-gb.",
        )
    home = next(parent for parent in target.absolute().parents if parent.exists())
    free = shutil.disk_usage(home).free
    if size > free:
        raise KitError(path, f"unpacks to {size / 1e9:.1f} GB, and {home} has {free / 1e9:.1f} GB free")


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``target`` when the block ends well, and goes when it does not.

    What an earlier process left there when it was killed goes first.
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


def _write(source: Archive, member: Member, path: Path, room: int, archive: Path) -> int:
    """Write one file and return its size, counted as it comes: what an archive declares may be a lie."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reader: IO[bytes] | None
    if isinstance(source, zipfile.ZipFile):
        reader = source.open(member.entry)  # type: ignore[arg-type]
    else:
        reader = source.extractfile(member.entry)  # type: ignore[arg-type]
    written = 0
    with path.open("xb") as file:
        while reader is not None and (chunk := reader.read(CHUNK)):
            written += len(chunk)
            if written > room:
                raise KitError(
                    archive,
                    f"unpacks to more than is allowed, and more than it declares ({member.name})",
                    "",
                    "Do not trust it. If it is right, allow more: --max-gb.",
                )
            file.write(chunk)
    if written != member.size:
        raise KitError(archive, f"is damaged: {member.name} ends early", "", "Download it again.")
    return written
