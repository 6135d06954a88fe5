"""What every section of the YAML shares: strictness, names, and components with options of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kit.errors import KitError

T = TypeVar("T")
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]


class Section(BaseModel):
    """A mapping in the YAML: unknown keys and wrong types are errors, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, serialize_by_alias=True, validate_by_name=True
    )


class Component(BaseModel):
    """A registered thing and its options: ``{name: cross_entropy, label_smoothing: 0.1}``, or its bare name.

    The options are checked against the signature of what the name stands for, where that is known.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})

    @property
    def label(self) -> str:
        """The component on one line.

        >>> Component(name="random", times=4).label
        'random(times=4)'
        """
        options = ", ".join(f"{key}={json.dumps(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}({options})" if options else self.name


def options_of(name: str) -> BeforeValidator:
    """Return what lets a component be given by options alone: they are then those of ``name``."""

    def with_name(value: Any) -> Any:
        return {"name": name, **value} if isinstance(value, dict) else value

    return BeforeValidator(with_name)


def at_epoch(plan: Mapping[int, T], epoch: int) -> T:
    """Return what a plan says for an epoch: the entry that begins with it, or the last one before it.

    >>> at_epoch({1: 128, 8: 224}, 7)
    128
    """
    return plan[max(start for start in plan if start <= epoch)]


def check_name(name: str, where: str) -> None:
    """Refuse what cannot be the name of an experiment, blend or competition, since it becomes a file's."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise KitError(
            f"{where} {name}", "is no name for a file", "Letters, digits, dots, dashes, underscores"
        )
