"""Unpackers of images in Parquet, JSON and BSON files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit.competition.unpack.image_files import Row, image_suffix, write_rows
from kit.competition.unpack.packed import DOWNLOAD_AGAIN, Packed, register_unpacker
from kit.competition.unpack.records import Cells, ImagesInTable, find_id, find_images, rows_of
from kit.errors import KitError
from kit.runtime.progress import Progress
from kit.storage.json_mistakes import json_mistake

SAMPLED = 50  # rows in which images are searched
BATCH = 200  # rows in memory, more of wide tables of numbers, of which reading a row takes long
WIDE_BATCH, MAX_CELLS = 5000, 40_000_000
SNIFFED = 100_000  # bytes of a JSON file that show whether it may hold images
MANY_NUMBERS = re.compile(r"\[\s*(?:-?[\d.eE+-]+\s*,\s*){63}")
BASE64_IMAGE = re.compile(r"\"(?:/9j/|iVBORw0KGgo|R0lGOD)")


@register_unpacker(".parquet", few=True)
def open_parquet(path: Path, max_bytes: int) -> Packed | None:
    """Return the images of a Parquet file; None: it is a table without images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        sample = next(file.iter_batches(batch_size=SAMPLED), None)
    except (pa.ArrowException, OSError) as error:
        problem = "is damaged, or not a Parquet file"
        raise KitError(path, problem, *DOWNLOAD_AGAIN, code="archive_damaged") from error
    cells = {} if sample is None else _cells(sample)
    if (images := find_images(cells, path)) is None:
        return None

    def unique(name: str) -> bool:
        values = file.read(columns=[name]).column(name)
        return bool(len(values.unique()) == len(values) and values.null_count == 0)

    id_column = find_id(cells, images, unique)

    size = max(BATCH, min(WIDE_BATCH, MAX_CELLS // len(images.columns))) if len(images.columns) > 3 else BATCH

    def batches() -> Iterator[Cells]:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=size):
            yield _cells(batch)

    def write(folder: Path, progress: Progress) -> None:
        rows = rows_of(batches(), images, id_column)
        write_rows(path, folder, rows, file.metadata.num_rows, max_bytes, progress)

    return Packed({}, write, _about(images, id_column, path, cells))


def _cells(batch: Any) -> Cells:
    """Return column -> values of a record batch; columns of numbers are arrays, for speed."""
    return {
        name: column.to_pylist() if column.null_count or not _is_number(column) else column.to_numpy()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _is_number(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


@register_unpacker(".json", few=True)
def open_json(path: Path, max_bytes: int) -> Packed | None:
    """Return the images of a JSON list of records; None: it holds something else, such as annotations."""
    with path.open("rb") as file:
        start = file.read(SNIFFED).decode("utf-8", errors="replace").removeprefix("\ufeff").lstrip()
    holds_images = MANY_NUMBERS.search(start) or BASE64_IMAGE.search(start)
    if not re.match(r"\[\s*\{", start) or not holds_images:
        return None
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise KitError(path, json_mistake(error), *DOWNLOAD_AGAIN, code="archive_damaged") from error
    cells = {name: [record.get(name) for record in records] for name in records[0]}
    sample = {name: values[:SAMPLED] for name, values in cells.items()}
    if (images := find_images(sample, path)) is None:
        return None
    id_column = find_id(sample, images, lambda name: len(set(map(str, cells[name]))) == len(records))

    def write(folder: Path, progress: Progress) -> None:
        rows = rows_of(iter([cells]), images, id_column)
        write_rows(path, folder, rows, len(records), max_bytes, progress)

    return Packed({}, write, _about(images, id_column, path, sample))


def _about(images: ImagesInTable, id_column: str | None, path: Path, sample: Cells) -> str:
    named = f"named by '{id_column}'" if id_column else "named by their row"
    others = sample.keys() - {*images.columns, id_column}
    return f"{images.about}, {named}" + (f"; other columns in {path.stem}.csv" if others else "")


@register_unpacker(".bson", few=True)
def open_bson(path: Path, max_bytes: int) -> Packed:
    """Return the images of a BSON file: documents with an id, and one image or a list of images."""
    if find_spec("bson") is None:
        rule = "kit reads BSON files with the extra `bson`"
        next_step = "pip install 'kit[bson]'"
        raise KitError(path, "needs the module bson", rule, next_step, code="extra_missing")

    def write(folder: Path, progress: Progress) -> None:
        write_rows(path, folder, _documents(path), 0, max_bytes, progress)

    about = f"images named by '_id', several of one document in a folder; other fields in {path.stem}.csv"
    return Packed({}, write, about)


def _documents(path: Path) -> Iterator[Row]:
    """Return the images of every document; the cells of a document go with its first image."""
    import bson

    with path.open("rb") as file:
        try:
            for document in bson.decode_file_iter(file):
                yield from _images_of(path, document)
        except bson.errors.InvalidBSON as error:
            problem = "is damaged, or not a BSON file"
            raise KitError(path, problem, *DOWNLOAD_AGAIN, code="archive_damaged") from error


def _images_of(path: Path, document: dict[str, Any]) -> Iterator[Row]:
    fields = {name: list(_image_bytes(value)) for name, value in document.items()}
    with_images = [name for name, found in fields.items() if found]
    if len(with_images) != 1 or "_id" not in document:
        problem = f"a document has images in {len(with_images)} fields, or no _id"
        rule = "kit unpacks documents with an _id and one field of images"
        raise KitError(path, problem, rule, code="images_unknown")
    (field,) = with_images
    cells = {name: value for name, value in document.items() if name != field}
    is_list = isinstance(document[field], list)
    for number, image in enumerate(fields[field]):
        name = f"{document['_id']}/{number}" if is_list else str(document["_id"])
        yield Row(name, image, cells if number == 0 else {})


def _image_bytes(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes) and image_suffix(value) is not None:
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _image_bytes(inner)
