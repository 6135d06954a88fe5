"""Time training steps from inside the batch iterator, and measure peak memory."""

from __future__ import annotations

import itertools
import math
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import active_children
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, TypeVar

from kit.runtime.progress import Progress, Silent

T = TypeVar("T")
SAMPLING_INTERVAL = 0.05  # seconds
MIN_STEPS = 2


@dataclass
class Pace:
    """Durations of steps.

    Attributes:
        images: Number of images of each step.
        seconds: Duration of each step.
        is_sequential: Whether nothing runs in parallel to a step. Then the rate is a median, which is robust
            to short load by other programs; otherwise only the total is meaningful.
    """

    is_sequential: bool
    images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images per second."""
        if self.is_sequential:
            return 1 / median(s / n for s, n in zip(self.seconds, self.images, strict=True))
        return sum(self.images) / sum(self.seconds)

    def __add__(self, other: Pace) -> Pace:
        return Pace(self.is_sequential, self.images + other.images, self.seconds + other.seconds)


@dataclass(frozen=True)
class Effort:
    """Length of a measurement.

    Attributes:
        warmup: Number of warm-up steps, which do not count.
        steps: Minimum number of steps.
        seconds: Minimum duration.
        enough: After this many seconds, two steps are enough.
    """

    warmup: int
    steps: int
    seconds: float = 0.0
    enough: float = math.inf


class Stopwatch(Silent):
    """A ``Progress`` that limits the number of batches of a training and times each step.

    A GPU is synchronized only at the start and the end of the measurement.

    Args:
        device: The ``torch.device`` of the steps.
        progress: Receives the notes of the training.
        instead: A batch to repeat instead of loading batches.
    """

    def __init__(
        self, device: Any, effort: Effort, is_sequential: bool, progress: Progress, instead: Any = None
    ) -> None:
        self.device, self.effort, self.progress, self.instead = device, effort, progress, instead
        self.pace = Pace(is_sequential)

    def note(self, text: str) -> None:
        """Forward a note."""
        self.progress.note(text)

    def update(self, label: str, text: str) -> None:
        """Leave out the states of the training."""

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield batches until the measurement is long enough."""
        batches = items if self.instead is None else itertools.repeat(self.instead, total)
        warmup = min(self.effort.warmup, total // 2)
        started = last = time.perf_counter()
        for number, item in enumerate(batches, 1):
            yield item
            is_last = number == total or self._is_enough(number - warmup, time.perf_counter() - started)
            if number <= warmup or is_last:
                self._wait()
            now = time.perf_counter()
            if number <= warmup:
                started = now
            else:
                self.pace.images.append(len(item.indices))  # type: ignore[union-attr]
                self.pace.seconds.append(now - last)
            last = now
            if is_last:
                return

    def _is_enough(self, steps: int, seconds: float) -> bool:
        effort = self.effort
        is_complete = steps >= effort.steps and seconds >= effort.seconds
        return is_complete or (steps >= MIN_STEPS and seconds >= effort.enough)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)


class PeakMemory:
    """Peak memory of this process and its data-loader workers inside a ``with`` block, in MB.

    For this process, the maximum of sampled values; for workers, their private memory at the end. Mapped
    files do not count, since the system can reclaim them. None if the system does not report it.
    """

    def __enter__(self) -> PeakMemory:
        self.mb: float | None = None
        self.most = _own_kb()
        self.over = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return self

    def _watch(self) -> None:
        while not self.over.wait(SAMPLING_INTERVAL):
            self.most = max(self.most, _own_kb())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.over.set()
        self.watch.join()
        loaders = sum(_private_kb(child.pid) for child in active_children())
        most = max(self.most, _own_kb()) + loaders
        self.mb = most * 1024 / 1e6 or None


def _own_kb() -> int:
    return _kb(Path("/proc/self/status"), "RssAnon")


def _private_kb(process: int | None) -> int:
    return _kb(Path(f"/proc/{process}/smaps_rollup"), "Private_Dirty")


def _kb(file: Path, key: str) -> int:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", file.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0  # not Linux, or the process has ended
    return int(found[1]) if found else 0
