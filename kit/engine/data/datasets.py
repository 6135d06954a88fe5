"""Pictures -> batches: varied by seed, never replaced in silence."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kit.competition.decode import UnreadableImageError
from kit.config import at_epoch
from kit.engine.augment.pipelines import Transform
from kit.engine.data.image_store import ImageStore, Picture, pictures_of
from kit.engine.data.sampling import EpochPlan
from kit.runtime.seeds import stable_seed

CPU_BATCH_PIXELS = 16 * 112 * 112  # measured with mobilenetv2_100 and resnet18 at 64 to 224 pixels
CPU_BATCH = 8, 64  # the smallest and the largest batch


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

    def part(self, rows: slice) -> ImageSet:
        """Return some of the images."""
        targets = None if self.targets is None else self.targets[rows]
        return ImageSet(self.ids[rows], self.pictures[rows], targets)


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


class View(NamedTuple):
    """How images are seen: a transform, and the shape (channels, size) of what it gives."""

    transform: Transform
    shape: tuple[int, int]

    @property
    def blank(self) -> torch.Tensor:
        """The stand-in for an image that could not be read."""
        channels, size = self.shape
        return torch.zeros(channels, size, size, dtype=torch.uint8)


class ImageDataset(Dataset[Item]):
    """Images under a transform. The draw depends on the epoch, the id, and how often it came before.

    Args:
        views: From which epoch on images are seen how; the first begins with 0 or 1.
    """

    def __init__(self, images: ImageSet, store: ImageStore, views: Mapping[int, View], seed: int):
        self.images = images
        self.store = store
        self.views = dict(views)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> Item:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[Key]) -> list[Item]:
        """Return a batch, whose images are read together."""
        loaded = self.store.load_all([self.images.pictures[key.position] for key in keys])
        return [self._varied(key, pixels) for key, pixels in zip(keys, loaded, strict=True)]

    def _varied(self, key: Key, pixels: np.ndarray | UnreadableImageError) -> Item:
        view = at_epoch(self.views, key.epoch)
        if isinstance(pixels, UnreadableImageError):
            return Item(view.blank, key.position, f"could be read before and cannot now: {pixels}")
        drawn = (self.seed, key.epoch, self.images.ids[key.position])
        seed = stable_seed(*drawn, key.copy) if key.copy else stable_seed(*drawn)
        try:
            varied = view.transform(pixels, seed)
        except Exception as error:  # whatever a free pipeline may raise: the image is named, not a traceback
            return Item(view.blank, key.position, f"the augmentation fails on it: {error}")
        return Item(channels_first(varied), key.position, "")


class EpochBatches(Sampler[list[Key]]):
    """Batches of keys: shuffled anew each epoch by (seed, epoch), or in order without a seed.

    When shuffled, a last batch of a single image is dropped, since batch norm cannot train on one.

    Args:
        length: How many images there are.
        plan: Which of them an epoch takes, and how often; None: each once.
    """

    def __init__(self, length: int, batch_size: int, seed: int | None, plan: EpochPlan | None = None) -> None:
        self.plan = plan or EpochPlan.of_all(length)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0  # how many batches of the epoch are done

    def __len__(self) -> int:
        """Return how many batches a whole epoch has."""
        whole, rest = divmod(self.plan.length, self.batch_size)
        return whole + (rest > (1 if self.seed is not None else 0))

    def __iter__(self) -> Iterator[list[Key]]:
        yield from islice(self.whole_epoch(), self.start, None)

    def whole_epoch(self) -> Iterator[list[Key]]:
        """Yield the epoch's batches from the first."""
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
    return Batch(stacked([item.image for item in items]), indices, problems)


def channels_first(image: np.ndarray) -> torch.Tensor:
    """Return an image (H, W, C) as a tensor (C, H, W) of the same memory, where that may be written to."""
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)


def stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return images (C, H, W) as a batch that lies channels-last in memory, as the network wants it."""
    if images[0].ndim != 3:
        return torch.stack(list(images))
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def without_gradients(micro_batch_size: int, device: torch.device, size: int) -> int:
    """Return how many images of ``size`` pixels to predict at once where ``micro_batch_size`` fit the memory.

    On a CPU small batches are faster: a layer's output is still in the processor's cache for the next layer.
    """
    if device.type != "cpu":
        return micro_batch_size
    fewest, most = CPU_BATCH
    return min(micro_batch_size, max(fewest, min(most, CPU_BATCH_PIXELS // size**2)))


def make_loader(
    dataset: Dataset[Any],
    batches: EpochBatches,
    workers: int | None,
    device: torch.device,
    collate: Callable[[list[Any]], Any] = collate,
) -> DataLoader[Any]:
    """Return a loader; ``workers`` None takes none on a CPU, whose cores compute, and up to 8 on a GPU.

    Args:
        collate: Makes a batch of the items of the dataset.
    """
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then stops cleanly
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
