"""What a job is whose parts can be done at the same time, and how its parts report to the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kit import __version__
from kit.errors import Interrupted, KitError, first_few
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
class Order:
    """A job as sent to a process.

    Attributes:
        seconds: The time left; infinite without a limit.
        is_command: Whether a kit command owns the process, so that its settings may change.
        version: That of kit.
    """

    work: Work[Any, Any]
    seconds: float
    is_command: bool
    version: str

    @classmethod
    def of(cls, work: Work[Any, Any], deadline: Deadline) -> Order:
        """Return the order for a job that must be done by a deadline."""
        return cls(work, deadline.left, belongs_to_command(), __version__)


class Job:
    """A running job: its parts, the callback for their results, and the error that stops it.

    Args:
        on_result: Called with the number of a part and its result when the part is done.
    """

    def __init__(
        self,
        work: Work[Part, Result],
        parts: Sequence[Part],
        progress: Progress,
        deadline: Deadline,
        on_result: OnResult,
    ) -> None:
        self.order, self.parts = Order.of(work, deadline), parts
        self.progress, self.deadline, self.on_result = progress, deadline, on_result
        self.mistake: KitError | None = None
        self.interrupted: Interrupted | None = None

    def named(self, *numbers: int) -> str:
        """Return parts by their noun and texts, for messages."""
        return f"{self.order.work.noun} {first_few([str(self.parts[number]) for number in numbers])}"

    def raise_why_stopped(self) -> None:
        """Raise the mistake or the interruption that has stopped the job, if one has."""
        if self.mistake is not None:
            raise self.mistake
        if self.interrupted is not None:
            raise self.interrupted


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

    def update(self, label: str, text: str) -> None:
        """Send a note: no bar shows the states of parts that are done at the same time."""
        self.note(f"{label}  {text}")

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``."""
        yield from items
