"""Training and predicting on a CUDA GPU: ``python -m tests.benchmarks.gpu``.

resnet50 at 224 px under preset heavy, on drawn JPEGs or those of cse144. Every figure is of one run; ceilings and
the whole take turns.
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
OF_STEP, OF_FP32 = 0.95, 2.0
TRAINING = f"training {MODEL} at 224 px, preset heavy, on a GPU"
WHATS = {
    "pipeline": f"{TRAINING}: the whole, of its step's pace",
    "amp": f"{TRAINING}: a step in mixed precision beside fp32",
    "memory": f"{TRAINING}: peak of the GPU's memory",
    "compile": f"{TRAINING}: a step compiled beside one that is not",
    "compiling": f"{TRAINING}: what compiling takes",
    "tta": f"predicting with {MODEL} through identity and hflip: the whole, of the model's pace",
    "views": f"predicting with {MODEL}: two exact views beside one, decoding included",
}


def claims() -> list[Claim]:
    """Return all of it."""
    if not torch.cuda.is_available():
        return [not_measured(what, "no CUDA GPU") for what in WHATS.values()]
    with photos(IMAGES) as (workspace, about):
        detail = f"{torch.cuda.get_device_name()}, batches of {BATCH}, {WORKERS} loader processes, {about}"
        return [
            *as_configured(workspace, detail),
            *in_fp32(workspace),
            *compiled(workspace),
            *views(workspace),
        ]


def heavy(workspace: Workspace, *overrides: str) -> Config:
    """Return the experiment."""
    return config_of(workspace, MODEL, BATCH, "augment.preset=heavy", f"train.workers={WORKERS}", *overrides)


@contextmanager
def rigged(workspace: Workspace, *overrides: str) -> Iterator[Rig]:
    """Yield the experiment put together, all of its images decoded."""
    config = heavy(workspace, *overrides)
    with measuring_place(config, workspace, IMAGES) as place:
        rig = Rig(config, place)
        rig.uncached()
        yield rig
        del rig
    free_memory()


def as_configured(workspace: Workspace, detail: str) -> list[Claim]:
    """Return how near the whole comes to its step, and the memory that it takes."""
    with rigged(workspace) as rig:
        _reset_peak()
        ratios, steps, wholes, data = [], [], [], rig.data(EFFORT).rate
        for _ in range(ROUNDS):
            steps.append(rig.step(EFFORT).rate)
            wholes.append(rig.pipeline(EFFORT).rate)
            ratios.append(wholes[-1] / steps[-1])
        peak, precision = _peak_mb(), rig.precision
    told = f"{statistics.median(wholes):,.0f} of {statistics.median(steps):,.0f} images/s"
    whole = f"{told}; the data alone {data:,.0f}; {precision}; {detail}"
    return [
        Claim(WHATS["pipeline"], statistics.median(ratios), OF_STEP, "higher", "x", whole),
        Claim(WHATS["memory"], peak, None, "lower", "MB", f"{precision}; {detail}"),
    ]


def in_fp32(workspace: Workspace) -> list[Claim]:
    """Return what mixed precision gains: in fp32, PyTorch lets convolutions use TF32, and so does kit."""
    rates: dict[str, list[float]] = {"auto": [], "fp32": []}
    for _ in range(ROUNDS):
        for precision, found in rates.items():
            with placed(workspace, f"train.precision={precision}") as (config, place):
                found.append(Rig(config, place).step(EFFORT).rate)
            free_memory()
    auto, fp32 = (statistics.median(found) for found in rates.values())
    detail = f"{auto:,.0f} against {fp32:,.0f} images/s"
    return [Claim(WHATS["amp"], auto / fp32, OF_FP32, "higher", "x", detail)]


@contextmanager
def placed(workspace: Workspace, *overrides: str) -> Iterator[tuple[Config, Place]]:
    """Yield the experiment, and where to put it together."""
    config = heavy(workspace, *overrides)
    with measuring_place(config, workspace, IMAGES) as place:
        yield config, place


def compiled(workspace: Workspace) -> list[Claim]:
    """Return what ``train.compile`` gains, and the seconds until its first step is done."""
    with placed(workspace) as (config, place):
        plain = Rig(config, place).step(EFFORT).rate
    free_memory()
    with placed(workspace, "train.compile=true") as (config, place):
        rig = Rig(config, place)
        rig.resident  # noqa: B018 — loaded before the clock starts
        began = time.perf_counter()
        rig.step(Effort(0, 1))
        seconds = time.perf_counter() - began
        quick = rig.step(EFFORT).rate
        del rig
    free_memory()
    detail = f"{quick:,.0f} against {plain:,.0f} images/s"
    return [
        Claim(WHATS["compile"], quick / plain, None, "higher", "x", detail),
        Claim(WHATS["compiling"], seconds, None, "lower", "s", "the first step, compiling included"),
    ]


def views(workspace: Workspace) -> list[Claim]:
    """Return what predicting through views costs that are made of images on the GPU."""
    found = {}
    for views in ("identity", "identity, hflip"):
        with placed(workspace, f"predict={{tta: [{views}], batch_size: {BATCH}}}") as (config, place):
            found[views] = infer(Rig(config, place), EFFORT)
        free_memory()
    one, two = found.values()
    told = f"{two.pipeline:,.0f} images/s through both, {one.pipeline:,.0f} through one"
    return [
        Claim(WHATS["tta"], two.ratio, None, "higher", "x", f"the model alone {two.step:,.0f} images/s"),
        Claim(WHATS["views"], one.pipeline / two.pipeline, None, "lower", "x", told),
    ]


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_mb() -> float:
    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0


if __name__ == "__main__":
    claim_process()
    show(claims())
