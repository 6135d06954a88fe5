"""Do the parts of a job at the same time, on devices of this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kit.errors import counted
from kit.parallel.cluster import InCluster, connected, num_cluster_slots
from kit.parallel.devices import Cluster, Devices, find_devices
from kit.parallel.processes import InProcesses
from kit.parallel.work import OnResult, Part, Result, Work
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress


def _ignore(number: int, result: object) -> None:
    """Do nothing with a result."""


def in_parallel(
    work: Work[Part, Result],
    parts: Sequence[Part],
    devices: Devices,
    progress: Progress,
    deadline: Deadline,
    on_result: OnResult = _ignore,
) -> None:
    """Do parts at the same time.

    Args:
        on_result: Called with the number of a part and its result when the part is done.

    Raises:
        Interrupted: The deadline or a signal stopped the work; what is finished is kept.
        KitError: The first mistake in a part, or no device is left.
    """
    if isinstance(devices, Cluster):
        InCluster(work, parts, progress, deadline, on_result).run(devices)
        return
    found = find_devices(devices)[: len(parts)]
    progress.note(f"{counted(len(parts), work.noun)} on {', '.join(each.name for each in found)}")
    InProcesses(work, parts, progress, deadline, on_result).run(found)


@contextmanager
def kept_connection(devices: Devices) -> Iterator[None]:
    """Stay connected to a cluster while the block runs, since connecting takes seconds."""
    if isinstance(devices, Cluster):
        with connected(devices):
            yield
    else:
        yield


def num_slots(devices: Devices, num_parts: int) -> int:
    """Return how many of some parts are done at the same time, at least 1."""
    slots = num_cluster_slots(devices) if isinstance(devices, Cluster) else len(find_devices(devices))
    return max(1, min(slots, num_parts))
