"""How long-running work tells what it does; the library never prints by itself."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """What a stage may say while it runs."""

    def stage(self, name: str, detail: str = "") -> None:
        """Say that a stage begins (or is already done)."""

    def note(self, text: str) -> None:
        """Say one thing worth a line: a choice made, a file written."""

    def warn(self, text: str) -> None:
        """Say what the user should look at."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items`` while a bar with the time left shows how far it is."""
        ...


class Silent:
    """Says nothing: the default of every library function."""

    def stage(self, name: str, detail: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``."""
        yield from items


SILENT = Silent()
