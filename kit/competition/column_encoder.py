"""Encode metadata columns as numbers: scaled numbers and category indices, fitted on training rows only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit.errors import counted
from kit.natural import natural_key
from kit.submission_format.spelling import NUMBER

NO_NUMBER = frozenset({"", "nan", "na", "n/a", "null", "none"})  # missing numbers, in any case
NO_TEXT = frozenset({"", "nan"})  # missing texts: NA and none may be categories
FARTHEST = 10.0  # standard deviations: a number farther from the mean is moved there
ROUNDING = 1e-9  # the share of the mean below which a standard deviation is a rounding error
UNKNOWN = 0  # index of a category that is missing or was not in the training rows


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, scaled with the mean and the standard deviation of the training rows."""

    name: str
    mean: float
    std: float

    categories = None

    @classmethod
    def fitted(cls, name: str, cells: pd.Series) -> NumberColumn:
        """Return the scale of the numbers in some cells; without any, 0 and 1."""
        numbers = numbers_of(cells)
        numbers = np.sort(numbers[~np.isnan(numbers)])  # sorted: the order of rows changes no digit
        if not len(numbers):
            return cls(name, 0.0, 1.0)
        mean, std = float(numbers.mean()), float(numbers.std())
        return cls(name, mean, 1.0 if std <= ROUNDING * abs(mean) else std)

    def encode(self, cells: pd.Series) -> np.ndarray:
        """Return scaled numbers, (N,); NaN: missing."""
        scaled: np.ndarray = np.clip((numbers_of(cells) - self.mean) / self.std, -FARTHEST, FARTHEST)
        return scaled

    def describe(self) -> str:
        """Return what the column holds, in words."""
        return f"{self.name} (numbers, mean {self.mean:.3g}, std {self.std:.3g})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "mean": self.mean, "std": self.std}


@dataclass(frozen=True)
class TextColumn:
    """A column of categories: those of the training rows, and one for all others."""

    name: str
    known: tuple[str, ...]

    @property
    def categories(self) -> int:
        """The number of known categories."""
        return len(self.known)

    @classmethod
    def fitted(cls, name: str, cells: pd.Series) -> TextColumn:
        """Return the categories in some cells, in natural order."""
        texts = cells.str.strip()
        found = set(texts[~texts.str.lower().isin(NO_TEXT)])
        return cls(name, tuple(sorted(found, key=lambda text: (natural_key(text), text))))

    def encode(self, cells: pd.Series) -> np.ndarray:
        """Return category indices from 1, (N,); ``UNKNOWN``: missing, or not among the known ones."""
        index = {text: number for number, text in enumerate(self.known, start=1)}
        return np.array([index.get(text.strip(), UNKNOWN) for text in cells], dtype=np.float64)

    def describe(self) -> str:
        """Return what the column holds, in words."""
        return f"{self.name} ({counted(len(self.known), 'category', 'categories')})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "categories": list(self.known)}


Column = NumberColumn | TextColumn


@dataclass(frozen=True)
class ColumnEncoder:
    """The columns that a model reads or predicts, with what was fitted on its training rows."""

    columns: tuple[Column, ...]

    @classmethod
    def fitted(cls, cells: pd.DataFrame, kinds: Mapping[str, type[Column]]) -> ColumnEncoder:
        """Return the encoder of some rows.

        Args:
            cells: One column per name, as text: the training rows of a fold.
            kinds: Name -> type of the column, in the order of the model's input.
        """
        return cls(tuple(kind.fitted(name, cells[name]) for name, kind in kinds.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The number of categories of each column; None: numbers."""
        return tuple(column.categories for column in self.columns)

    def encode(self, cells: pd.DataFrame | None, rows: int) -> np.ndarray:
        """Return encoded cells (N, K), float32: a scaled number or NaN, or a category index.

        Args:
            cells: As text; a column that is absent is missing in every row. None: all columns are.
            rows: N.
        """
        blank = pd.Series([""] * rows, dtype=str)
        given = pd.DataFrame(index=range(rows)) if cells is None else cells
        encoded = [column.encode(given.get(column.name, blank)) for column in self.columns]
        matrix: np.ndarray = np.stack(encoded, axis=1).astype(np.float32)
        return matrix

    def describe(self) -> str:
        """Return what the columns hold, in words."""
        return ", ".join(column.describe() for column in self.columns)

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain values, for the metadata of a checkpoint."""
        return [column.as_dict() for column in self.columns]

    @classmethod
    def from_list(cls, values: Sequence[Mapping[str, Any]]) -> ColumnEncoder:
        """Return the encoder of ``as_list``."""
        return cls(
            tuple(
                NumberColumn(each["name"], each["mean"], each["std"])
                if "mean" in each
                else TextColumn(each["name"], tuple(each["categories"]))
                for each in values
            )
        )


def numbers_of(cells: pd.Series) -> np.ndarray:
    """Return the numbers in cells, (N,), float64; NaN: missing, or no number with a decimal point."""
    texts = cells.str.strip()
    return np.array([_number(text) for text in texts], dtype=np.float64)


def _number(text: str) -> float:
    if NUMBER.fullmatch(text) is None or "," in text:
        return float("nan")
    number = float(text)
    return number if np.isfinite(number) else float("nan")
