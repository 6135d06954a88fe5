"""The processor cores that this process may use."""

from __future__ import annotations

import os


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def use_cores(cores: list[int]) -> None:
    """Use these cores only, if the system can restrict a process; call it before libraries count them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
