"""Measure whether a network is faster in bf16 or in fp32 on this CPU."""

from __future__ import annotations

import copy
import time
from typing import Literal

import torch

from kit.engine.device.amp import Precision
from kit.engine.models.build import Classifier
from kit.engine.models.freezing import train_only

TRIAL_IMAGES = 4
TIMES = 2  # alternating, after one warm-up round
MARGIN = 1.1  # required speedup of fp32: bf16 halves the memory, and a short trial is noisy


def faster_precision(model: Classifier, native: str, training: int | Literal["all"] = "all") -> Precision:
    """Return bf16, or fp32 if one training and one prediction step are faster in fp32.

    Some networks lose more in conversions than they gain in bf16 convolutions. The model and the random state
    do not change.

    Args:
        native: The name of the CPU's bf16 instructions.
        training: Number of last stages that train, as in ``train_only``.
    """
    own = model.preprocessing
    images = torch.zeros(TRIAL_IMAGES, own.channels, max(own.training), max(own.training))
    with torch.random.fork_rng(devices=[]):
        trial = copy.deepcopy(model)
        train_only(trial.backbone, training)
        rounds = [[_seconds(trial, images, name) for name in ("bf16", "fp32")] for _ in range(1 + TIMES)]
    bf16, fp32 = (min(seconds) for seconds in zip(*rounds[1:], strict=True))
    if bf16 > fp32 * MARGIN:
        return Precision("fp32", f"measured: {bf16 / fp32:.1f} times as fast as bf16")
    return Precision("bf16", f"the CPU has {native}; measured: {fp32 / bf16:.1f} times as fast as fp32")


def _seconds(model: Classifier, images: torch.Tensor, name: str) -> float:
    """Return the seconds of one training and one prediction step."""
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
        outputs = model.train()(images)
    main = outputs[0] if isinstance(outputs, tuple) else outputs
    main.float().square().mean().backward()
    model.zero_grad()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
        model.eval()(images)
    return time.perf_counter() - began
