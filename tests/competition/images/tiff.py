"""Write TIFF files of any channels, as scientific software does; Pillow and OpenCV cannot."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

KINDS = {"u": 1, "i": 2, "f": 3}


def write_tiff(
    path: Path, *pages: np.ndarray, tags=None, rows=3, deflate=False, planar=False, order="<", tile=0
):
    """Write pages (H, W, C) in strips of some rows, or in square tiles, with some more tags.

    With ``deflate``, integers are compressed as differences from their left neighbor.
    """
    content = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0))
    link = 4
    for page in pages:
        content[link : link + 4] = struct.pack(f"{order}I", len(content))
        link = _write_page(content, page, tags or {}, rows, deflate, planar, order, tile)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(content))
    return path


def _write_page(content, values, tags, rows, deflate, planar, order, tile):
    height, width, channels = values.shape
    parts = [_packed(p, deflate, order) for p in _parts(values, rows, planar, tile)]
    bits = values.dtype.itemsize * 8
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * channels), 262: (3, [1])}
    entries |= {259: (3, [8 if deflate else 1]), 277: (3, [channels]), 284: (3, [2 if planar else 1])}
    entries |= {339: (3, [KINDS[values.dtype.kind]] * channels), 317: (3, [2 if deflate else 1])}
    keys = (324, 325) if tile else (273, 279)
    entries |= {keys[0]: (4, [0] * len(parts)), keys[1]: (4, [len(part) for part in parts])}
    entries |= {322: (4, [tile]), 323: (4, [tile])} if tile else {278: (4, [rows])}
    entries |= {key: (3, list(value)) for key, value in tags.items()}
    entries = {key: value for key, value in sorted(entries.items()) if value[1]}
    start = len(content)
    data = start + 2 + 12 * len(entries) + 4
    long = {key: 0 for key, (kind, found) in entries.items() if len(found) * (2 if kind == 3 else 4) > 4}
    for key in long:
        long[key] = data
        data += len(entries[key][1]) * (2 if entries[key][0] == 3 else 4)
    offsets = [data + sum(map(len, parts[:number])) for number in range(len(parts))]
    entries[keys[0]] = (4, offsets)
    content += struct.pack(f"{order}H", len(entries))
    for key, (kind, found) in entries.items():
        form = f"{order}{len(found)}{'H' if kind == 3 else 'I'}"
        value = (
            struct.pack(f"{order}I", long[key]) if key in long else struct.pack(form, *found).ljust(4, b"\0")
        )
        content += struct.pack(f"{order}HHI", key, kind, len(found)) + value
    link = len(content)
    content += bytes(4)
    for key in long:
        kind, found = entries[key]
        content += struct.pack(f"{order}{len(found)}{'H' if kind == 3 else 'I'}", *found)
    content += b"".join(parts)
    return link


def _parts(values, rows, planar, tile):
    planes = [values[:, :, [c]] for c in range(values.shape[2])] if planar else [values]
    for plane in planes:
        height, width = plane.shape[:2]
        if tile:
            padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
            for top in range(0, height, tile):
                yield from (padded[top : top + tile, left : left + tile] for left in range(0, width, tile))
        else:
            yield from (plane[top : top + rows] for top in range(0, height, rows))


def _packed(values, deflate, order):
    if deflate:
        values = np.diff(values, axis=1, prepend=np.zeros_like(values[:, :1]))
    plain = np.ascontiguousarray(values).astype(values.dtype.newbyteorder(order)).tobytes()
    return zlib.compress(plain) if deflate else plain
