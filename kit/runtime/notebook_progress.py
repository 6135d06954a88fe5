"""Show progress in a notebook: lines, and a bar below them while a loop runs."""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import TypeVar

from kit.runtime.deadline import duration

T = TypeVar("T")
Verb = Callable[..., object]
REFRESH_SECONDS = 0.5


class NotebookProgress:
    """Prints stages, notes and warnings, and shows a bar that disappears when its loop ends."""

    def __init__(self) -> None:
        self.state = ""  # shown beside the next bar

    def stage(self, name: str, detail: str = "") -> None:
        """Print the stage's name."""
        self.state = ""
        print(f"{name} {detail}".rstrip())

    def note(self, text: str) -> None:
        """Print an indented line."""
        self.state = ""
        print(f"  {text}")

    def warn(self, text: str) -> None:
        """Print an indented line."""
        print(f"  warning: {text}")

    def update(self, label: str, text: str) -> None:
        """Show the state beside the next bar."""
        self.state = text

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items`` while a bar shows how many are done, and the time left."""
        from IPython.display import display, update_display

        began = shown = time.monotonic()
        handle = display(_Html(bar(label, 0, total, 0.0, self.state)), display_id=True)
        for done, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - shown > REFRESH_SECONDS:
                shown = now
                html = _Html(bar(label, done, total, now - began, self.state))
                update_display(html, display_id=handle.display_id)
        update_display(_Html(""), display_id=handle.display_id)


class _Html:
    """A piece of HTML to display."""

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return self.html


def bar(label: str, done: int, total: int, seconds: float, state: str = "") -> str:
    """Return a progress bar as HTML, with the time left or the state of a longer loop."""
    left = f"{duration(seconds / done * (total - done))} left" if done else ""
    text = ", ".join(filter(None, [f"{label} {done}/{total}", state or left]))
    return f'<progress value="{done}" max="{total}"></progress> {escape(text)}'


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def with_progress(verb: Verb) -> Verb:
    """Return a verb that shows its progress in a notebook unless it is called with another one."""
    if "progress" not in inspect.signature(verb).parameters:
        return verb
    shown: Verb = functools.wraps(verb)(functools.partial(verb, progress=NotebookProgress()))
    return shown
