"""Measure the memory of this process, in bytes, as Linux reports it.

``ru_maxrss`` is not usable: a process starts with the peak of its parent.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

STATUS = Path("/proc/self/status")
SAMPLING_INTERVAL = 0.01  # seconds


def anonymous_memory() -> int:
    """Return the memory of the process without the pages of mapped files, which the system can reclaim."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no RssAnon")
    return int(found[1]) * 1024


class PeakMemory:
    """The peak of this process's anonymous memory inside a ``with``, minus the memory at its start."""

    def __enter__(self) -> PeakMemory:
        self.before = anonymous_memory()
        self.peak = self.before
        self.stopped = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.watch.join()
        self.peak = max(self.peak, anonymous_memory())

    def _watch(self) -> None:
        while not self.stopped.wait(SAMPLING_INTERVAL):
            self.peak = max(self.peak, anonymous_memory())

    @property
    def bytes(self) -> int:
        """The peak in bytes."""
        return self.peak - self.before
