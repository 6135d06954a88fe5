"""Run the trainer of fold 0 on a small sample of images, part by part, to measure it."""

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
from kit.training.fold import FoldRunner
from kit.training.teachers import without_teachers

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

    from kit.engine.data.datasets import Batch, ImageSet
    from kit.engine.data.image_store import Picture
    from kit.engine.fit.components import FoldImages
    from kit.engine.models.preprocessing import Preprocessing

STEPS_OF_EPOCH = 2000  # more than are measured, so no measurement reaches the end
PREFETCHED = 2  # batches per data-loader worker (torch's default)
SEED = 0


@dataclass(frozen=True)
class Scratch(Workspace):
    """A workspace with its own, empty image cache.

    Attributes:
        cache_root: The folder of the cache.
    """

    cache_root: Path

    def cache(self, competition: str) -> Path:
        """Return the temporary cache folder of a competition."""
        return self.cache_root / competition


@dataclass(frozen=True)
class SampledFoldRunner(FoldRunner):
    """A fold runner whose epochs repeat a small sample of images.

    Attributes:
        max_images: Maximum number of distinct images.
    """

    max_images: int = 512

    def fold_images(self, k: int, own: Preprocessing, train: ImageSet | None = None) -> FoldImages:
        """Return the images of a fold, with an epoch plan over a sample."""
        from kit.engine.data.sampling import EpochPlan

        images = super().fold_images(k, own, train)
        recipe = self.config.train
        rows = sample(len(images.train), self.max_images)
        num_images = STEPS_OF_EPOCH * recipe.batch_size * recipe.accumulate
        plan = EpochPlan.of(np.resize(rows, num_images))
        return replace(
            images,
            plan=replace(plan, class_weights=images.plan.class_weights, is_balanced=images.plan.is_balanced),
        )


def sample(length: int, most: int) -> np.ndarray:
    """Return at most ``most`` of ``length`` positions, always the same."""
    rows: np.ndarray = np.random.default_rng(SEED).permutation(length)[:most]
    return rows


@dataclass(frozen=True)
class Place:
    """Where configs are measured.

    Attributes:
        run: A temporary experiment folder.
        max_images: Maximum number of distinct images.
    """

    workspace: Scratch
    data: TrainingData
    run: RunFolder
    max_images: int
    progress: Progress


class Rig:
    """The trainer of one config, and the speed of its parts.

    Steps are those of the last epoch: all stages that ever train, at the last image size. Teachers are left
    out, since their predictions may not exist yet, and a step with them takes as long.

    Args:
        micro_batch_size: Images per forward pass; None: as configured.
    """

    def __init__(self, config: Config, place: Place, micro_batch_size: int | None = None) -> None:
        from kit.engine.fit.trainer import RetryState

        self.config, self.place = without_teachers(config), place
        self.store = image_store(config, place.workspace, place.data)
        self.runner = SampledFoldRunner(
            self.config,
            place.workspace,
            place.data,
            place.run,
            self.store,
            place.progress,
            max_images=place.max_images,
        )
        self.trainer = self.runner.trainer(0, RetryState(micro_batch_size=micro_batch_size))
        self.trainer.state.epoch = config.train.epochs - 1
        self.loader = self.trainer.components.train_loader
        self.rows = sample(len(self.trainer.images.train), place.max_images)

    @property
    def device(self) -> torch.device:
        """The device."""
        device: torch.device = self.trainer.components.amp.device
        return device

    @property
    def precision(self) -> str:
        """``fp32``, ``bf16`` or ``fp16``."""
        return str(self.trainer.components.amp.precision)

    @property
    def workers(self) -> int:
        """Number of data-loading processes."""
        return int(self.loader.num_workers)

    @property
    def is_sequential(self) -> bool:
        """Whether nothing runs in parallel to a step, as in ``Pace``."""
        return self.device.type == "cpu" and self.workers <= 1

    @property
    def pictures(self) -> list[Picture]:
        """The sampled images."""
        return [self.trainer.images.train.pictures[row] for row in self.rows]

    def uncached(self) -> Pace:
        """Return the pace of loading images that are not cached yet."""
        from kit.engine.data.datasets import EpochBatches, make_loader
        from kit.engine.data.sampling import EpochPlan

        images, train = self.trainer.images, self.config.train
        rows = np.resize(self.rows, max(2, len(self.rows)))  # a batch of one would be dropped
        batches = EpochBatches(len(images.train), train.batch_size, SEED, EpochPlan.of(rows))
        batches.epoch = train.epochs
        loader = make_loader(images.train_dataset, batches, self.workers, self.device)
        watch = Stopwatch(self.device, Effort(0, len(batches)), self.is_sequential, self.place.progress)
        return _run(watch, loader)

    def data(self, effort: Effort) -> Pace:
        """Return the pace of data loading alone."""
        batches = self.trainer.components.batches
        batches.epoch, batches.start = self.config.train.epochs, 0
        return _run(self.stopwatch(effort), self.loader)

    def step(self, effort: Effort) -> Pace:
        """Return the pace of training steps on one batch that is on the device."""
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
        """Return the pace of the trainer's own epoch."""
        watch = self.stopwatch(effort, instead)
        self.trainer.state.step = 0
        self.trainer.train_epoch(watch, self.config.model.name)
        return watch.pace

    def stopwatch(self, effort: Effort, instead: Any = None) -> Stopwatch:
        """Return a stopwatch; data-loading processes need a longer warm-up."""
        warmup = effort.warmup + (0 if instead else PREFETCHED * self.workers)
        long_enough = replace(effort, warmup=warmup)
        return Stopwatch(self.device, long_enough, self.is_sequential, self.place.progress, instead)


def _run(watch: Stopwatch, loader: DataLoader[Any]) -> Pace:
    for _ in watch.track(loader, len(loader), ""):
        pass
    return watch.pace
