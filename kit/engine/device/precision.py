"""Device and number format: one choice, made once, with its reason."""

import atexit
import functools
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils.memory import should_reduce_batch_size

from kit.engine.device.allocator import prepare_heap
from kit.errors import KitError

T = TypeVar("T")
ACCELERATE_NAMES = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class Precision:
    """A number format and why it was taken."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Return the format to compute in.

    ``auto`` takes bf16 where the processor computes it natively, else fp16 with loss scaling on a CUDA
    GPU, else fp32. On a CPU some networks are slower in bf16: ``quicker`` tries.

    Raises:
        KitError: fp16 is wanted on a CPU, where there is no loss scaling.
    """
    if wanted == "fp16" and device.type != "cuda":
        raise KitError(
            "train.precision", f"is fp16 on {device.type}", "fp16 is for CUDA GPUs", "Use auto or bf16."
        )
    if wanted != "auto":
        return Precision(wanted, "as configured")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", f"native on {torch.cuda.get_device_name(device)}")
        return Precision("fp16", f"{torch.cuda.get_device_name(device)} has no bf16; with loss scaling")
    if device.type == "cpu":
        native = native_bf16()
        return (
            Precision("bf16", f"the CPU has {native}") if native else Precision("fp32", "the CPU has no bf16")
        )
    return Precision("fp32", f"nothing faster is proved on {device.type}")


def native_bf16() -> str:
    """Return the name of the CPU's bf16 instructions, or nothing."""
    capabilities = torch.cpu.get_capabilities()
    for key, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512_BF16"), ("bf16", "BF16")):
        if capabilities.get(key):
            return name
    return ""


def this_device() -> torch.device:
    """Return the device to compute on, and make this process ready for it."""
    device: torch.device = Accelerator().device
    _prepare(device)
    return device


def open_accelerator(precision: str) -> Accelerator:
    """Return accelerate's Accelerator for this machine, in ``fp32``, ``bf16`` or ``fp16``."""
    this_device()
    # Accelerate keeps one precision per process; experiments that run in turn may differ.
    AcceleratorState._reset_state(reset_partial_state=False)
    return Accelerator(mixed_precision=ACCELERATE_NAMES[precision])


@functools.cache
def _prepare(device: torch.device) -> None:
    """Set what holds for the whole process: where a CPU's memory comes from, TF32 on a GPU."""
    gc.freeze()  # what is imported stays: looking through it takes 0.2 s each time that memory is freed
    atexit.register(gc.unfreeze)  # or libraries report it as leaked
    sys.modules.setdefault("lomo_optim", None)  # type: ignore[arg-type]  # accelerate looks for it in every step
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    elif device.type == "cpu":
        prepare_heap()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the device's memory is used up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, Exception) and should_reduce_batch_size(error)


def is_of_compiler(error: BaseException) -> bool:
    """Tell whether an error comes from ``torch.compile``."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def free_memory() -> None:
    """Give back what was used by what nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_fewer(
    micro_batch_size: int, work: Callable[[int], T], warn: Callable[[str], None], least: int = 1
) -> T:
    """Return what ``work`` makes with so many images at once: half of them, as long as the memory is short.

    Args:
        warn: Told how many there are from now on.
        least: With fewer it is not tried; what ``work`` raised then goes on.
    """
    while True:
        try:
            return work(micro_batch_size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or micro_batch_size // 2 < least:
                raise
        free_memory()  # outside of the handler, which holds on to what has failed
        micro_batch_size //= 2
        warn(f"{micro_batch_size * 2} images at once do not fit the memory: {micro_batch_size} from here on")


def device_name(device: torch.device) -> str:
    """Return what tells one device's memory from another's: its model, or the size of the main memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{device.type}, {gigabytes:.0f} GB"
