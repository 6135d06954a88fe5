"""Measure training and prediction on a CUDA GPU: ``python -m tests.benchmarks.gpu``.

resnet50 at 224 px with preset heavy, on drawn JPEGs or the photos of cse144. Each ratio compares measurements
of one run; parts and the whole pipeline are measured in turns.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kit.bench.inference import infer
from kit.bench.measure import measuring_place
from kit.bench.pace import Effort
from kit.bench.rig import Place, Rig
from kit.config import Config
from kit.engine.device.memory import free_memory
from kit.runtime.process import claim_process
from kit.storage.workspace import Workspace
from tests.benchmarks.claim import Claim, not_measured, show
from tests.benchmarks.photos import config_of, photos

MODEL, BATCH, IMAGES = "resnet50", 128, 4_096
ROUNDS = 3
EFFORT = Effort(warmup=10, steps=30, seconds=3.0)
WORKERS = min(16, os.cpu_count() or 1)
MIN_OVER_STEP, MIN_OVER_FP32 = 0.95, 2.0
TRAINING = f"training {MODEL} at 224 px, preset heavy, on a GPU"
NAMES = {
    "pipeline": f"{TRAINING}: speed over the training step alone",
    "amp": f"{TRAINING}: speed of a mixed-precision step over fp32",
    "memory": f"{TRAINING}: peak GPU memory",
    "compile": f"{TRAINING}: speed of a compiled step over an eager one",
    "compiling": f"{TRAINING}: time to compile",
    "tta": f"prediction with {MODEL}, views identity and hflip: speed over the model alone",
    "views": f"prediction with {MODEL} including decoding: time of two views over one",
}


def claims() -> list[Claim]:
    """Return the claims."""
    if not torch.cuda.is_available():
        return [not_measured(name, "no CUDA GPU") for name in NAMES.values()]
    with photos(IMAGES) as (workspace, about):
        detail = f"{torch.cuda.get_device_name()}, batches of {BATCH}, {WORKERS} loader processes, {about}"
        return [
            *as_configured(workspace, detail),
            *in_fp32(workspace),
            *compiled(workspace),
            *views(workspace),
        ]


def heavy(workspace: Workspace, *overrides: str) -> Config:
    """Return the config of the experiment."""
    return config_of(workspace, MODEL, BATCH, "augment.preset=heavy", f"train.workers={WORKERS}", *overrides)


@contextmanager
def open_rig(workspace: Workspace, *overrides: str) -> Iterator[Rig]:
    """Yield the rig of the experiment, with all images decoded."""
    config = heavy(workspace, *overrides)
    with measuring_place(config, workspace, IMAGES) as place:
        rig = Rig(config, place)
        rig.uncached()
        yield rig
        del rig
    free_memory()


def as_configured(workspace: Workspace, detail: str) -> list[Claim]:
    """Return the claims about the speed of the pipeline over its step, and about memory."""
    with open_rig(workspace) as rig:
        _reset_peak()
        ratios, steps, wholes, data = [], [], [], rig.data(EFFORT).rate
        for _ in range(ROUNDS):
            steps.append(rig.step(EFFORT).rate)
            wholes.append(rig.pipeline(EFFORT).rate)
            ratios.append(wholes[-1] / steps[-1])
        peak, precision = _peak_mb(), rig.precision
    speeds = f"{statistics.median(wholes):,.0f} of {statistics.median(steps):,.0f} images/s"
    whole = f"{speeds}; data loading alone {data:,.0f}; {precision}; {detail}"
    return [
        Claim(NAMES["pipeline"], statistics.median(ratios), MIN_OVER_STEP, "higher", "x", whole),
        Claim(NAMES["memory"], peak, None, "lower", "MB", f"{precision}; {detail}"),
    ]


def in_fp32(workspace: Workspace) -> list[Claim]:
    """Return the claim about mixed precision over fp32 (convolutions use TF32, PyTorch's default)."""
    rates: dict[str, list[float]] = {"auto": [], "fp32": []}
    for _ in range(ROUNDS):
        for precision, found in rates.items():
            with open_place(workspace, f"train.precision={precision}") as (config, place):
                found.append(Rig(config, place).step(EFFORT).rate)
            free_memory()
    auto, fp32 = (statistics.median(found) for found in rates.values())
    detail = f"{auto:,.0f} against {fp32:,.0f} images/s"
    return [Claim(NAMES["amp"], auto / fp32, MIN_OVER_FP32, "higher", "x", detail)]


@contextmanager
def open_place(workspace: Workspace, *overrides: str) -> Iterator[tuple[Config, Place]]:
    """Yield the config of the experiment, and the place to measure it in."""
    config = heavy(workspace, *overrides)
    with measuring_place(config, workspace, IMAGES) as place:
        yield config, place


def compiled(workspace: Workspace) -> list[Claim]:
    """Return the claims about ``train.compile``: the speed, and the seconds of the first step."""
    with open_place(workspace) as (config, place):
        plain = Rig(config, place).step(EFFORT).rate
    free_memory()
    with open_place(workspace, "train.compile=true") as (config, place):
        rig = Rig(config, place)
        rig.resident  # noqa: B018 — loaded before the time starts
        start = time.perf_counter()
        rig.step(Effort(0, 1))
        seconds = time.perf_counter() - start
        quick = rig.step(EFFORT).rate
        del rig
    free_memory()
    detail = f"{quick:,.0f} against {plain:,.0f} images/s"
    return [
        Claim(NAMES["compile"], quick / plain, None, "higher", "x", detail),
        Claim(NAMES["compiling"], seconds, None, "lower", "s", "the first step, including compilation"),
    ]


def views(workspace: Workspace) -> list[Claim]:
    """Return the claims about prediction with views that are computed on the GPU."""
    found = {}
    for views in ("identity", "identity, hflip"):
        with open_place(workspace, f"predict={{tta: [{views}], batch_size: {BATCH}}}") as (config, place):
            found[views] = infer(Rig(config, place), EFFORT)
        free_memory()
    one, two = found.values()
    speeds = f"{two.pipeline:,.0f} images/s with both, {one.pipeline:,.0f} with one"
    return [
        Claim(NAMES["tta"], two.ratio, None, "higher", "x", f"model alone {two.step:,.0f} images/s"),
        Claim(NAMES["views"], one.pipeline / two.pipeline, None, "lower", "x", speeds),
    ]


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_mb() -> float:
    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0


if __name__ == "__main__":
    claim_process()
    show(claims())
