"""Which number format a network is quicker in, tried on the processor at hand."""

from __future__ import annotations

import copy
import time
from typing import Literal

import torch

from kit.engine.device.amp import Precision
from kit.engine.models.build import Classifier
from kit.engine.models.freezing import train_only

TRIAL_IMAGES = 4
TIMES = 2  # after one that does not count, in turns
MARGIN = 1.1  # so much quicker fp32 has to be: bf16 takes half the memory, and a trial as short as this errs


def faster_precision(model: Classifier, native: str, training: int | Literal["all"] = "all") -> Precision:
    """Return bf16, or fp32 where that is quicker: learning from a few images and predicting them as often.

    On a CPU that computes in bf16 networks differ: what is won in convolutions may be lost in converting.
    The model stays as it is, and so does what is drawn after.

    Args:
        native: The name of the CPU's bf16 instructions.
        training: How many of the last stages learn, as ``train_only`` takes it.
    """
    own = model.preprocessing
    images = torch.zeros(TRIAL_IMAGES, own.channels, max(own.training), max(own.training))
    with torch.random.fork_rng(devices=[]):
        trial = copy.deepcopy(model)
        train_only(trial.backbone, training)
        rounds = [[_seconds(trial, images, name) for name in ("bf16", "fp32")] for _ in range(1 + TIMES)]
    bf16, fp32 = (min(seconds) for seconds in zip(*rounds[1:], strict=True))
    if bf16 > fp32 * MARGIN:
        return Precision("fp32", f"tried: {bf16 / fp32:.1f} times as quick as bf16")
    return Precision("bf16", f"the CPU has {native}; tried: {fp32 / bf16:.1f} times as quick as fp32")


def _seconds(model: Classifier, images: torch.Tensor, name: str) -> float:
    """Return what learning from some images and predicting them takes."""
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
        outputs = model.train()(images)
    main = outputs[0] if isinstance(outputs, tuple) else outputs
    main.float().square().mean().backward()
    model.zero_grad()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
        model.eval()(images)
    return time.perf_counter() - began
