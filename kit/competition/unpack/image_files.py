"""Write images that lie in tables and arrays to files named by their ids, and the other columns to a CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from kit.competition.unpack.extract import check_size
from kit.errors import KitError
from kit.runtime.progress import Progress
from kit.storage.csv_text import csv_text

SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"II*\0": ".tif", b"MM\0*": ".tif"}
FAST = 1  # compression of PNG: most of the time is spent on it
ROWS_AT_A_TIME = 5000  # of the CSV


class Row(NamedTuple):
    """One image: the path of its file without suffix, its bytes or values, and the other cells."""

    name: str
    image: bytes | np.ndarray
    cells: dict[str, Any]


def image_suffix(content: bytes) -> str | None:
    """Return the suffix of an encoded image by its first bytes; None: it is none."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for start, suffix in SUFFIXES.items() if content.startswith(start)), None)


def write_rows(
    path: Path, folder: Path, rows: Iterable[Row], total: int, max_bytes: int, progress: Progress
) -> None:
    """Write the image of every row below a folder, and all cells to a CSV with the folder's name.

    Args:
        path: The file that holds the rows.
        total: How many rows there are, or 0.
        max_bytes: The largest total size of the images.

    Raises:
        KitError: A name occurs twice or is no file name, or the images are too large.
    """
    written, seen, cells = 0, set[str](), list[dict[str, Any]]()
    table = folder / f"{path.stem}.csv"
    for row in progress.track(rows, total, f"unpacking {path.name}"):
        _check_name(path, row.name, seen)
        if row.cells:
            cells.append({key: _cell(value) for key, value in row.cells.items()})
        written += _write(path, folder / row.name, row.image)
        if len(cells) >= ROWS_AT_A_TIME:
            check_size(path, written, max_bytes, folder)
            cells = _append(table, cells)
    check_size(path, written, max_bytes, folder)
    _append(table, cells)


def _append(table: Path, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Append rows to a CSV, and return no rows."""
    if cells:
        columns = None if not table.exists() else list(pd.read_csv(table, nrows=0).columns)
        frame = pd.DataFrame(cells, columns=columns)
        with table.open("a", encoding="utf-8", newline="") as file:
            file.write(csv_text(frame, header=columns is None))
    return []


def _cell(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return json.dumps(value, default=str) if isinstance(value, (list, dict)) else value


def _check_name(path: Path, name: str, seen: set[str]) -> None:
    parts = name.split("/")
    is_unsafe = any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)
    if is_unsafe or name in seen:
        what = f"the id '{name}' occurs twice" if name in seen else f"the id '{name}' is no file name"
        rule = "Images are written to files named by their ids"
        next_step = "Write the images to files yourself."
        raise KitError(path, what, rule, next_step, code="ids_unusable")
    seen.add(name)


def _write(path: Path, target: Path, image: bytes | np.ndarray) -> int:
    """Write bytes as they are, values without loss as PNG of 8 or 16 bits or as TIFF; return the size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        suffix = image_suffix(image)
        if suffix is None:
            rule = "Every row holds an encoded image, such as a JPEG or PNG"
            raise KitError(path, f"the image of {target.name} is none", rule, code="image_unreadable")
        file = target.with_name(target.name + suffix)
        file.write_bytes(image)
    else:
        file = _write_values(target, image)
    return file.stat().st_size


def _write_values(target: Path, values: np.ndarray) -> Path:
    values = values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.dtype == np.uint8:
        file = target.with_name(f"{target.name}.png")
        Image.fromarray(values).save(file, compress_level=FAST)
        return file
    import cv2

    file = target.with_name(f"{target.name}{'.png' if values.dtype == np.uint16 else '.tif'}")
    stored = values[:, :, ::-1] if values.ndim == 3 else values  # OpenCV has B G R
    if not cv2.imwrite(str(file), np.ascontiguousarray(stored)):
        raise OSError(f"{file} cannot be written")
    return file


def stored_type(sample: np.ndarray) -> np.dtype[Any]:
    """Return the type that holds the values of some images without loss: uint8, uint16 or float32."""
    if sample.dtype.kind in "bui" or (sample == np.round(sample)).all():
        low, high = (sample.min(), sample.max()) if sample.size else (0, 0)
        if sample.dtype.kind in "bui" or high > 1:
            for kind in (np.uint8, np.uint16):
                if low >= 0 and high <= np.iinfo(kind).max:
                    return np.dtype(kind)
    return np.dtype(np.float32)


def as_type(values: np.ndarray, kind: np.dtype[Any], path: Path) -> np.ndarray:
    """Return values as a type; refuse values that it cannot hold."""
    if kind.kind == "u" and (values.min() < 0 or values.max() > np.iinfo(kind).max):
        found = f"{values.min():g} to {values.max():g}"
        rule = f"The first images hold values of {kind.name}"
        next_step = "Write the images to files yourself."
        raise KitError(path, f"an image has values {found}", rule, next_step, code="values_contradict")
    return values.astype(kind)
