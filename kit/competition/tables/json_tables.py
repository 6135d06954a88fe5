"""Read JSON as a table of text: COCO's images and annotations, records, or a map from ids to values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from kit.errors import KitError
from kit.storage.json_mistakes import json_mistake

RULE = (
    "A JSON table is a list of objects, one object of objects or values, or COCO's images, annotations and "
    "categories"
)
SKIPPED = ("id", "image_id", "iscrowd", "area")  # of an annotation: they say nothing about the image
CATEGORY = "category"  # the column with the names of COCO's categories

Record = Mapping[str, Any]


def read_json(path: Path) -> pd.DataFrame:
    """Return a JSON file as a table of text; numbers keep their spelling.

    COCO's format gives a row per annotation: the fields of its image (``id`` becomes ``image_id``), of the
    annotation, and ``category``, the name of its category. An image without annotations has one row.

    Raises:
        KitError: The file is not JSON, or not a table.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=str, parse_int=str)
    except UnicodeDecodeError:
        raise  # read_table says so, as of every table
    except (ValueError, RecursionError) as error:
        raise KitError(path, json_mistake(error), RULE, code="not_json") from error
    return _table(_records(content, path))


def read_json_lines(path: Path) -> pd.DataFrame:
    """Return a file with one JSON object per line as a table of text.

    Raises:
        KitError: A line is not a JSON object.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            record = json.loads(line, parse_float=str, parse_int=str) if line.strip() else {}
        except (ValueError, RecursionError) as error:
            raise KitError(f"{path}, line {number}", _mistake_in_line(error), code="not_json") from error
        if not isinstance(record, dict):
            raise KitError(f"{path}, line {number}", "is not a JSON object", code="not_a_table")
        records += [record] if record else []
    return _table(records)


def _mistake_in_line(error: ValueError | RecursionError) -> str:
    column = f" from column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    return f"is not a JSON object{column}"


def _records(content: object, path: Path) -> Sequence[Record]:
    """Return the rows of a JSON file."""
    if isinstance(content, dict) and _are_records(content.get("images")):
        return _coco_records(content)
    if _are_records(content):
        return content
    if isinstance(content, dict) and content:
        values = list(content.values())
        if all(isinstance(value, dict) for value in values):
            return [{"key": key, **value} for key, value in content.items()]
        if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
            return [dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)]
        if not any(isinstance(value, list | dict) for value in values):
            return [{"key": key, "value": value} for key, value in content.items()]
    raise KitError(path, "is no table", RULE, code="not_a_table")


def _are_records(content: object) -> TypeGuard[list[Record]]:
    return isinstance(content, list) and bool(content) and all(isinstance(each, dict) for each in content)


def _coco_records(content: Mapping[str, Any]) -> list[Record]:
    """Return a row per annotation; images without annotations have one row."""
    names = _category_names(content.get("categories") or [])
    annotated = bool(content.get("annotations"))
    annotations: dict[object, list[Record]] = {}
    for each in content.get("annotations") or []:
        annotations.setdefault(each.get("image_id"), []).append(each)
    records: list[Record] = []
    for image in content["images"]:
        image_id = image.get("id", image.get("image_id"))
        fields = {"image_id": image_id, **{k: v for k, v in image.items() if k not in ("id", "image_id")}}
        for each in annotations.get(image_id, [{}]):
            own = {key: value for key, value in each.items() if key not in SKIPPED}
            named = {CATEGORY: names.get(each.get("category_id"), "")} if names and annotated else {}
            records.append({**fields, **own, **named})
    return records


def _category_names(categories: Iterable[Record]) -> dict[object, str]:
    """Return id -> name of the categories; nothing if names are missing or repeated."""
    names = {
        each.get("id", each.get("category_id")): each.get("name", each.get("scientificName"))
        for each in categories
    }
    found: dict[object, str] = {key: str(name) for key, name in names.items() if None not in (key, name)}
    return found if len(set(found.values())) == len(names) else {}


def _table(records: Sequence[Record]) -> pd.DataFrame:
    """Return records as text; columns of objects or of nested lists are left out, lists become JSON."""
    columns = dict.fromkeys(key for record in records for key in record)
    kept = {
        name: [_cell(record.get(name)) for record in records]
        for name in columns
        if not any(_is_nested(record.get(name)) for record in records)
    }
    return pd.DataFrame(kept, dtype=str)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(each, dict | list) for each in value)
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
