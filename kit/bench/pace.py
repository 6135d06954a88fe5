"""Steps counted and timed from where a training asks for its batches, and the memory held meanwhile."""

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
SAMPLED_EVERY = 0.05  # seconds
FEWEST_STEPS = 2


@dataclass
class Pace:
    """How long steps took.

    Attributes:
        images: Of each step.
        seconds: Of each step.
        is_even: Whether steps wait for nothing that goes on beside them. Then the median counts, which a
            moment of other work on the machine does not change; else only all of them together say something.
    """

    is_even: bool
    images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images per second."""
        if self.is_even:
            return 1 / median(s / n for s, n in zip(self.seconds, self.images, strict=True))
        return sum(self.images) / sum(self.seconds)

    def __add__(self, other: Pace) -> Pace:
        return Pace(self.is_even, self.images + other.images, self.seconds + other.seconds)


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        warmup: Steps before, which do not count.
        steps: So many at least.
        seconds: So long at least.
        enough: After so many seconds two steps will do.
    """

    warmup: int
    steps: int
    seconds: float = 0.0
    enough: float = math.inf


class Stopwatch(Silent):
    """Lets a training have as many batches as are to be measured, and notes when it asks for the next.

    A GPU is waited for where the measured steps begin and where they end, and never in between.

    Args:
        device: Where steps are computed; a ``torch.device``.
        progress: Who is told what the training says.
        instead: A batch to give again and again in place of those that would be loaded.
    """

    def __init__(
        self, device: Any, effort: Effort, is_even: bool, progress: Progress, instead: Any = None
    ) -> None:
        self.device, self.effort, self.progress, self.instead = device, effort, progress, instead
        self.pace = Pace(is_even)

    def note(self, text: str) -> None:
        """Pass on."""
        self.progress.note(text)

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield batches until enough of them were taken."""
        given = items if self.instead is None else itertools.repeat(self.instead, total)
        warmup = min(self.effort.warmup, total // 2)
        begun = last = time.perf_counter()
        for number, item in enumerate(given, 1):
            yield item
            is_last = number == total or self._is_enough(number - warmup, time.perf_counter() - begun)
            if number <= warmup or is_last:
                self._wait()
            now = time.perf_counter()
            if number <= warmup:
                begun = now
            else:
                self.pace.images.append(len(item.indices))  # type: ignore[union-attr]
                self.pace.seconds.append(now - last)
            last = now
            if is_last:
                return

    def _is_enough(self, steps: int, seconds: float) -> bool:
        effort = self.effort
        all_taken = steps >= effort.steps and seconds >= effort.seconds
        return all_taken or (steps >= FEWEST_STEPS and seconds >= effort.enough)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)


class PeakMemory:
    """The most memory of their own that this process and its loaders held inside a ``with``, in MB.

    Of this process: what it held at any moment. Of a loader process: what it did not share, at the end.
    Mapped files do not count: the system takes them back. None where the system does not tell.
    """

    def __enter__(self) -> PeakMemory:
        self.mb: float | None = None
        self.most = _own_kb()
        self.over = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return self

    def _watch(self) -> None:
        while not self.over.wait(SAMPLED_EVERY):
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
        return 0  # not Linux, or a process that has just ended
    return int(found[1]) if found else 0
