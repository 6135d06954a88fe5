"""What a packed file is, and the registry of unpackers: one function per kind of packed file, by suffix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit.registry import Registry
from kit.runtime.progress import Progress


@dataclass(frozen=True)
class Packed:
    """The content of a packed file, before it is unpacked.

    Attributes:
        files: Path below the folder that ``write`` fills -> size in bytes; None: not known before writing.
        write: Writes all files into an empty folder.
    """

    files: dict[str, int | None]
    write: Callable[[Path, Progress], None]


# (packed file, the largest total size in bytes) -> its content; None: the file is not of this kind.
Unpacker = Callable[[Path, int], Packed | None]
unpackers: Registry[Unpacker] = Registry("unpacker")  # by suffix, in lower case


def register_unpacker(*suffixes: str) -> Callable[[Unpacker], Unpacker]:
    """Return a decorator that registers an unpacker for some suffixes."""

    def add(unpacker: Unpacker) -> Unpacker:
        for suffix in suffixes:
            unpackers.register(suffix)(unpacker)
        return unpacker

    return add


def packed_suffix(name: str) -> str | None:
    """Return the suffix of a file name for which an unpacker exists, the longest one; None: there is none."""
    matching = [suffix for suffix in unpackers if name.lower().endswith(suffix)]
    return max(matching, key=len, default=None)
