"""The interface through which long-running work reports; the library itself never prints."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Reports of a stage while it runs."""

    def stage(self, name: str, detail: str = "") -> None:
        """Report that a stage starts or is already finished."""

    def note(self, text: str) -> None:
        """Report a choice that was made, or a file that was written."""

    def warn(self, text: str) -> None:
        """Report a problem that the user should check."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items`` while a progress bar shows the time left."""
        ...


class Silent:
    """Reports nothing: the default of every library function."""

    def stage(self, name: str, detail: str = "") -> None:
        """Report nothing."""

    def note(self, text: str) -> None:
        """Report nothing."""

    def warn(self, text: str) -> None:
        """Report nothing."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``."""
        yield from items


SILENT = Silent()
