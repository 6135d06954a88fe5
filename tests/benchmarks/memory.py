"""How much memory a process holds, in bytes, as Linux counts it.

``ru_maxrss`` does not say it: a process begins with the peak of the one that started it.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

STATUS = Path("/proc/self/status")
SAMPLING_INTERVAL = 0.01  # seconds


def held() -> int:
    """Return what the process holds of its own now: not the pages of mapped files, which the system takes back."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} does not tell RssAnon")
    return int(found[1]) * 1024


class PeakOwn:
    """The most memory of its own that this process held inside a ``with``, beyond what it held before."""

    def __enter__(self) -> PeakOwn:
        self.before = held()
        self.most = self.before
        self.over = threading.Event()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.over.set()
        self.watch.join()
        self.most = max(self.most, held())

    def _watch(self) -> None:
        while not self.over.wait(SAMPLING_INTERVAL):
            self.most = max(self.most, held())

    @property
    def bytes(self) -> int:
        """How many."""
        return self.most - self.before
