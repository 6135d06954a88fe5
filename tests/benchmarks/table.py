"""Write the table of claims, with machine, date, versions and command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kit.runtime.environment import processor
from tests.benchmarks.claim import HEADER, Claim, table_row

LIBRARIES = ("torch", "timm", "numpy", "pandas", "kit")


@dataclass(frozen=True)
class Outcome:
    """The result of one benchmark: its claims, or the error that ended it."""

    name: str
    claims: Sequence[Claim] = ()
    crash: str = ""

    @property
    def holds(self) -> bool:
        """Whether the benchmark finished and every claim holds."""
        return not self.crash and all(claim.holds for claim in self.claims)

    def rows(self) -> list[str]:
        """Return the rows of the table; a crash is one row."""
        crash = [table_row([f"**{self.name} crashed**", "", "", "**no**", self.crash])] if self.crash else []
        return [*(claim.row() for claim in self.claims), *crash]


def table_of(outcomes: Iterable[Outcome], command: str) -> str:
    """Return the table, below a line with command, date, machine and versions."""
    about = f"`{command}`, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, on {machine()}; {versions()}:"
    rows = [row for outcome in outcomes for row in outcome.rows()]
    return "\n".join([about, "", table_row(HEADER), table_row(["---"] * len(HEADER)), *rows])


def machine() -> str:
    """Return the processor, the number of cores, the memory and the GPU, as text."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{processor()}, {os.cpu_count()} cores", f"{memory:.0f} GiB of memory", _gpu()]
    return ", ".join(part for part in parts if part)


def _gpu() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "no GPU"


def versions() -> str:
    """Return the versions of Python and of the main libraries."""
    named = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return f"Python {platform.python_version()}, {', '.join(named)}"


def with_table(text: str, table: str, marker: str = "bench") -> str:
    """Return a text with the table between ``<!-- marker -->`` and ``<!-- /marker -->``.

    Raises:
        ValueError: The text does not have both markers once, the opening one first.
    """
    opening, closing = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed or opening in after or closing in before + after:
        raise ValueError(f"needs {opening} and then {closing}, once each")
    return f"{before}{opening}\n{table}\n{closing}{after}"
