"""What ``kit auto`` is doing, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Status:
    """A moment of a run.

    Attributes:
        ends: When the run stops, by ``time.monotonic``.
        total: Seconds of the time limit.
        doing: What runs now.
        plan: How the time left is used; empty before it is known.
        best: The best experiment or blend with its score and interval; empty: none yet.
        submission: The checked file of the best; empty: none yet.
        learned: The findings, in order.
    """

    ends: float
    total: float
    doing: str
    plan: str
    best: str
    submission: str
    learned: tuple[str, ...]


Watch = Callable[[Status], None]


def ignore(status: Status) -> None:
    """Show nothing."""
