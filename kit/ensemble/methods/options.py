"""Parse the method and the options of ``kit blend``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kit.config import Component
from kit.ensemble.methods.registry import METHOD, blend_methods
from kit.errors import KitError

OPTION = "--option"


def parse_method(name: str, options: Sequence[str]) -> Component:
    """Return a method with its options, texts ``key=value`` with the value in YAML.

    Raises:
        KitError: The method is unknown, or an option has no key or is not valid YAML.
    """
    import yaml

    blend_methods.get(name, METHOD)  # raises if unknown
    values: dict[str, Any] = {"name": name}
    for option in options:
        key, equals, text = option.partition("=")
        key = key.strip()
        if not equals or not key or key == "name":
            raise KitError(
                f"{OPTION} {option}",
                "is not an option of a method",
                f"The format is KEY=VALUE, as in {OPTION} negative=true",
                code="option_invalid",
            )
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise KitError(
                f"{OPTION} {option}",
                "is not valid YAML",
                f"The format is KEY=VALUE, as in {OPTION} steps=50",
                code="option_invalid",
            ) from error
    return Component.model_validate(values)
