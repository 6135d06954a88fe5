"""A claim of a benchmark: a measured value and its limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

HEADER = ["claim", "measured", "limit", "holds", "details"]


@dataclass(frozen=True)
class Claim:
    """A measured value and its limit.

    Attributes:
        name: The measured quantity.
        value: None if it cannot be measured on this machine; ``detail`` says why.
        limit: None if the value is only reported.
        better: The side of the limit on which the value must be; the limit itself is allowed.
        unit: ``x`` for a ratio of two measurements of the same run.
        detail: The numbers behind the value.
    """

    name: str
    value: float | None
    limit: float | None
    better: Literal["higher", "lower"]
    unit: str = "x"
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether the value is within the limit; also True without a value or a limit, and False for NaN."""
        if self.value is None or self.limit is None:
            return True
        return self.value >= self.limit if self.better == "higher" else self.value <= self.limit

    def row(self) -> str:
        """Return the claim as a row of a Markdown table with ``HEADER``."""
        measured = "not measured" if self.value is None else self._with_unit(self.value)
        sign = "≥" if self.better == "higher" else "≤"
        limit = "none" if self.limit is None else f"{sign} {self._with_unit(self.limit)}"
        holds = "" if self.value is None or self.limit is None else "yes" if self.holds else "**no**"
        return table_row([self.name, measured, limit, holds, self.detail])

    def _with_unit(self, value: float) -> str:
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return f"{shown} {self.unit}".rstrip()


def not_measured(name: str, why: str, better: Literal["higher", "lower"] = "lower") -> Claim:
    """Return a claim that cannot be measured on this machine."""
    return Claim(name, None, None, better, detail=f"not measured: {why}")


def table_row(cells: Iterable[str]) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def show(claims: Iterable[Claim]) -> None:
    """Print claims as a Markdown table."""
    print(table_row(HEADER), table_row(["---"] * len(HEADER)), sep="\n")
    for claim in claims:
        print(claim.row(), flush=True)
