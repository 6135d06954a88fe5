"""Columns of the competition's tables that a model reads (``model.tabular``) or learns to predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from kit.config.base import Section

ColumnType = Literal["auto", "number", "text"]


class ColumnConfig(Section):
    """A column that the model reads besides the image: its name alone, or with its type."""

    name: str
    """The column in the tables of the competition."""
    as_: Annotated[ColumnType, Field(alias="as")] = "auto"
    """How to read its cells; `auto`: numbers if every cell is one. `text` suits numbers that are codes."""

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        if not isinstance(value, str | Mapping | ColumnConfig):
            raise ValueError("a column is its name in quotes, or a mapping such as {name: age, as: text}")
        return {"name": value} if isinstance(value, str) else value


class AuxiliaryConfig(ColumnConfig):
    """A column that the network learns to predict in training only: its name alone, or with its weight."""

    weight: Annotated[float, Field(gt=0)] = 0.3
    """The weight of its loss; the loss of the task has weight 1."""


def _each_once(columns: list[Any]) -> list[Any]:
    names = [column.name for column in columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"the column '{twice[0]}' is listed twice")
    return columns


Tabular = Annotated[list[ColumnConfig], AfterValidator(_each_once)]
Auxiliary = Annotated[list[AuxiliaryConfig], AfterValidator(_each_once)]
