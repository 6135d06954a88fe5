"""The values that each JSON artifact must have, so that a reader never meets a value of another type."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _file_name(value: Any) -> bool:
    return _text(value) and PurePath(value).name == value


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _score(value: Any) -> bool:
    """Whether a value is a finite number, or null: a score that is not finite."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(value))


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _components(value: Any) -> bool:
    """Whether a value is a list of objects with a name: steps of a postprocessing."""
    return isinstance(value, list) and all(_mapping(each) and _text(each.get("name")) for each in value)


def _method(value: Any) -> bool:
    return _mapping(value) and _text(value.get("name"))


def _blend_scores(value: Any) -> bool:
    """Whether a value is the evaluation of a blend; null: its members have different folds."""
    if value is None:
        return True
    members = value.get("members") if _mapping(value) else None
    has_interval = _mapping(value) and {"low", "high"} <= set(value)
    of_members = isinstance(members, list) and all(
        _mapping(each) and {"label", "weight"} <= set(each) for each in members
    )
    return has_interval and of_members and _score(value["low"]) and _score(value["high"])


def _submission_config(value: Any) -> bool:
    return _mapping(value) and (value.get("submission") is None or _mapping(value["submission"]))


REQUIRED: Mapping[str, Mapping[str, Check]] = {
    "training_data": {"models": _count},
    "model": {"model": _text, "score": _score},
    "postprocessing": {"asked": _components, "steps": _components},
    "blend": {
        "method": _method,
        "members": _names,
        "command": _text,
        "config": _mapping,
        "worth": _blend_scores,
    },
}
CHECKED_IF_PRESENT: Mapping[str, Mapping[str, Check]] = {
    "submission": {
        "file": _file_name,
        "sha256": _text,
        "experiment": _text,
        "predictions": _text,
        "decision": _components,
        "config": _submission_config,
    },
}  # an older submission may lack some: it is listed, and cannot be reproduced
INPUTS: Mapping[str, tuple[str, ...]] = {
    "training_data": ("folds", "images"),
    "model": ("folds", "images", "config"),
}


def wrong_fields(kind: str, values: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """Return the names of values and inputs of an artifact that are missing or of another type.

    Args:
        kind: The kind of the artifact, as its identity says.
        inputs: Input -> its digest.
    """
    wrong = [name for name, fits in REQUIRED.get(kind, {}).items() if not fits(values.get(name))]
    optional = CHECKED_IF_PRESENT.get(kind, {})
    wrong += [name for name, fits in optional.items() if name in values and not fits(values[name])]
    return wrong + [f"the input {name}" for name in INPUTS.get(kind, ()) if name not in inputs]
