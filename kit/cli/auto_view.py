"""Show what `kit auto` is doing: time left, plan, best score and findings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kit.auto.status import Status
from kit.cli.console import Terminal, err
from kit.runtime.deadline import duration

T = TypeVar("T")
SHOWN_FINDINGS = 3  # the latest ones
BAR_WIDTH = 30
NAME_WIDTH = 10  # characters of the names on the left


class AutoView(Terminal):
    """Lines as of ``Terminal``, and a view below them that is updated while ``kit auto`` works.

    Use as a context manager; without a terminal it shows the lines only.
    """

    def __init__(self) -> None:
        self.status: Status | None = None
        self.step = ""  # of the loop that runs now
        self.done, self.total = 0, 0
        self.live = Live(get_renderable=self.view, console=err, transient=True, refresh_per_second=2)

    def __enter__(self) -> AutoView:
        if err.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def watch(self, status: Status) -> None:
        """Show another state of the run."""
        self.status = status

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``, and count them in the view."""
        self.step, self.done, self.total = label, 0, total
        for item in items:
            yield item
            self.done += 1
        self.step = ""

    def view(self) -> RenderableType:
        """Return what is shown now."""
        if self.status is None:
            return Text("")
        status, left = self.status, max(0.0, self.status.ends - time.monotonic())
        table = Table.grid(padding=(0, 1))
        table.add_column(width=NAME_WIDTH, style="bold cyan", no_wrap=True)
        table.add_column(overflow="fold")
        bar = ProgressBar(total=status.total, completed=status.total - left, width=BAR_WIDTH)
        table.add_row("time left", Columns([Text(f"{duration(left)} of {duration(status.total)}"), bar]))
        table.add_row("best", Text(status.best or "none yet"))
        if status.submission:
            table.add_row("submission", Text(status.submission))
        table.add_row("now", Text(status.doing))
        if self.step:
            table.add_row("", Text(f"{self.done}/{self.total}  {self.step}  {self.state}".rstrip()))
        if status.plan:
            table.add_row("plan", Text(status.plan))
        for number, text in enumerate(status.learned[-SHOWN_FINDINGS:]):
            table.add_row("" if number else "learned", Text(text))
        return Group(Text(""), table)
