"""Automatic mixed precision: choose fp32, bf16 or fp16, and run autocast and loss scaling with torch.amp."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from kit.errors import KitError
from kit.runtime.environment import processor_flags

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """A precision (``fp32``, ``bf16``, ``fp16``) and the reason for it."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def choose_precision(requested: str, device: torch.device) -> Precision:
    """Return the precision to compute in.

    ``auto`` is bf16 on hardware that computes it natively, else fp16 with loss scaling on a CUDA GPU, else
    fp32. On a CPU some networks are slower in bf16: ``faster_precision`` measures.

    Raises:
        KitError: fp16 is requested on a device without loss scaling.
    """
    if requested == "fp16" and device.type != "cuda":
        raise KitError(
            "train.precision",
            f"is fp16 on {device.type}",
            "fp16 needs a CUDA GPU",
            "Use auto or bf16.",
            code="precision_not_supported",
        )
    if requested != "auto":
        return Precision(requested, "as configured")
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", f"native on {name}")
        return Precision("fp16", f"{name} has no bf16; with loss scaling")
    if device.type == "cpu":
        native = native_bf16()
        return (
            Precision("bf16", f"the CPU has {native}") if native else Precision("fp32", "the CPU has no bf16")
        )
    return Precision("fp32", f"mixed precision is not tested on {device.type}")


def native_bf16() -> str:
    """Return the name of the CPU's bf16 instructions, or an empty string."""
    flags = processor_flags()
    names = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512_BF16"), ("bf16", "BF16"))  # the last is ARM's
    return next((name for flag, name in names if flag in flags), "")


class Amp:
    """Autocast and loss scaling in one precision on one device; both do nothing in fp32.

    Args:
        device: Where the model is.
        precision: ``fp32``, ``bf16`` or ``fp16``; fp16 scales the loss.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def autocast(self) -> torch.autocast:
        """Return the context in which the model's forward pass runs."""
        if self.precision == "fp32":
            return torch.autocast(self.device.type, enabled=False)  # some devices warn about float32 autocast
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, optimizer: Optimizer, parameters: Iterable[Tensor], clip: float | None) -> None:
        """Clip the gradients to a norm of ``clip``, if given, and take the optimizer's step.

        In fp16 a step with non-finite gradients is skipped and the scale reduced.
        """
        if clip is not None:
            self.scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any] | None:
        """Return the state of the loss scaling; None without it."""
        return self.scaler.state_dict() if self.scaler.is_enabled() else None

    def load_state_dict(self, saved: dict[str, Any] | None) -> None:
        """Restore the state of the loss scaling, if this run and the saved one both use it."""
        if self.scaler.is_enabled() and saved:
            self.scaler.load_state_dict(saved)
