"""A memory-mapped file of decoded pictures that several processes read and fill.

The list of pictures alone determines the slot of each picture. So every process can decode a missing picture
and write it: two processes write the same bytes. A slot has a checksum; one that was only partly written
(process killed, power lost) is decoded again.
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
    """Return the size of the slot table, in whole pages."""
    return -(-pictures * ENTRY.itemsize // PAGE) * PAGE


class PixelFile(Generic[Key]):
    """The pixels of pictures, by key.

    Args:
        path: The file, created sparse if missing. Its name must differ if keys, capacities or the decoder
            differ.
        keys: The pictures with a slot, in order.
        capacities: The most bytes of each.
        limit: The most bytes that the file may use on disk; pictures beyond are not written.

    Raises:
        OSError: The file cannot be created or opened.
    """

    def __init__(self, path: Path, keys: Sequence[Key], capacities: Iterable[int], limit: int) -> None:
        self.path = path
        self.limit = limit
        self.slots = {key: number for number, key in enumerate(keys)}
        sizes = np.fromiter(capacities, np.int64, len(keys))
        self.offsets = table_bytes(len(keys)) + np.concatenate([[0], np.cumsum(sizes)])
        self._open()

    @property
    def num_fitting(self) -> int:
        """Number of pictures within the limit."""
        return int((self.offsets[1:] <= self.limit).sum())

    def _open(self) -> None:
        length = int(self.offsets[-1])
        if not self.path.exists() or self.path.stat().st_size != length:  # truncated
            self.path.unlink(missing_ok=True)
            _make_sparse(self.path, length)
        self.file = self.path.open("r+b")
        self.mapped = mmap.mmap(self.file.fileno(), length, access=mmap.ACCESS_READ)
        self.table = np.frombuffer(self.mapped, ENTRY, len(self.slots))
        self.checked = np.zeros(len(self.slots), dtype=bool)  # checksum verified by this process
        self.is_writable = True

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for opening the same file in another process."""
        return {"path": self.path, "limit": self.limit, "slots": self.slots, "offsets": self.offsets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open()

    def read(self, key: Key) -> np.ndarray | None:
        """Return a picture, (H, W, C) uint8, as a read-only view of the file; None if missing."""
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
        """Write a picture (H, W, C) uint8 to its slot; do nothing without a slot or on a full disk."""
        slot = self.slots.get(key)
        if slot is None or not self.is_writable:
            return
        start = int(self.offsets[slot])
        if start + pixels.nbytes > self.offsets[slot + 1] or self.offsets[slot + 1] > self.limit:
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
    """Write all of ``data``; writing through the mapping would kill the process on a full disk."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _make_sparse(path: Path, length: int) -> None:
    """Create a sparse file of zeros; if several processes do so at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        with draft.open("wb") as file:
            file.truncate(length)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
