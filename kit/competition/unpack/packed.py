"""What a packed file is, and the registry of unpackers: one function per kind of packed file, by suffix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit.registry import Registry
from kit.runtime.progress import Progress

# The rule and the next step for a damaged file.
DOWNLOAD_AGAIN = ("A packed file must unpack completely", "Download it again.")


@dataclass(frozen=True)
class Packed:
    """The content of a packed file, before it is unpacked.

    Attributes:
        files: Path below the folder that ``write`` fills -> size in bytes; None: not known before writing.
            Empty: the names are not known before writing either.
        write: Writes all files into an empty folder.
        about: What the files are, for people, where kit found it out.
    """

    files: dict[str, int | None]
    write: Callable[[Path, Progress], None]
    about: str = ""


# (packed file, the largest total size in bytes) -> its content; None: the file is not of this kind.
Unpacker = Callable[[Path, int], Packed | None]
unpackers: Registry[Unpacker] = Registry("unpacker")  # by suffix, in lower case


_last_parts: set[str] = set()  # ``.gz`` of ``.tar.gz``
rarely_packed: set[str] = set()  # suffixes of which a folder of many files has none to unpack


def register_unpacker(*suffixes: str, few: bool = False) -> Callable[[Unpacker], Unpacker]:
    """Return a decorator that registers an unpacker for some suffixes.

    Args:
        few: A folder with many such files holds one image or annotation each, and they are not opened.
    """

    def add(unpacker: Unpacker) -> Unpacker:
        for suffix in suffixes:
            unpackers.register(suffix)(unpacker)
            _last_parts.add(suffix[suffix.rfind(".") :])
            if few:
                rarely_packed.add(suffix)
        return unpacker

    return add


def packed_suffix(name: str) -> str | None:
    """Return the suffix of a file name for which an unpacker exists, the longest one; None: there is none."""
    last = name[name.rfind(".") :].lower()
    if last not in _last_parts:  # almost all names of a folder of images
        return None
    matching = [suffix for suffix in unpackers if name.lower().endswith(suffix)]
    return max(matching, key=len, default=None)
