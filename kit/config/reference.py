"""Write the reference of the config: the tables of ``configs/README.md``, generated from the schema."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kit.config import Component, Config, LabeledSource
from kit.config.competition import layout_sections, section_of_layout
from kit.storage.files import write_text

BEGIN, END = "<!-- reference -->", "<!-- /reference -->"
TYPE_NAMES = {str: "text", int: "integer", float: "number", bool: "true, false", NoneType: "null", Any: "any"}
BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"))


def config_reference() -> str:
    """Return Markdown: one table (key, type, default, meaning) per section, in the order of the schema."""
    return "\n".join(_table(title, section) for title, section in _sections())


def write_reference(readme: Path) -> None:
    """Rewrite the part of ``configs/README.md`` between the markers."""
    write_text(readme, with_reference(readme.read_text(encoding="utf-8")))


def with_reference(text: str) -> str:
    """Return a text with the reference between the markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{config_reference()}\n{END}{rest.partition(END)[2]}"


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield title and section: the top level, its sections, theirs; a labeled source once per layout."""
    yield "Top level", Config
    pending: list[tuple[str, type[BaseModel]]] = [("", Config)]
    seen: set[type[BaseModel]] = set()
    while pending:
        prefix, section = pending.pop(0)
        for name, field in section.model_fields.items():
            key = prefix + (field.alias or name)
            for inner in _models_in(field.annotation):
                if inner is Component or inner in seen:
                    continue
                seen.add(inner)
                if inner is LabeledSource:
                    yield from _layouts(key)
                else:
                    yield f"`{key}`", inner
                pending.append((f"{key}.", inner))


def _layouts(key: str) -> Iterator[tuple[str, type[BaseModel]]]:
    section_of_layout("")  # registers the layouts
    for name in layout_sections:
        yield f"`{key}` with `layout: {name}`", layout_sections.get(name)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]


def _table(title: str, section: type[BaseModel]) -> str:
    meaning = _one_line((section.__doc__ or "").partition("\n\n")[0])
    lines = [
        f"### {title}",
        "",
        meaning,
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in section.model_fields.items():
        cells = (
            f"`{field.alias or name}`",
            _type(field),
            _default(field),
            _one_line(field.description or ""),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _one_line(text: str) -> str:
    return re.sub(r"`+", "`", " ".join(text.split()))


def _type(field: FieldInfo) -> str:
    """Return a field's type and range, in words."""
    name = _type_name(field.annotation)
    metadata = [*field.metadata, *_inner_metadata(field.annotation)]
    limits = [
        f"{word} {getattr(item, bound)}"
        for item in metadata
        for bound, word in BOUNDS
        if getattr(item, bound, None) is not None
    ]
    return f"{name}, {', '.join(limits)}" if limits else name


def _inner_metadata(annotation: Any) -> list[Any]:
    """Return the ranges inside an optional type, such as ``Annotated[int, Field(ge=1)] | None``."""
    if typing.get_origin(annotation) in (list, dict):
        return []
    found: list[Any] = []
    for item in getattr(annotation, "__metadata__", ()):
        found += item.metadata if isinstance(item, FieldInfo) else [item]
    for inner in typing.get_args(annotation):
        found += _inner_metadata(inner)
    return found


def _type_name(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in TYPE_NAMES:
        return TYPE_NAMES[annotation]
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin is typing.Literal:
        return ", ".join(f"`{_yaml(value)}`" for value in inner)
    if origin is list:
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return f"mapping {_type_name(inner[0])}: {_type_name(inner[1])}"
    if inner:  # a union
        return " or ".join(dict.fromkeys(map(_type_name, inner)))
    return "name or {name: …, options}" if annotation is Component else "section"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if _is_section(field.default) else f"`{_yaml(field.default)}`"


def _is_section(value: Any) -> bool:
    return isinstance(value, BaseModel) and not isinstance(value, Component)


def _yaml(value: Any) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, Component):
        return value.label
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return (
        {",": "','", ";": "';'", "\t": "'\\t'"}.get(value, str(value))
        if isinstance(value, str)
        else str(value)
    )
