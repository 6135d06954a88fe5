"""The base of every section of the YAML, names, and components with their own options."""

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
    """A mapping in the YAML. Unknown keys and wrong types are errors; values cannot change after loading.

    The docstring below a field is its description in ``configs/README.md``.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )


class Component(BaseModel):
    """A registered name with its options, ``{name: cross_entropy, label_smoothing: 0.1}``, or the name alone.

    The options are checked against the signature of the registered function (see ``Registry.bind``).
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """All keys except the name."""
        return dict(self.model_extra or {})

    @property
    def label(self) -> str:
        """The component on one line.

        >>> Component(name="random", times=4).label
        'random(times=4)'
        """
        options = ", ".join(f"{key}={json.dumps(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}({options})" if options else self.name


def default_name(name: str) -> BeforeValidator:
    """Return a validator that accepts a component without a name and names it ``name``."""

    def with_name(value: Any) -> Any:
        return {"name": name, **value} if isinstance(value, dict) else value

    return BeforeValidator(with_name)


def at_epoch(plan: Mapping[int, T], epoch: int) -> T:
    """Return the value of a plan at an epoch: the value of the last entry at or before the epoch.

    >>> at_epoch({1: 128, 8: 224}, 7)
    128
    """
    return plan[max(start for start in plan if start <= epoch)]


def check_name(name: str, where: str) -> None:
    """Refuse a name of an experiment, blend or competition that is not a valid file name."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise KitError(
            f"{where} {name}",
            "is not a valid name",
            "Names consist of letters, digits, dots, dashes and underscores",
            code="name_invalid",
        )
