"""Choose how many CPU threads the steps of an epoch use, by timing the first steps of the epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from kit.errors import counted

ROUNDS = 2  # of timed steps per thread count, after one step that is not timed
LONGEST_STEP = 0.2  # seconds; longer steps lose little to waiting threads, and trying them costs much
MARGIN = 1.15  # fewer threads must be this much faster: results differ in the last bits between counts


class StepThreads:
    """The thread counts of the steps of one epoch.

    Where other processes use the cores, the threads of a small layer wait for one another longer than they
    compute, and fewer threads are faster. The first steps of the epoch use all threads and fewer in turn; the
    rest uses the fastest count. Counts follow from the number of the step, so that a resumed epoch repeats
    them.

    Args:
        steps: Number of steps in the epoch; a short epoch tries nothing.
        chosen: The choice of the epoch before, or of this one if it is resumed; None: all threads.
        log: Receives a line when the choice changes.
    """

    def __init__(
        self, device: torch.device, steps: int, chosen: int | None, log: Callable[[str], None]
    ) -> None:
        self.all = torch.get_num_threads()
        counts = sorted({self.all, self.all // 2, 1} - {0}, reverse=True)
        plan = [self.all, *counts * ROUNDS]
        is_tried = device.type == "cpu" and len(counts) > 1 and steps >= 2 * len(plan)
        self.plan = plan if is_tried else []
        self.seconds: dict[int, float] = {}
        self.chosen = min(chosen or self.all, self.all)
        self.log = log

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Take step ``number`` (from 0) of the epoch with its thread count."""
        is_trial = number < len(self.plan)
        count = self.plan[number] if is_trial else self.chosen
        if count != torch.get_num_threads():
            torch.set_num_threads(count)
        began = time.perf_counter()
        yield
        if is_trial and number:
            self._record(number, count, time.perf_counter() - began)

    def _record(self, number: int, count: int, seconds: float) -> None:
        self.seconds[count] = min(seconds, self.seconds.get(count, seconds))
        if count == self.all == self.chosen and seconds > LONGEST_STEP:
            self.plan = []
        elif number == len(self.plan) - 1 and self.all in self.seconds:
            self._choose()

    def _choose(self) -> None:
        before, fastest = self.chosen, min(self.seconds, key=lambda count: self.seconds[count])
        is_clear = self.seconds[fastest] * MARGIN < self.seconds[self.all]
        self.chosen = fastest if is_clear else self.all
        if self.chosen != before:
            ms = ", ".join(f"{1000 * seconds:.1f} with {count}" for count, seconds in self.seconds.items())
            self.log(f"{self.chosen} of {counted(self.all, 'thread')} (ms per step: {ms})")


@contextmanager
def threads_restored() -> Iterator[None]:
    """Set the thread count of the process back to what it was."""
    count = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(count)
