"""What a job is whose parts can be done at the same time, and how its parts report to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from kit import __version__
from kit.runtime.deadline import Deadline
from kit.runtime.process import belongs_to_command
from kit.runtime.progress import Progress

T = TypeVar("T")
Part = TypeVar("Part")
Result = TypeVar("Result")
PartOfWork = TypeVar("PartOfWork", contravariant=True)
ResultOfWork = TypeVar("ResultOfWork", covariant=True)
OnResult = Callable[[int, Any], None]  # number of the part, its result
Message = tuple[str, Any]  # kind, content


class Work(Protocol[PartOfWork, ResultOfWork]):
    """A job; it, its parts and their results are pickled.

    A part that is done again continues from what it has written before.
    """

    @property
    def noun(self) -> str:
        """What a part is called, such as ``fold``; its text says which one."""

    @property
    def shared(self) -> Path:
        """A file or folder that every node of a cluster must see."""

    def start(self, progress: Progress, deadline: Deadline) -> Callable[[PartOfWork], ResultOfWork]:
        """Return the function that does a part, in the process that does it."""


@dataclass(frozen=True)
class Order(Generic[Part, Result]):
    """A job as sent to a process.

    Attributes:
        seconds: The time left; infinite without a limit.
        is_command: Whether a kit command owns the process, so that its settings may change.
        version: That of kit.
    """

    work: Work[Part, Result]
    seconds: float
    is_command: bool
    version: str

    @classmethod
    def of(cls, work: Work[Part, Result], deadline: Deadline) -> Order[Part, Result]:
        """Return the order for a job that must be done by a deadline."""
        return cls(work, deadline.left, belongs_to_command(), __version__)


class Sender:
    """Sends reports to the process that shows them; progress bars are left out.

    Args:
        send: Takes each message, such as the ``send`` of a pipe.
    """

    def __init__(self, send: Callable[[Message], object]) -> None:
        self.send = send

    def stage(self, name: str, detail: str = "") -> None:
        """Send a stage."""
        self.send(("stage", (name, detail)))

    def note(self, text: str) -> None:
        """Send a note."""
        self.send(("note", (text,)))

    def warn(self, text: str) -> None:
        """Send a warning."""
        self.send(("warn", (text,)))

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``."""
        yield from items
