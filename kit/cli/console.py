"""Print results on stdout, and progress and errors on stderr."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console, RenderableType

T = TypeVar("T")
out = Console(soft_wrap=False, highlight=False)
err = Console(stderr=True, highlight=False)
PLAIN_WIDTH = 200  # characters per line of tables in a file or a pipe, where no terminal limits the width


class Terminal:
    """Progress on stderr: a line per stage, note and warning, and progress bars if stderr is a terminal."""

    def stage(self, name: str, detail: str = "") -> None:
        """Print the stage's name, bold."""
        err.print(f"[bold cyan]{name}[/bold cyan]", end=" ")
        err.print(detail, markup=False)

    def note(self, text: str) -> None:
        """Print an indented line."""
        err.print(f"  {text}", markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print an indented line in yellow."""
        err.print(f"  warning: {text}", markup=False, style="yellow", soft_wrap=True)

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``, with a progress bar if stderr is a terminal."""
        if not err.is_terminal:
            yield from items
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as bars:
            task = bars.add_task(label, total=total)
            for item in items:
                yield item
                bars.advance(task)


def show(*tables: RenderableType) -> None:
    """Print tables and lines on stdout."""
    if not out.is_terminal:
        out.width = PLAIN_WIDTH
    for position, table in enumerate(tables):
        if position and not isinstance(table, str):
            out.print()
        out.print(table)


def show_json(values: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    from kit.storage.files import json_text

    sys.stdout.write(json_text(values))
