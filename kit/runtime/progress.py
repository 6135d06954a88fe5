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

    def update(self, label: str, text: str) -> None:
        """Report the state of a long loop, such as after an epoch; a terminal shows the latest one only."""

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

    def update(self, label: str, text: str) -> None:
        """Report nothing."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``."""
        yield from items


SILENT = Silent()


class Quiet:
    """Passes on warnings and progress bars, not stages and the notes of each epoch."""

    def __init__(self, progress: Progress) -> None:
        self.warn, self.track = progress.warn, progress.track

    def stage(self, name: str, detail: str = "") -> None:
        """Report nothing."""

    def note(self, text: str) -> None:
        """Report nothing."""

    def update(self, label: str, text: str) -> None:
        """Report nothing."""


class OnceOnly:
    """Passes on each note and warning once, for experiments that differ in few values."""

    def __init__(self, progress: Progress) -> None:
        self.stage, self.update, self.track = progress.stage, progress.update, progress.track
        self._progress, self._told = progress, set[str]()

    def note(self, text: str) -> None:
        """Report a note that was not reported before."""
        if self._is_new(text):
            self._progress.note(text)

    def warn(self, text: str) -> None:
        """Report a problem that was not reported before."""
        if self._is_new(text):
            self._progress.warn(text)

    def _is_new(self, text: str) -> bool:
        is_new = text not in self._told
        self._told.add(text)
        return is_new
