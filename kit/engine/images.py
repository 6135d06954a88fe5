"""Files -> batches: decoded once, varied by seed, never replaced in silence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kit.competition.decode import ColourMode, UnreadableImageError, decode
from kit.engine.augment import Transform
from kit.errors import KitError
from kit.progress import Progress
from kit.seeds import stable_seed

AUTO_SHARE_OF_MEMORY = 0.25
UNITS = {"MB": 10**6, "GB": 10**9}


class ImageStore:
    """Decoded images of one competition, kept in memory while they fit the budget.

    Args:
        root: What paths are relative to.
        cache: ``auto`` (a quarter of the memory), ``none``, or a size such as ``2GB``.
    """

    def __init__(self, root: Path, mode: ColourMode, cache: str) -> None:
        self.root = root
        self.mode: ColourMode = mode
        self.budget = cache_budget(cache)
        self.held: dict[str, np.ndarray] = {}
        self.held_bytes = 0
        self.full = self.budget == 0

    def load(self, path: str) -> np.ndarray:
        """Return the image at ``path``, (H, W, C) uint8."""
        held = self.held.get(path)
        return held if held is not None else self._keep(path, decode(self.root / path, self.mode))

    def preload(self, paths: Sequence[str], progress: Progress) -> None:
        """Decode ahead, in threads, what fits and is not held; unreadable images are left for ``load``."""
        missing = [path for path in paths if path not in self.held]
        if not missing or self.full:
            return
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = pool.map(self._try_decode, missing)
            for path, image in zip(
                missing, progress.track(decoded, len(missing), "decoding images"), strict=True
            ):
                if image is not None:
                    self._keep(path, image)

    def _try_decode(self, path: str) -> np.ndarray | None:
        if self.full:
            return None
        try:
            return decode(self.root / path, self.mode)
        except UnreadableImageError:
            return None

    def _keep(self, path: str, image: np.ndarray) -> np.ndarray:
        self.full = self.full or self.held_bytes + image.nbytes > self.budget
        if not self.full and path not in self.held:
            self.held[path] = image
            self.held_bytes += image.nbytes
        return image


def cache_budget(cache: str) -> int:
    """Return how many bytes ``image.cache`` allows.

    Raises:
        KitError: It is neither ``auto``, ``none`` nor a size.
    """
    if cache == "none":
        return 0
    if cache == "auto":
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * AUTO_SHARE_OF_MEMORY)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB)", cache)
    if size is None:
        raise KitError("image.cache", f"is '{cache}'", "Allowed: auto, none, or a size such as 500MB or 2GB")
    return int(float(size[1]) * UNITS[size[2]])


@dataclass(frozen=True)
class ImageSet:
    """Some images of a store: ids, paths and, where known, targets, all in the same order."""

    ids: list[str]
    paths: list[str]
    targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


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
    """Images under a transform. Keys are (epoch, position), and the draw depends on epoch and id alone."""

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

    def __getitem__(self, key: tuple[int, int]) -> Item:
        epoch, position = key
        try:
            pixels = self.store.load(self.images.paths[position])
        except UnreadableImageError as error:
            channels, size = self.blank
            return Item(torch.zeros(channels, size, size, dtype=torch.uint8), position, str(error))
        varied = self.transform(pixels, stable_seed(self.seed, epoch, self.images.ids[position]))
        return Item(torch.from_numpy(np.ascontiguousarray(varied.transpose(2, 0, 1))), position, "")


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, position): shuffled anew each epoch by (seed, epoch), or in order without a seed.

    When shuffled, a last batch of a single image is dropped, since batch norm cannot train on one.
    """

    def __init__(self, length: int, batch_size: int, seed: int | None) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        whole, rest = divmod(self.length, self.batch_size)
        return whole + (rest > (1 if self.seed is not None else 0))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.arange(self.length)
        if self.seed is not None:
            np.random.default_rng(stable_seed(self.seed, "order", self.epoch)).shuffle(order)
        for number in range(len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield [(self.epoch, int(position)) for position in chosen]


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
