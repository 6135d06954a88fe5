"""Pictures -> batches: varied by seed, never replaced in silence."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kit.competition.decode import UnreadableImageError
from kit.engine.augment import Transform
from kit.engine.balance import Plan
from kit.engine.store import ImageStore, Picture, pictures_of
from kit.seeds import stable_seed


@dataclass(frozen=True)
class ImageSet:
    """Some images of a store: ids, pictures and, where known, targets, all in the same order."""

    ids: list[str]
    pictures: list[Picture]
    targets: np.ndarray | None = None

    @classmethod
    def of(cls, samples: pd.DataFrame, targets: np.ndarray | None = None) -> ImageSet:
        """Return samples (``id path``, perhaps a box) as images, with their targets if they are known."""
        return cls(list(samples["id"]), pictures_of(samples), targets)

    def __len__(self) -> int:
        return len(self.ids)


class Key(NamedTuple):
    """Which image of a set, in which epoch, and how often it came in that epoch before."""

    epoch: int
    position: int
    copy: int = 0


class Item(NamedTuple):
    """One image on its way to the model; ``problem`` is empty unless it could not be read."""

    image: torch.Tensor
    position: int
    problem: str


class Batch(NamedTuple):
    """Images (B, C, size, size) uint8, their positions in the set (B,), and position -> what was wrong."""

    images: torch.Tensor
    indices: torch.Tensor
    problems: dict[int, str]


class ImageDataset(Dataset[Item]):
    """Images under a transform. The draw depends on the epoch, the id, and how often it came before."""

    def __init__(
        self, images: ImageSet, store: ImageStore, transform: Transform, blank: tuple[int, int], seed: int
    ):
        self.images = images
        self.store = store
        self.transform = transform
        self.blank = blank  # (channels, size) of the stand-in for an image that could not be read
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> Item:
        try:
            pixels = self.store.load(self.images.pictures[key.position])
        except UnreadableImageError as error:
            channels, size = self.blank
            return Item(torch.zeros(channels, size, size, dtype=torch.uint8), key.position, str(error))
        drawn = (self.seed, key.epoch, self.images.ids[key.position])
        varied = self.transform(pixels, stable_seed(*drawn, key.copy) if key.copy else stable_seed(*drawn))
        return Item(torch.from_numpy(np.ascontiguousarray(varied.transpose(2, 0, 1))), key.position, "")


class EpochBatches(Sampler[list[Key]]):
    """Batches of keys: shuffled anew each epoch by (seed, epoch), or in order without a seed.

    When shuffled, a last batch of a single image is dropped, since batch norm cannot train on one.

    Args:
        length: How many images there are.
        plan: Which of them an epoch takes, and how often; None: each once.
    """

    def __init__(self, length: int, batch_size: int, seed: int | None, plan: Plan | None = None) -> None:
        self.plan = plan or Plan.of_all(length)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.plan.length, self.batch_size)
        return whole + (rest > (1 if self.seed is not None else 0))

    def __iter__(self) -> Iterator[list[Key]]:
        positions = self.plan.positions(stable_seed(self.seed, "plan", self.epoch))
        if self.seed is not None:
            np.random.default_rng(stable_seed(self.seed, "order", self.epoch)).shuffle(positions)
        seen: Counter[int] = Counter()
        for number in range(len(self)):
            batch = []
            for position in positions[number * self.batch_size : (number + 1) * self.batch_size].tolist():
                batch.append(Key(self.epoch, position, seen[position]))
                seen[position] += 1
            yield batch


def collate(items: list[Item]) -> Batch:
    """Return a batch of items."""
    problems = {item.position: item.problem for item in items if item.problem}
    indices = torch.tensor([item.position for item in items])
    return Batch(torch.stack([item.image for item in items]), indices, problems)


def make_loader(
    dataset: ImageDataset, batches: EpochBatches, workers: int | None, device: torch.device
) -> DataLoader[Any]:
    """Return a loader; ``workers`` None takes none on a CPU, whose cores compute, and up to 8 on a GPU."""
    if workers is None:
        workers = 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
        # Its own, or starting workers would draw from the generator that mixup and dropout draw from.
        generator=torch.Generator(),
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
