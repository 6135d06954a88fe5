"""A config put together as for training fold 0, and measured on a few of its images, over and over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.bench.pace import Effort, Pace, Stopwatch
from kit.config import Config
from kit.runtime.progress import Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, image_store
from kit.training.fold import FoldWork

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

    from kit.engine.data.datasets import Batch
    from kit.engine.data.image_store import Picture
    from kit.engine.fit.components import FoldImages
    from kit.engine.models.preprocessing import Preprocessing

STEPS_OF_EPOCH = 2000  # more than are measured: an epoch never ends while it is
PREFETCHED = 2  # batches of each loader process, as torch has it
SEED = 0


@dataclass(frozen=True)
class Scratch(Workspace):
    """A workspace whose decoded images lie apart, so that the first look at an image finds none.

    Attributes:
        apart: The folder for them.
    """

    apart: Path

    def cache(self, competition: str) -> Path:
        """Return the folder of what can be made again of a competition's images."""
        return self.apart / competition


@dataclass(frozen=True)
class SampledWork(FoldWork):
    """The work on folds whose epochs take a few images, and those many times.

    Attributes:
        most: How many images at most.
    """

    most: int = 512

    def sides(self, k: int, own: Preprocessing) -> FoldImages:
        """Return both sides of a fold; of the training side, a sample."""
        from kit.engine.data.sampling import EpochPlan

        images = super().sides(k, own)
        train = self.config.train
        rows = sample(len(images.train), self.most)
        wanted = STEPS_OF_EPOCH * train.batch_size * train.accumulate
        plan = EpochPlan.of(np.resize(rows, wanted))
        return replace(
            images,
            plan=replace(plan, class_weights=images.plan.class_weights, is_balanced=images.plan.is_balanced),
        )


def sample(length: int, most: int) -> np.ndarray:
    """Return at most so many of so many positions, always the same ones."""
    rows: np.ndarray = np.random.default_rng(SEED).permutation(length)[:most]
    return rows


@dataclass(frozen=True)
class Place:
    """Where configs are measured.

    Attributes:
        run: Stands for the experiment's folder.
        most: On how many images at most.
    """

    workspace: Scratch
    data: TrainingData
    run: RunFolder
    most: int
    progress: Progress


class Rig:
    """One config, put together by what trains it, and what parts of it and the whole manage.

    Epochs are measured as the last one is: everything trains that ever does, at the last size.

    Args:
        micro_batch_size: How many images go through the model at once; None: as configured.
    """

    def __init__(self, config: Config, place: Place, micro_batch_size: int | None = None) -> None:
        from kit.engine.fit.trainer import RetryState

        self.config, self.place = config, place
        self.store = image_store(config, place.workspace, place.data)
        self.work = SampledWork(
            config, place.workspace, place.data, place.run, self.store, place.progress, most=place.most
        )
        self.trainer = self.work.trainer(0, RetryState(micro_batch_size=micro_batch_size))
        self.trainer.state.epoch = config.train.epochs - 1
        self.loader = self.trainer.components.train_loader
        self.rows = sample(len(self.trainer.images.train), place.most)

    @property
    def device(self) -> torch.device:
        """Where steps are computed."""
        device: torch.device = self.trainer.components.amp.device
        return device

    @property
    def precision(self) -> str:
        """The number format: ``fp32``, ``bf16`` or ``fp16``."""
        name = str(self.trainer.components.amp.precision)
        return "fp32" if name == "no" else name

    @property
    def workers(self) -> int:
        """How many processes load images."""
        return int(self.loader.num_workers)

    @property
    def is_even(self) -> bool:
        """Whether a step waits for nothing that goes on beside it, as ``Pace`` wants to know."""
        return self.device.type == "cpu" and self.workers <= 1

    @property
    def pictures(self) -> list[Picture]:
        """What is measured on."""
        return [self.trainer.images.train.pictures[row] for row in self.rows]

    def first_look(self) -> Pace:
        """Return the pace at which images are decoded, kept and varied that were not looked at before."""
        from kit.engine.data.datasets import EpochBatches, make_loader
        from kit.engine.data.sampling import EpochPlan

        images, train = self.trainer.images, self.config.train
        rows = np.resize(self.rows, max(2, len(self.rows)))  # a batch of one is left out
        batches = EpochBatches(len(images.train), train.batch_size, SEED, EpochPlan.of(rows))
        batches.epoch = train.epochs
        loader = make_loader(images.varied, batches, self.workers, self.device)
        watch = Stopwatch(self.device, Effort(0, len(batches)), self.is_even, self.place.progress)
        return _taken(watch, loader)

    def data(self, effort: Effort) -> Pace:
        """Return the pace of decoding and varying alone."""
        batches = self.trainer.components.batches
        batches.epoch, batches.start = self.config.train.epochs, 0
        return _taken(self.stopwatch(effort), self.loader)

    def step(self, effort: Effort) -> Pace:
        """Return the pace of training steps on one batch that is on the device already."""
        return self._train(effort, self.resident)

    def pipeline(self, effort: Effort) -> Pace:
        """Return the pace of training."""
        return self._train(effort)

    @cached_property
    def resident(self) -> Batch:
        """A batch on the device."""
        self.trainer.components.batches.epoch, self.trainer.components.batches.start = (
            self.config.train.epochs,
            0,
        )
        batch: Batch = next(iter(self.loader))
        return batch._replace(images=batch.images.to(self.device))

    def _train(self, effort: Effort, instead: Batch | None = None) -> Pace:
        """Return the pace of the trainer's own epoch, from its first step on."""
        watch = self.stopwatch(effort, instead)
        self.trainer.state.step = 0
        self.trainer.train_epoch(watch, self.config.model.name)
        return watch.pace

    def stopwatch(self, effort: Effort, instead: Any = None) -> Stopwatch:
        """Return a stopwatch; processes that load beside the steps need longer to get into their stride."""
        warmup = effort.warmup + (0 if instead else PREFETCHED * self.workers)
        patient = replace(effort, warmup=warmup)
        return Stopwatch(self.device, patient, self.is_even, self.place.progress, instead)


def _taken(watch: Stopwatch, loader: DataLoader[Any]) -> Pace:
    for _ in watch.track(loader, len(loader), ""):
        pass
    return watch.pace
