"""Find the images in the columns of a table: encoded bytes, lists of pixel values, or a column per pixel."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kit.competition.unpack.image_files import Row, as_type, image_suffix, stored_type
from kit.competition.unpack.pixel_shape import find_shape
from kit.errors import KitError, counted, first_few

MIN_PIXELS = 64  # values of a list or columns of a table that can be an image
BASE64_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD")
ID_WORDS = ("id", "name", "image", "img", "file", "filename", "key", "path")
Cells = Mapping[str, Sequence[Any]]  # column -> values


class ImagesInTable(NamedTuple):
    """Where a table has its images.

    Attributes:
        columns: The columns of the images; they are not written to the CSV.
        read: Cells of some rows -> their images.
        about: What the images are, for people.
    """

    columns: list[str]
    read: Callable[[Cells], Sequence[bytes | np.ndarray]]
    about: str


def find_images(sample: Cells, path: Path) -> ImagesInTable | None:
    """Return where a table has its images; None: it has none.

    Args:
        sample: Some rows of all columns.

    Raises:
        KitError: It has images in a form that kit does not read.
    """
    encoded = [name for name, values in sample.items() if _encoded(_first(values)) is not None]
    if len(encoded) > 1:
        raise _unknown(path, f"has images in {counted(len(encoded), 'column')} ({first_few(encoded)})")
    if encoded:
        column = encoded[0]
        about = f"images of '{column}'"
        return ImagesInTable([column], lambda rows: [_encoded(cell) or b"" for cell in rows[column]], about)
    lists = [name for name, values in sample.items() if _is_pixels(_first(values))]
    if lists:
        return _from_lists(sample, lists, path)
    wide = _pixel_columns(sample)
    return _from_columns(sample, wide, path) if wide else None


def _unknown(path: Path, problem: str) -> KitError:
    rule = "kit unpacks one encoded image, or up to three lists of pixels, per row"
    return KitError(path, problem, rule, "Write the images to files yourself.", code="images_unknown")


def _first(values: Sequence[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _encoded(value: Any) -> bytes | None:
    """Return the bytes of an encoded image in a cell, also in a mapping with ``bytes`` or in base64."""
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, str) and value.startswith(BASE64_STARTS):
        try:
            value = base64.b64decode(value)
        except binascii.Error:
            return None
    return value if isinstance(value, bytes) and image_suffix(value) is not None else None


def _is_pixels(value: Any) -> bool:
    if not isinstance(value, (list, np.ndarray)) or len(value) == 0:
        return False
    try:
        array = np.asarray(value)
    except ValueError:
        return False  # rows of different lengths
    return array.dtype.kind in "uif" and array.size >= MIN_PIXELS and array.ndim in (1, 2, 3)


def _from_lists(sample: Cells, columns: list[str], path: Path) -> ImagesInTable:
    if len(columns) > 3:
        problem = f"has {len(columns)} lists of pixels per row ({first_few(columns)})"
        raise _unknown(path, problem)
    arrays = [np.asarray(value) for column in columns for value in sample[column] if value is not None]
    kind = stored_type(np.concatenate([array.ravel() for array in arrays]))
    layout, text = _layout(arrays, path)

    def image(*values: Any) -> np.ndarray:
        bands = [layout(np.asarray(value)) for value in values]
        if len(bands) == 2:
            bands.append((bands[0] + bands[1]) / 2)
        return as_type(bands[0] if len(bands) == 1 else np.dstack(bands), kind, path)

    def read(rows: Cells) -> list[np.ndarray]:
        return [image(*values) for values in zip(*(rows[column] for column in columns), strict=True)]

    mean = ", and as third channel their mean" if len(columns) == 2 else ""
    return ImagesInTable(columns, read, f"images {text} of {', '.join(columns)}{mean}")


def _layout(arrays: list[np.ndarray], path: Path) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise _unknown(path, f"has lists of different lengths ({first_few(sorted(map(str, shapes)))})")
    if arrays[0].ndim > 1:
        return lambda values: values, " x ".join(map(str, arrays[0].shape))
    shape = find_shape(np.stack(arrays), path)
    return shape.image, shape.text


def _pixel_columns(sample: Cells) -> list[str]:
    """Return the columns of pixels: numbers, or a word and numbers, that count up; none if too few."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name, values in sample.items():
        match = re.fullmatch(r"(.*?)(\d+)", name)
        if match and isinstance(_first(values), (int, float, np.number)):
            groups.setdefault(match[1], []).append((int(match[2]), name))
    by_size = sorted(groups.values(), key=lambda group: len(group))
    most = sorted(by_size[-1]) if by_size else []
    numbers = [number for number, _ in most]
    counts_up = bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return [name for _, name in most] if counts_up and len(most) >= MIN_PIXELS else []


def _from_columns(sample: Cells, columns: list[str], path: Path) -> ImagesInTable:
    def matrix(rows: Cells) -> np.ndarray:
        return np.column_stack([np.asarray(rows[column]) for column in columns])

    pixels = matrix(sample)
    kind, shape = stored_type(pixels), find_shape(pixels, path)

    def read(rows: Cells) -> list[np.ndarray]:
        return [as_type(shape.image(row), kind, path) for row in matrix(rows)]

    return ImagesInTable(columns, read, f"images {shape.text} of {counted(len(columns), 'column')}")


def find_id(sample: Cells, images: ImagesInTable, unique: Callable[[str], bool]) -> str | None:
    """Return the column that names the images by its own name: unique text or whole numbers; or None.

    Args:
        unique: Whether all values of a column differ.
    """
    named, of_images = list[tuple[int, str]](), set(images.columns)
    for name in sample.keys() - of_images:
        words = re.findall(r"[a-z]+", name.lower())
        rank = min((ID_WORDS.index(word) for word in words if word in ID_WORDS), default=None)
        if rank is not None and isinstance(_first(sample[name]), (str, int, np.integer)):
            named.append((rank, name))
    return next((name for _, name in sorted(named) if unique(name)), None)


def rows_of(batches: Iterator[Cells], images: ImagesInTable, id_column: str | None) -> Iterator[Row]:
    """Return the rows of a table; without a column of ids they are named by their numbers, as ``id``."""
    number = 0
    for batch in batches:
        skipped = set(images.columns)
        others = {column: values for column, values in batch.items() if column not in skipped}
        has_more = bool(others.keys() - {id_column})  # ids alone say nothing that the names do not
        for position, image in enumerate(images.read(batch)):
            cells = {column: values[position] for column, values in others.items()}
            name = str(number) if id_column is None else str(cells[id_column])
            cells = cells if id_column else {"id": name, **cells}
            yield Row(_without_suffix(name), image, cells if has_more else {})
            number += 1


def _without_suffix(name: str) -> str:
    """Return an id without the suffix of an image, which the file gets again."""
    return re.sub(r"\.(jpe?g|png|gif|tiff?|webp|bmp)$", "", name, flags=re.IGNORECASE)
