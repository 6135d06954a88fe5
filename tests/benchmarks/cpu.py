"""Compare CPU speed with fastai and with a bare training loop: ``python -m tests.benchmarks.cpu``.

mobilenetv2_100 at 224 px, 32 images per step. Each round measures kit, then a bare loop of steps on one batch
in memory (in the precision that kit chose), then fastai at its defaults. fastai is taken from this Python, or
from the one that ``$KIT_PEERS`` names.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from torch import nn

from kit.bench.inference import infer
from kit.bench.measure import measuring_place
from kit.bench.pace import Effort, Pace
from kit.bench.rig import Rig
from kit.runtime.process import claim_process
from kit.runtime.progress import SILENT
from kit.storage.files import write_json
from tests.benchmarks.claim import Claim, not_measured, show
from tests.benchmarks.peers.peers import Peer, peer_request, run_peer
from tests.benchmarks.photos import config_of, photos

MODEL, BATCH = "mobilenetv2_100", 32
ROUNDS, WARMUP, STEPS = 3, 2, 6
PREDICTED = 24  # batches of 16 images
PEER_STEPS = 16  # enough that images prefetched by its loader processes before the first step hardly count
IMAGES = 512
MIN_OVER_FASTAI, MIN_OVER_BARE, MIN_OVER_GET_PREDS = 2.5, 0.95, 3.0
TRAINING = f"training {MODEL} at 224 px on a CPU"
PREDICTION = f"prediction with {MODEL} including decoding"


class BareLoop:
    """Training steps of a network on one batch: channels last, AdamW, and nothing else.

    Args:
        precision: The precision that kit chose: ``fp32`` or ``bf16``.
    """

    def __init__(self, classes: int, precision: str) -> None:
        self.precision = precision
        self.model = timm.create_model(MODEL, num_classes=classes).train()
        self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.05)
        self.images = torch.randn(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
        self.labels = torch.randint(classes, (BATCH,))

    def step(self) -> None:
        """Run one training step."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.model(self.images)
        loss = nn.functional.cross_entropy(logits.float(), self.labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()

    def pace(self) -> Pace:
        """Return the pace of ``STEPS`` steps, after ``WARMUP`` steps that do not count."""
        moments = []
        for _ in range(WARMUP + STEPS):
            self.step()
            moments.append(time.perf_counter())
        seconds = [after - before for before, after in itertools.pairwise(moments[WARMUP - 1 :])]
        return Pace(True, [BATCH] * len(seconds), seconds)


@dataclass
class Rates:
    """Images per second, one value per round."""

    kit: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    peer: list[Peer] = field(default_factory=list)


def python_of_fastai() -> str | None:
    """Return the Python that has fastai, or None."""
    if importlib.util.find_spec("fastai"):
        return sys.executable
    return os.environ.get("KIT_PEERS")


def measured(rig: Rig, request: Path, python: str | None) -> Rates:
    """Return the speeds of kit, the bare loop and fastai, measured in turns."""
    rates = Rates()
    rig.uncached()
    bare = BareLoop(len(rig.place.data.competition.classes), rig.precision)
    for _ in range(ROUNDS):
        rates.kit.append(rig.pipeline(Effort(WARMUP, STEPS)).rate)
        rates.bare.append(bare.pace().rate)
        rates.predicted.append(infer(rig, Effort(1, PREDICTED)).pipeline)
        if python is not None:
            rates.peer.append(run_peer("fastai", request, SILENT, python))
    return rates


def claims() -> list[Claim]:
    """Return the claims."""
    python = python_of_fastai()
    with photos() as (workspace, about):
        config = config_of(workspace, MODEL, BATCH)
        with measuring_place(config, workspace, IMAGES) as place:
            rig = Rig(config, place)
            request = workspace.root / "request.json"
            write_json(request, peer_request(config, place, rig.pictures, PEER_STEPS))
            rates = measured(rig, request, python)
            detail = f"on {about}, batches of {BATCH}, {rig.precision}"
    name = f"{TRAINING}: speed over a bare {rig.precision} training step"
    over_bare = _claim(name, rates.kit, rates.bare, MIN_OVER_BARE, detail)
    return [*_over_fastai(rates, detail), over_bare]


def _over_fastai(rates: Rates, detail: str) -> list[Claim]:
    training = f"{TRAINING}: speed over fastai's defaults"
    prediction = f"{PREDICTION}: speed over fastai's get_preds"
    problem = next((peer.problem for peer in rates.peer if peer.problem), "")
    if not rates.peer or problem:
        why = problem or "fastai is not installed; $KIT_PEERS may name a Python that has it"
        return [not_measured(name, why, "higher") for name in (training, prediction)]
    versions = ", ".join(f"{name} {version}" for name, version in rates.peer[0].versions.items())
    trained = [peer.train for peer in rates.peer if peer.train is not None]
    predicted = [peer.predict for peer in rates.peer if peer.predict is not None]
    return [
        _claim(training, rates.kit, trained, MIN_OVER_FASTAI, f"{detail}; {versions}"),
        _claim(prediction, rates.predicted, predicted, MIN_OVER_GET_PREDS, f"{detail}; {versions}"),
    ]


def _claim(name: str, own: Sequence[float], other: Sequence[float], limit: float, detail: str) -> Claim:
    """Return the claim of a ratio: the median over rounds, each of which measured both."""
    ratios = [a / b for a, b in zip(own, other, strict=True)]
    speeds = f"{statistics.median(own):.1f} against {statistics.median(other):.1f} images/s"
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return Claim(
        name, statistics.median(ratios), limit, "higher", detail=f"{speeds}; by round {rounds}; {detail}"
    )


if __name__ == "__main__":
    claim_process()
    show(claims())
