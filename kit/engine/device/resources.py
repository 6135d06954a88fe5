"""Decide from numbers whether GPU, its memory, disk and shared memory suffice; say what to choose instead."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from kit.errors import KitError, counted, first_few
from kit.storage.files import format_bytes

SHARED_MEMORY = Path("/dev/shm")  # loader processes hand batches over through it, on Linux
PREFETCHED = 2  # batches per loader process, torch's default


@dataclass(frozen=True)
class Shortage:
    """A resource that does not suffice, or may not.

    Attributes:
        is_certain: The work cannot succeed, whatever the estimates leave open.
    """

    error: KitError
    is_certain: bool


class Architecture(NamedTuple):
    """An architecture that torch was built for: machine code (``sm_86``) or PTX (``compute_86``)."""

    is_ptx: bool
    capability: tuple[int, int]
    is_specific: bool  # sm_90a: this capability alone

    @classmethod
    def of(cls, text: str) -> Architecture | None:
        """Return an entry of ``torch.cuda.get_arch_list()``; None if it is not one of NVIDIA's."""
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", text)
        if found is None:
            return None
        is_ptx = found[1] == "compute" and not found[4]  # PTX of sm_100f is for its major version, too
        return cls(is_ptx, (int(found[2]), int(found[3])), found[4] == "a")

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Return whether a GPU runs this code: PTX of an older GPU, or machine code of its major version."""
        if self.is_specific:
            return self.capability == capability
        same_major = self.capability[0] == capability[0]
        return self.capability <= capability and (self.is_ptx or same_major)


def unsupported_gpu(name: str, capability: tuple[int, int], arch_list: Sequence[str]) -> Shortage | None:
    """Return why a GPU cannot run this torch, or None.

    Args:
        capability: Compute capability, major and minor.
        arch_list: As ``torch.cuda.get_arch_list()``; without entries of NVIDIA's, nothing is known.
    """
    known = [arch for arch in map(Architecture.of, arch_list) if arch is not None]
    if not known or any(arch.runs_on(capability) for arch in known):
        return None
    major, minor = capability
    error = KitError(
        name,
        f"has compute capability {major}.{minor}, and torch {torch.__version__} is built for "
        f"{first_few(arch_list, limit=20)}",
        "torch needs a build for the GPU's own generation",
        "Choose another GPU (on Kaggle T4 x2 instead of P100), install a build of torch with "
        f"sm_{major}{minor}, or use the CPU: CUDA_VISIBLE_DEVICES= kit …",
        code="gpu_not_supported",
    )
    return Shortage(error, is_certain=True)


def low_device_memory(name: str, free: int, total: int, needed: int, likely: int) -> Shortage | None:
    """Return a shortage if the network does not fit, or may not, or if half of the memory is used already.

    Args:
        free: Bytes that this process can use.
        needed: Bytes of weights and gradients.
        likely: The same with the state of an optimizer such as Adam; activations are extra.
    """
    if free >= max(likely, total // 2):
        return None
    network = f"weights and gradients need {format_bytes(needed)}, with Adam's state {format_bytes(likely)}"
    error = KitError(
        name,
        f"has {format_bytes(free)} of {format_bytes(total)} free; "
        + (network if free < likely else "other processes use the rest"),
        "Training also keeps activations there",
        "End other processes that `nvidia-smi` lists, or choose a smaller model or another GPU.",
        code="device_memory_low",
    )
    return Shortage(error, is_certain=free < needed)


def full_disk_soon(folder: Path, free: int, models: int, passing: int) -> Shortage | None:
    """Return a shortage if the models to train do not fit on a disk, or if checkpoints and caches may not.

    Args:
        models: Bytes of the models that are still to be trained and kept.
        passing: The most bytes of what does not stay: checkpoints of the fold in training, caches.
    """
    if free >= models + passing:
        return None
    error = KitError(
        folder,
        f"has {format_bytes(free)} free; the models of all folds need {format_bytes(models)}, "
        f"checkpoints and caches up to {format_bytes(passing)}",
        "A run keeps one model per fold, and checkpoints of the fold that it trains",
        "Free space (`kit clean` removes caches), use another disk (`--workspace`, `$KIT_CACHE`), fewer "
        "folds (`--set folds.count=3`), a smaller model, or no cache (`--set image.cache=none`).",
        code="disk_full_soon",
    )
    return Shortage(error, is_certain=free < models)


def small_shared_memory(free: int, batch_bytes: int, workers: int) -> Shortage | None:
    """Return a shortage if the loader processes cannot hand over their batches, or may not.

    Args:
        free: Free bytes of ``/dev/shm``.
        batch_bytes: Bytes of the largest batch.
    """
    wanted = workers * PREFETCHED * batch_bytes
    if free >= wanted:
        return None
    error = KitError(
        SHARED_MEMORY,
        f"has {format_bytes(free)} free; {counted(workers, 'loader process', 'loader processes')} may hold "
        f"{format_bytes(wanted)} ({PREFETCHED} batches each, of {format_bytes(batch_bytes)})",
        "Loader processes hand batches over through shared memory",
        "Use fewer (`--set train.workers=1`) or none (0), or give the container more: "
        "`docker run --shm-size=8g`.",
        code="shared_memory_small",
    )
    return Shortage(error, is_certain=free < batch_bytes)


def check_gpu(device: torch.device) -> None:
    """Refuse a GPU that this torch has no code for.

    Raises:
        KitError: The GPU cannot be used.
    """
    if device.type != "cuda" or torch.version.cuda is None:  # torch for AMD lists other architectures
        return
    with warnings.catch_warnings():  # torch warns of the same
        warnings.simplefilter("ignore")
        capability = torch.cuda.get_device_capability(device)
    shortage = unsupported_gpu(torch.cuda.get_device_name(device), capability, torch.cuda.get_arch_list())
    if shortage is not None:
        raise shortage.error


def free_device_memory(device: torch.device) -> tuple[int, int] | None:
    """Return the bytes that this process can use, and all; None if the device does not say."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + cached, total
