"""What a benchmark says of kit: a figure and the bar that it has to clear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

HEADER = ["claim", "measured", "bar", "holds", "in detail"]


@dataclass(frozen=True)
class Claim:
    """A figure, and the bar that it has to clear.

    Attributes:
        figure: None where it cannot be measured here; ``detail`` says why.
        bar: None where the figure is only told.
        better: On which side of the bar it has to be; on the bar is well.
        unit: ``x`` for a ratio of two things that were measured in one run.
        detail: What the figure was made of.
    """

    what: str
    figure: float | None
    bar: float | None
    better: Literal["higher", "lower"]
    unit: str = "x"
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing measured speaks against it; a figure that is not a number does."""
        if self.figure is None or self.bar is None:
            return True
        return self.figure >= self.bar if self.better == "higher" else self.figure <= self.bar

    def row(self) -> str:
        """Return it as a row of a markdown table, under ``HEADER``."""
        measured = "not measured" if self.figure is None else self._with_unit(self.figure)
        sign = "≥" if self.better == "higher" else "≤"
        bar = "not a bar" if self.bar is None else f"{sign} {self._with_unit(self.bar)}"
        says = "" if self.figure is None or self.bar is None else "yes" if self.holds else "**no**"
        return table_row([self.what, measured, bar, says, self.detail])

    def _with_unit(self, value: float) -> str:
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return f"{shown} {self.unit}".rstrip()


def not_measured(what: str, why: str, better: Literal["higher", "lower"] = "lower") -> Claim:
    """Return the claim of what cannot be measured on this machine."""
    return Claim(what, None, None, better, detail=f"not measured: {why}")


def table_row(cells: Iterable[str]) -> str:
    """Return one row of a markdown table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def show(claims: Iterable[Claim]) -> None:
    """Print claims as a markdown table."""
    print(table_row(HEADER), table_row(["---"] * len(HEADER)), sep="\n")
    for claim in claims:
        print(claim.row(), flush=True)
