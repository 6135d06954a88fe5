"""What works at the same time: devices of this machine (``--devices``), or a cluster (``--ray``)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kit.errors import KitError, counted
from kit.runtime.cores import usable_cores, use_cores

LOCAL = "local"
VISIBLE = "CUDA_VISIBLE_DEVICES"
EXAMPLES = "--devices is a list of GPUs, such as 0,1, or cpu:2 for two parts of the processor"


@dataclass(frozen=True)
class Device:
    """What one process computes on.

    Attributes:
        gpu: The GPU, as CUDA names it; empty: none.
        cores: The cores of its process; empty: all.
    """

    name: str
    gpu: str = ""
    cores: tuple[int, ...] = ()

    def claim(self) -> None:
        """Let this process see this device only; call it before torch is imported."""
        os.environ[VISIBLE] = self.gpu
        if self.cores:
            use_cores(list(self.cores))
            os.environ["OMP_NUM_THREADS"] = str(len(self.cores))


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster that folds or experiments are sent to (``--ray``).

    Attributes:
        address: As Ray takes it, such as ``auto`` or ``ray://HEAD:10001``; ``local``: this machine alone.
        gpus: GPUs of a task, such as 0.5 for two tasks on one GPU; None: one, if the cluster has any.
        cpus: Cores of a task.
    """

    address: str
    gpus: float | None = None
    cpus: int = 1


Devices = str | Cluster | None  # of this machine, as for ``find_devices``; or a cluster


def find_devices(wanted: str | None) -> list[Device]:
    """Return the devices to work on; one: this process works.

    Args:
        wanted: ``0,1``: these GPUs; ``cpu:2``: two parts of the processor; None: all visible GPUs.

    Raises:
        KitError: The text has another form, or there is no such GPU.
    """
    if wanted is not None and (parts := re.fullmatch(r"cpu:(\d+)", wanted)):
        return _parts_of_cpu(int(parts[1]))
    gpus = _visible_gpus()
    if wanted is None:
        return _with_cores([Device(f"GPU {number}", gpu) for number, gpu in enumerate(gpus)])
    if not re.fullmatch(r"\d+(,\d+)*", wanted):
        raise KitError(f"--devices {wanted}", "is no list of devices", EXAMPLES, code="devices_invalid")
    numbers = list(dict.fromkeys(int(part) for part in wanted.split(",")))
    missing = [number for number in numbers if number >= len(gpus)]
    if missing:
        raise KitError(
            f"--devices {wanted}",
            f"there is no GPU {missing[0]}: {counted(len(gpus), 'GPU is', 'GPUs are')} visible",
            EXAMPLES,
            code="devices_missing",
        )
    return _with_cores([Device(f"GPU {number}", gpus[number]) for number in numbers])


def _parts_of_cpu(count: int) -> list[Device]:
    cores = usable_cores()
    if not 1 <= count <= len(cores):
        raise KitError(
            f"--devices cpu:{count}",
            f"this process may use {counted(len(cores), 'core')}",
            "Every part needs at least one",
            code="devices_invalid",
        )
    return _with_cores([Device(f"CPU part {number}") for number in range(count)])


def _with_cores(devices: Sequence[Device]) -> list[Device]:
    """Return the devices with equal shares of the cores, if each can have one."""
    cores, count = usable_cores(), len(devices)
    if len(cores) < count:
        return list(devices)
    return [replace(each, cores=tuple(cores[number::count])) for number, each in enumerate(devices)]


def _visible_gpus() -> Sequence[str]:
    """Return the visible GPUs, as CUDA names them."""
    import torch

    count = torch.cuda.device_count()
    listed = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return listed[:count] if listed else [str(number) for number in range(count)]
