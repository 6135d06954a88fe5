"""Unpackers of zip, tar, 7z and gzipped tables; rar files are refused with the command that unpacks them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from kit.competition.unpack.archive_readers import SUFFIXES, opened
from kit.competition.unpack.extract import check_size, checked_members, extract
from kit.competition.unpack.packed import DOWNLOAD_AGAIN, Packed, register_unpacker
from kit.errors import KitError
from kit.runtime.progress import Progress

GZIP_SIZE_LIMIT = 2**31  # the size at the end of a gzip counts modulo 4 GB: of a large file it says nothing
CHUNK = 2**20


@register_unpacker(*SUFFIXES)
def open_archive(path: Path, max_bytes: int) -> Packed:
    """Return the files of a zip, tar or 7z; only safe and complete archives are unpacked."""
    with opened(path) as source:
        members = checked_members(path, source, max_bytes, path)

    def write(folder: Path, progress: Progress) -> None:
        with opened(path) as again:
            fresh = checked_members(path, again, max_bytes, folder)
            extract(path, again, fresh, folder, progress)

    return Packed({member.name.removeprefix("./"): member.size for member in members}, write)


@register_unpacker(".csv.gz", ".tsv.gz")
def open_gzipped_table(path: Path, max_bytes: int) -> Packed:
    """Return the table in a gzip file."""
    name = path.name[: -len(".gz")]

    def write(folder: Path, progress: Progress) -> None:
        _gunzip(path, folder / name, max_bytes)

    return Packed({name: _gzip_size(path)}, write)


def _gzip_size(path: Path) -> int | None:
    """Return the unpacked size as the file's end declares it; None if the file is too large for that."""
    if path.stat().st_size > GZIP_SIZE_LIMIT:
        return None
    return int.from_bytes(path.read_bytes()[-4:], "little")


def _gunzip(path: Path, target: Path, max_bytes: int) -> None:
    written = 0
    try:
        with gzip.open(path) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                check_size(path, written, max_bytes, target)
                file.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        why = ": it ends too early" if isinstance(error, EOFError) else ", or not a gzip file"
        raise KitError(path, f"is damaged{why}", *DOWNLOAD_AGAIN, code="archive_damaged") from error


@register_unpacker(".rar")
def refuse_rar(path: Path, max_bytes: int) -> None:
    """Refuse a rar file: no free library unpacks it."""
    folder = path.with_suffix("")
    raise KitError(
        path,
        "is a rar file, which kit cannot unpack",
        "kit unpacks zip, tar and 7z",
        f"Unpack it, then move it away: unrar x {path} {folder}/",
        code="archive_unknown",
    )
