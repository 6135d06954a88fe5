"""The deadline of a command: a time limit, or a signal to stop."""

from __future__ import annotations

import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kit.errors import Interrupted, KitError

STOPPING_SECONDS = 5.0  # reserved for stopping: no work starts with less time left
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Deadline:
    """A time limit, counted from now, that Ctrl-C and SIGTERM can end early.

    Args:
        seconds: None: no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.is_limited = seconds is not None
        self._ends = math.inf if seconds is None else time.monotonic() + seconds
        self._signals: list[str] = []

    @classmethod
    def of(cls, time_limit: str | None) -> Deadline:
        """Return the deadline for a command's ``--time-limit``; None: no limit."""
        return cls(None if time_limit is None else parse_time_limit(time_limit))

    def within(self, seconds: float) -> Deadline:
        """Return the deadline of a part of the work: ``seconds`` from now, but never after this one.

        A signal ends both.
        """
        left = max(0.0, min(seconds, self.left))
        part = Deadline(None if left == math.inf else left)
        part._signals = self._signals
        return part

    @property
    def signal(self) -> str:
        """The signal that asked to stop, such as ``Ctrl-C``; empty if none has arrived."""
        return next(iter(self._signals), "")

    @property
    def left(self) -> float:
        """Seconds left; infinite without a limit."""
        return self._ends - time.monotonic()

    def reason_to_stop(self, needed: float) -> str:
        """Return why the next ``needed`` seconds of work should not start, or "" if they may."""
        if self.signal:
            return self.signal
        if self.left < needed:
            return f"the time limit ({duration(max(0.0, self.left))} left)"
        return ""

    def begin(self, what: str, needed: float) -> None:
        """Check that the next ``needed`` seconds of work may start.

        Raises:
            Interrupted: The time left is too short, or a signal has arrived.
        """
        if reason := self.reason_to_stop(needed):
            raise Interrupted(f"Stopped before {what}: {reason}. All finished work is saved.")

    @contextmanager
    def deferring_signals(self) -> Iterator[None]:
        """Turn Ctrl-C and SIGTERM into a reason to stop; a second signal stops immediately."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set signal handlers
            return
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._signals:
            raise KeyboardInterrupt
        self._signals.append(SIGNALS[signal.Signals(number)])


def parse_time_limit(text: str) -> float:
    """Return seconds for ``8h30m``, ``90m``, ``45s`` or ``1d``.

    Raises:
        KitError: The text has another form, or the duration is zero.
    """
    rule = "A time limit looks like 8h30m, 90m or 45s"
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        raise KitError(f"--time-limit {text}", "is not a duration", rule, code="time_limit_invalid")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise KitError(f"--time-limit {text}", "is zero", rule, code="time_limit_invalid")
    return seconds


def duration(seconds: float) -> str:
    """Return ``h:mm:ss``, below an hour ``m:ss``.

    >>> duration(3725), duration(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
