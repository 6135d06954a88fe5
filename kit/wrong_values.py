"""Say what a value must be, for the mistakes that pydantic finds, in kit's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULES = {  # pydantic's type of a mistake -> what the value must be; braces hold values of its context
    "greater_than": "Must be greater than {gt}",
    "greater_than_equal": "Must be at least {ge}",
    "less_than": "Must be less than {lt}",
    "less_than_equal": "Must be at most {le}",
    "finite_number": "Must be a finite number",
    "int_type": "Must be a whole number",
    "int_parsing": "Must be a whole number",
    "int_from_float": "Must be a whole number",
    "float_type": "Must be a number",
    "float_parsing": "Must be a number",
    "bool_type": "Must be true or false",
    "bool_parsing": "Must be true or false",
    "string_type": "Must be text",
    "string_too_short": "Must have at least {min_length} characters",
    "string_too_long": "Must have at most {max_length} characters",
    "string_pattern_mismatch": "Must match the pattern {pattern}",
    "list_type": "Must be a list",
    "tuple_type": "Must be a list",
    "set_type": "Must be a list",
    "dict_type": "Must be a mapping: `key: value`",
    "model_type": "Must be a mapping: `key: value`",
    "model_attributes_type": "Must be a mapping: `key: value`",
    "too_short": "Number of entries: {min_length} or more",
    "too_long": "Number of entries: at most {max_length}",
    "none_required": "Must be null",
    "literal_error": "Allowed: {expected}",
    "missing_argument": "Must have more entries",
}


def rule_for(mistake: Mapping[str, Any]) -> str:
    """Return what a value must be.

    Args:
        mistake: An entry of pydantic's ``ValidationError.errors()``.
    """
    kind, context = mistake["type"], dict(mistake.get("ctx") or {})
    if kind in ("value_error", "assertion_error"):
        return str(mistake["msg"]).partition(", ")[2]  # kit's own message behind pydantic's prefix
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace("'", "").replace(" or ", ", ")
    return RULES.get(kind, "Is not a value of this key").format(**context)


def shown_value(value: object, limit: int = 60) -> str:
    """Return a wrong value as text for a message, on one line and not longer than ``limit`` characters."""
    return printable(repr(value), limit)


def printable(text: str, limit: int = 60) -> str:
    """Return text on one line, without control characters, not longer than ``limit`` characters."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
