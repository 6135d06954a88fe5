"""Decoded pictures in one file that every process maps into its memory, and fills as it goes.

Each picture has a slot, whose place follows from the list of pictures alone. So any process or loader can
decode a picture that is missing and put it there: what two of them write at once is the same. A slot counts
only with the checksum of its pixels, so that one cut short, by a kill or a lost power, is decoded again.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from kit.storage.files import DRAFT

ENTRY = np.dtype([("height", "<u4"), ("width", "<u4"), ("channels", "<u4"), ("checksum", "<u4")])
PAGE = 4096
Key = TypeVar("Key", bound=Hashable)


def table_bytes(pictures: int) -> int:
    """Return how long the table of so many slots is, in whole pages."""
    return -(-pictures * ENTRY.itemsize // PAGE) * PAGE


class PixelFile(Generic[Key]):
    """The pixels of pictures, by key.

    Args:
        path: The file; made, sparse, if it is not there. Its name must tell apart whatever differs in
            keys, capacities, or in how pictures are taken.
        keys: Which pictures have a slot, in order.
        capacities: How many bytes each may take.
        room: How many bytes of the disk the file may take: pictures beyond are not written.

    Raises:
        OSError: The file cannot be made or opened.
    """

    def __init__(self, path: Path, keys: Sequence[Key], capacities: Iterable[int], room: int) -> None:
        self.path = path
        self.room = room
        self.slots = {key: number for number, key in enumerate(keys)}
        sizes = np.fromiter(capacities, np.int64, len(keys))
        self.offsets = table_bytes(len(keys)) + np.concatenate([[0], np.cumsum(sizes)])
        self._open()

    @property
    def fitting(self) -> int:
        """How many pictures there is room for."""
        return int((self.offsets[1:] <= self.room).sum())

    def _open(self) -> None:
        length = int(self.offsets[-1])
        if not self.path.exists() or self.path.stat().st_size != length:  # somebody has cut it
            self.path.unlink(missing_ok=True)
            _make_sparse(self.path, length)
        self.file = self.path.open("r+b")
        self.mapped = mmap.mmap(self.file.fileno(), length, access=mmap.ACCESS_READ)
        self.table = np.frombuffer(self.mapped, ENTRY, len(self.slots))
        self.checked = np.zeros(len(self.slots), dtype=bool)  # by this process
        self.is_writable = True

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to open the same file."""
        return {"path": self.path, "room": self.room, "slots": self.slots, "offsets": self.offsets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open()

    def read(self, key: Key) -> np.ndarray | None:
        """Return a picture, (H, W, C) uint8, as it lies in the file, read-only; None if it is not there."""
        slot = self.slots.get(key)
        if slot is None:
            return None
        height, width, channels, checksum = self.table[slot].tolist()
        start, length = int(self.offsets[slot]), height * width * channels
        if length == 0 or start + length > self.offsets[slot + 1]:
            return None
        pixels = np.frombuffer(self.mapped, np.uint8, length, start)
        if not self.checked[slot]:
            if zlib.crc32(_bytes_of(pixels)) != checksum:
                return None
            self.checked[slot] = True
        return pixels.reshape(height, width, channels)

    def write(self, key: Key, pixels: np.ndarray) -> None:
        """Put a picture (H, W, C) uint8 into its slot; without one, or on a full disk, nothing happens."""
        slot = self.slots.get(key)
        if slot is None or not self.is_writable:
            return
        start = int(self.offsets[slot])
        if start + pixels.nbytes > self.offsets[slot + 1] or self.offsets[slot + 1] > self.room:
            return
        data = _bytes_of(pixels)
        entry = np.array([(*pixels.shape, zlib.crc32(data))], ENTRY)
        try:
            _write_at(self.file.fileno(), data, start)
            _write_at(self.file.fileno(), memoryview(entry.tobytes()), slot * ENTRY.itemsize)
        except OSError:
            self.is_writable = False  # a full disk ends the caching, not the training
        else:
            self.checked[slot] = True


def _bytes_of(pixels: np.ndarray) -> memoryview:
    return np.ascontiguousarray(pixels).data.cast("B")


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of ``data``; through the mapping, a full disk would kill the process."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _make_sparse(path: Path, length: int) -> None:
    """Make a file of zeros that takes no room yet; of several processes that do so at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        with draft.open("wb") as file:
            file.truncate(length)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
