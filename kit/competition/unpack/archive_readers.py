"""Read zip, tar and 7z files: their entries, with the facts that decide whether kit unpacks them."""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from kit.competition.unpack.packed import DOWNLOAD_AGAIN
from kit.errors import KitError, counted

TAR_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz", ".tar")
SUFFIXES = (*TAR_SUFFIXES, ".zip", ".7z")
CHUNK = 2**20


class ArchiveDamagedError(Exception):
    """A library found damage and raised an error type of its own."""


class IncompleteArchiveError(ArchiveDamagedError):
    """The archive ends too early; the message says after what."""


DAMAGE_ERRORS = (
    ArchiveDamagedError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # an unknown compression method
    UnicodeDecodeError,  # in a name
)


class Member(NamedTuple):
    """An entry of an archive, with the facts that decide whether it is unpacked."""

    entry: Any
    name: str
    size: int
    is_folder: bool
    is_regular: bool
    is_encrypted: bool = False


class ArchiveReader(Protocol):
    """An open archive."""

    def members(self) -> Iterator[Member]:
        """Yield all entries."""

    def extract(self, members: Sequence[Member], folder: Path) -> Iterator[Member]:
        """Write files below a folder; yield each after it is written. No file exceeds its declared size."""


class ZipReader:
    """An open zip."""

    def __init__(self, source: zipfile.ZipFile) -> None:
        self.source = source

    def members(self) -> Iterator[Member]:
        """Yield all entries."""
        for info in self.source.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            regular = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            yield Member(
                info, info.filename, info.file_size, info.is_dir(), regular, bool(info.flag_bits & 1)
            )

    def extract(self, members: Sequence[Member], folder: Path) -> Iterator[Member]:
        """Write files below a folder; yield each after it is written."""
        for member in members:
            self.source.extract(member.entry, folder)
            yield member


class TarReader:
    """An open tar, plain or compressed."""

    def __init__(self, source: tarfile.TarFile) -> None:
        self.source = source

    def members(self) -> Iterator[Member]:
        """Yield all entries; raise an error if the end is missing or the compressed stream is damaged."""
        source = self.source
        for entry in source:
            yield Member(entry, entry.name, entry.size, entry.isdir(), entry.isreg() or entry.isdir())
        # `tarfile` treats a damaged header as the end, and does not verify a checksum after the end.
        if (stream := source.fileobj) is not None:
            stream.seek(source.offset)
            if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise IncompleteArchiveError(
                    f"it ends too early, after {counted(len(source.getmembers()), 'entry', 'entries')}"
                )
            while stream.read(CHUNK):
                pass

    def extract(self, members: Sequence[Member], folder: Path) -> Iterator[Member]:
        """Write files below a folder; yield each after it is written."""
        for member in members:
            self.source.extract(member.entry, folder, set_attrs=False, filter="data")
            yield member


class SevenZipReader:
    """An open 7z file, read with py7zr (the extra ``7z``)."""

    def __init__(self, source: Any, errors: tuple[type[Exception], ...]) -> None:
        self.source = source
        self.errors = errors

    def members(self) -> Iterator[Member]:
        """Yield all entries."""
        encrypted = bool(self.source.needs_password())
        for entry in self.source.files:
            regular = not (entry.is_symlink or entry.is_junction or entry.is_socket)
            size = int(entry.uncompressed or 0)
            yield Member(entry, entry.filename, size, entry.is_directory, regular, encrypted)

    def extract(self, members: Sequence[Member], folder: Path) -> Iterator[Member]:
        """Write files below a folder; yield them after all are written, because files share blocks."""
        try:
            self.source.extract(path=folder, targets=[member.name for member in members])
        except self.errors as error:
            raise ArchiveDamagedError from error
        yield from members


@contextmanager
def opened(path: Path) -> Iterator[ArchiveReader]:
    """Open an archive; errors about damage, now or while reading, become one KitError.

    Raises:
        KitError: The archive is damaged, or needs an extra that is not installed.
    """
    try:
        with _reader(path) as reader:
            yield reader
    except (*DAMAGE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # a problem of the disk; damage has no errno, or EINVAL for a seek before the start
        problem = f"is damaged, or not an archive{_reason(error)}"
        raise KitError(path, problem, *DOWNLOAD_AGAIN, code="archive_damaged") from error


def _reason(error: Exception) -> str:
    """Return what is wrong with an archive, if the error says more than that it is damaged."""
    if isinstance(error, IncompleteArchiveError):
        return f": {error}"
    if isinstance(error, EOFError):
        return ": it ends too early"
    if isinstance(error, UnicodeDecodeError):
        return ": the name of a file in it is not UTF-8"
    if isinstance(error, NotImplementedError):
        return ": its compression is unknown to kit; unpack it yourself"
    if isinstance(error, zipfile.BadZipFile | zlib.error) and "CRC" in str(error):
        return ": the size or checksum of a file in it is wrong"
    return ""


@contextmanager
def _reader(path: Path) -> Iterator[ArchiveReader]:
    name = path.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as zipped:
            yield ZipReader(zipped)
    elif name.endswith(".7z"):
        with _seven_zip(path) as reader:
            yield reader
    else:
        with tarfile.open(path) as tarred:
            yield TarReader(tarred)


@contextmanager
def _seven_zip(path: Path) -> Iterator[SevenZipReader]:
    try:
        import py7zr
        from py7zr.exceptions import ArchiveError
    except ImportError as error:
        raise KitError(
            path,
            "is a 7-Zip archive, and py7zr is not installed",
            "kit reads 7-Zip archives with the extra `7z`",
            f"pip install 'kit[7z]', or unpack it yourself: 7z x {path} -o{path.with_suffix('')}",
            code="extra_missing",
        ) from error
    try:
        source = py7zr.SevenZipFile(path)
    except ArchiveError as error:
        raise ArchiveDamagedError from error
    with source:
        yield SevenZipReader(source, (ArchiveError,))
