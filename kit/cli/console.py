"""Print results on stdout, and progress and errors on stderr."""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.text import Text

from kit.report.fit import lines_of, unwrapped

T = TypeVar("T")
out = Console(soft_wrap=False, highlight=False)
err = Console(stderr=True, highlight=False)
PLAIN_WIDTH = 80  # characters per line in a file or a pipe, where no terminal limits the width


class Terminal:
    """Progress on stderr: a line per stage, note and warning.

    If stderr is a terminal, a progress bar shows the loop that runs and the latest state; elsewhere every
    state is a line.
    """

    state = ""

    def stage(self, name: str, detail: str = "") -> None:
        """Print the stage's name, bold."""
        self.state = ""
        print_lines(err, Text.assemble((name, "bold cyan"), f" {detail}" if detail else ""))

    def note(self, text: str) -> None:
        """Print an indented line."""
        self.state = ""
        print_lines(err, Text(f"  {text}"))

    def warn(self, text: str) -> None:
        """Print an indented line in yellow."""
        print_lines(err, Text(f"  warning: {text}", "yellow"))

    def update(self, label: str, text: str) -> None:
        """Show the state beside the next progress bar, or print it as a line without a terminal."""
        if err.is_terminal:
            self.state = text
        else:
            self.note(f"{label}  {text}")

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``, with a progress bar if stderr is a terminal."""
        if not err.is_terminal:
            yield from items
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        ends = Column(no_wrap=True, overflow="ellipsis")
        state = [TextColumn("{task.fields[state]}", table_column=ends)]
        rest = state if self.state else [BarColumn(), TimeRemainingColumn()]
        columns = (TextColumn("  {task.description}"), MofNCompleteColumn(), *rest)
        with Progress(*columns, console=err, transient=True) as bars:
            task = bars.add_task(label, total=total, state=self.state)
            for item in items:
                yield item
                bars.advance(task)


def show(*tables: RenderableType) -> None:
    """Print tables and lines on stdout, none wider than the terminal."""
    for position, table in enumerate(tables):
        if isinstance(table, str):
            print_lines(out, Text.from_markup(table))
            continue
        if position:
            out.print()
        out.print(table, width=line_width(out))


def show_line(text: str) -> None:
    """Print a text on stdout as it is: brackets, as in a path, are no styles."""
    print_lines(out, Text(text))


def print_lines(console: Console, text: Text) -> None:
    """Print a text, wrapped at words; commands stay whole."""
    console.print(unwrapped(lines_of(text, line_width(console))), soft_wrap=True)


def line_width(console: Console) -> int:
    """Return the characters per line: of the terminal, or else $COLUMNS or 80."""
    if not console.is_terminal:
        columns = os.environ.get("COLUMNS", "")
        console.width = int(columns) if columns.isdigit() and int(columns) else PLAIN_WIDTH
    return console.width


def show_json(values: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    from kit.storage.files import json_text

    sys.stdout.write(json_text(values))
