"""Read TIFF files with any number of channels, as they are stored: multi-spectral images, no colors.

Pillow knows only the usual combinations of channels. Here it decompresses bytes, and this module knows where
they belong. TIFF 6.0 (Adobe 1992), sections 14 (differencing predictor) and 15 (tiled images), and Adobe's
Technical Note 3 of 2005 (floating-point predictor).
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from kit.competition.images.turns import TURNS
from kit.errors import counted

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES, PLANAR = 273, 274, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
COLORS = {2: 3, 5: 4, 6: 3, 8: 3}  # photometric interpretation -> channels: RGB, CMYK, YCbCr, Lab; others: 1
OPACITY = (1, 2, 999)  # values of the tag ExtraSamples; 999 is Corel's
KINDS = {1: "u", 2: "i", 3: "f"}  # by sample format
RAW, DEFLATE = (1,), (8, 32946)
OF_BYTES = (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard: compressions of bytes of any meaning
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors
REDUCED_COPY = 1  # a bit of the tag NewSubfileType
BIG = 43  # the version of a BigTIFF
MAX_PAGES = 10_000  # a damaged file can link its pages in a circle

Tags = Mapping[int, Any]


def has_usual_channels(tags: Tags) -> bool:
    """Return whether a TIFF's channels are the gray or the colors that it names, and perhaps opacity.

    Without the tag ExtraSamples, nothing says what a further channel is.
    """
    if SAMPLES not in tags:
        return True
    further = tags[SAMPLES] - COLORS.get(tags.get(PHOTOMETRIC, 1), 1)
    extras = tags.get(EXTRA_SAMPLES) or (0,)
    return further == 0 or (further == 1 and extras[0] in OPACITY)


def first_tags(path: Path) -> Tags:
    """Return the tags of the first page of a TIFF.

    Raises:
        ValueError: It has no page.
    """
    with path.open("rb") as file:
        for tags in _pages(file):
            return tags
    raise ValueError("it has no page")


def read_tiff(path: Path) -> list[np.ndarray]:
    """Return the pages of a TIFF, (H, W, C) each, values and order of the channels as stored, upright.

    Smaller copies of a page are left out.

    Raises:
        ValueError: It is damaged, of a compression for pictures such as JPEG, or of a rare number of bits.
    """
    with path.open("rb") as file:
        pages = [tags for tags in _pages(file) if not tags.get(SUBFILE, 0) & REDUCED_COPY]
        return [_upright(_values(file, tags), tags) for tags in pages]


def _pages(file: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    head = file.read(8)
    if len(head) == 8 and BIG in head[2:4]:
        head += file.read(8)
    offset, seen = ImageFileDirectory_v2(head).next, 0
    while offset:
        tags = ImageFileDirectory_v2(head)
        file.seek(offset)
        tags.load(file)
        yield tags
        offset, seen = tags.next, seen + 1
        if seen > MAX_PAGES:
            raise ValueError(f"it has more than {counted(MAX_PAGES, 'page')}")


def _upright(values: np.ndarray, tags: Tags) -> np.ndarray:
    turn = TURNS.get(tags.get(ORIENTATION, 1))
    return values if turn is None else np.ascontiguousarray(turn(values))


def _values(file: BinaryIO, tags: ImageFileDirectory_v2) -> np.ndarray:
    """Return the values (H, W, C) of one page, as it is stored."""
    width, height, samples = tags[WIDTH], tags[HEIGHT], tags.get(SAMPLES, 1)
    if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"{width * height / 1e6:,.0f} million pixels are more than image.max_pixels allows")
    dtype = _dtype(tags)
    planes = samples if tags.get(PLANAR, 1) == 2 else 1
    depth = samples // planes
    is_tiled = TILE_WIDTH in tags
    columns = tags[TILE_WIDTH] if is_tiled else width
    rows = tags[TILE_HEIGHT] if is_tiled else min(tags.get(ROWS, height), height)
    offsets, lengths = (
        tags[key] for key in ((TILE_OFFSETS, TILE_BYTES) if is_tiled else (STRIP_OFFSETS, STRIP_BYTES))
    )
    across, down = math.ceil(width / columns), math.ceil(height / rows)
    if len(offsets) < across * down * planes or len(lengths) < len(offsets):
        raise ValueError("parts of it are missing")
    values = np.zeros((height, width, samples), dtype.newbyteorder("="))
    for number in range(across * down * planes):
        plane, place = divmod(number, across * down)
        top, left = place // across * rows, place % across * columns
        shape = (rows if is_tiled else min(rows, height - top), columns, depth)
        file.seek(offsets[number])
        part = _part(file.read(lengths[number]), shape, dtype, tags)
        shown = values[top : top + rows, left : left + columns, plane * depth : (plane + 1) * depth]
        shown[:] = part[: shown.shape[0], : shown.shape[1]]
    return values


def _dtype(tags: ImageFileDirectory_v2) -> np.dtype[Any]:
    bits, formats = set(tags.get(BITS, (1,))), set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) > 1 or len(formats) > 1:
        raise ValueError("its channels have different types")
    (size,), kind = bits, KINDS.get(formats.pop())
    if kind is None or size not in (8, 16, 32, 64) or (kind == "f" and size == 8):
        raise ValueError(f"channels of {size} bits of this kind are not supported: kit reads 8, 16, 32 or 64")
    order = "<" if tags.prefix == b"II" else ">"
    return np.dtype(f"{order}{kind}{size // 8}")


def _part(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any], tags: Tags) -> np.ndarray:
    """Return a strip or a tile, (rows, columns, C)."""
    rows, columns, depth = shape
    across = columns * depth * dtype.itemsize
    plain = _decompressed(data, rows, across, tags.get(COMPRESSION, 1))
    if len(plain) < rows * across:
        raise ValueError("it is truncated")
    flat = np.frombuffer(plain, np.uint8, rows * across).reshape(rows, across)
    undo = UNDO.get(tags.get(PREDICTOR, 1))
    if undo is None:
        raise ValueError(f"its predictor {tags[PREDICTOR]} is not supported")
    return undo(flat, shape, dtype)


def _decompressed(data: bytes, rows: int, across: int, compression: int) -> bytes:
    """Return the bytes of a part, whatever they mean: ``rows`` times ``across`` of them."""
    if compression in RAW:
        return data
    if compression in DEFLATE:
        return zlib.decompressobj().decompress(data, rows * across)
    if compression not in OF_BYTES:
        raise ValueError(f"its compression {compression} is not supported for channels that are no colors")
    entries = [(WIDTH, 4, across), (HEIGHT, 4, rows), (BITS, 3, 8), (COMPRESSION, 3, compression)]
    entries += [(PHOTOMETRIC, 3, 1), (STRIP_OFFSETS, 4, 8), (SAMPLES, 3, 1), (ROWS, 4, rows)]
    entries += [(STRIP_BYTES, 4, len(data))]
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    padding = b"\0" * (len(data) % 2)
    head = b"II*\0" + struct.pack("<I", 8 + len(data) + len(padding))
    gray = head + data + padding + struct.pack("<H", len(entries)) + packed + bytes(4)
    with Image.open(io.BytesIO(gray)) as image:
        return image.tobytes()


Undo = Callable[[np.ndarray, tuple[int, int, int], np.dtype[Any]], np.ndarray]


def _plain(flat: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> np.ndarray:
    """Return bytes (rows, bytes) as values (rows, columns, C)."""
    values: np.ndarray = flat.view(dtype).reshape(shape).astype(dtype.newbyteorder("="))
    return values


def _summed(flat: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> np.ndarray:
    """Return values that are stored as differences from the left neighbor, modulo their range."""
    differences = _plain(flat, shape, np.dtype(f"{dtype.byteorder}u{dtype.itemsize}"))
    sums: np.ndarray = np.cumsum(differences, axis=1, dtype=differences.dtype)
    return sums.view(dtype.newbyteorder("="))


def _summed_floats(flat: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> np.ndarray:
    """Return floats whose bytes are stored by significance, as differences from the left neighbor."""
    rows, columns, depth = shape
    sums = np.cumsum(flat.reshape(rows, -1, depth), axis=1, dtype=np.uint8)
    by_value = sums.reshape(rows, dtype.itemsize, columns * depth).transpose(0, 2, 1)
    return _plain(np.ascontiguousarray(by_value).reshape(rows, -1), shape, dtype.newbyteorder(">"))


UNDO: dict[int, Undo] = {1: _plain, DIFFERENCES: _summed, FLOAT_DIFFERENCES: _summed_floats}
