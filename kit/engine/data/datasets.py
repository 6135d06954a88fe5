"""Datasets and loaders: decoded images -> transformed batches; unreadable images are reported."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from kit.competition.images.decode import UnreadableImageError
from kit.competition.metadata import cells_of
from kit.config import at_epoch
from kit.engine.augment.pipelines import Transform
from kit.engine.data.image_store import ImageStore, Picture, pictures_of
from kit.engine.data.sampling import EpochPlan
from kit.runtime.cores import usable_cores
from kit.runtime.seeds import stable_seed

CPU_BATCH_PIXELS = 16 * 112 * 112  # measured with mobilenetv2_100 and resnet18 at 64 to 224 pixels
CPU_BATCH = 8, 64  # the smallest and the largest batch


@dataclass(frozen=True)
class ImageSet:
    """A list of images: ids, pictures and, if labeled, targets, all in the same order.

    Attributes:
        soft: (N, C), the probabilities that replace the targets in the loss; NaN in rows where the targets
            hold. None: no row has any.
        teacher: (N, C), what a teacher predicts, for distillation; None: no teacher.
        cells: Their metadata, one column per name, as text; None: they have none.
    """

    ids: list[str]
    pictures: list[Picture]
    targets: np.ndarray | None = None
    soft: np.ndarray | None = None
    teacher: np.ndarray | None = None
    cells: pd.DataFrame | None = None

    @classmethod
    def of(cls, samples: pd.DataFrame, targets: np.ndarray | None = None) -> ImageSet:
        """Return the images of samples (``id path``, optionally a box)."""
        return cls(list(samples["id"]), pictures_of(samples), targets, cells=cells_of(samples))

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: slice) -> ImageSet:
        """Return some of the images."""
        return self.at(np.arange(len(self))[rows])

    def at(self, rows: np.ndarray) -> ImageSet:
        """Return the images at some positions, in their order."""
        arrays = (None if each is None else each[rows] for each in (self.targets, self.soft, self.teacher))
        targets, soft, teacher = arrays
        cells = None if self.cells is None else self.cells.iloc[rows].reset_index(drop=True)
        ids, pictures = [self.ids[i] for i in rows], [self.pictures[i] for i in rows]
        return ImageSet(ids, pictures, targets, soft, teacher, cells)

    def joined(self, other: ImageSet) -> ImageSet:
        """Return these images, then those of ``other``; both are labeled, or neither is.

        Without ``teacher``: a teacher is added to all images at once.
        """
        targets = None
        if self.targets is not None and other.targets is not None:
            targets = np.concatenate([self.targets, other.targets])
        return ImageSet(
            [*self.ids, *other.ids],
            [*self.pictures, *other.pictures],
            targets,
            _joined_soft(self, other),
            cells=_joined_cells(self, other),
        )

    def with_prefix(self, prefix: str) -> ImageSet:
        """Return the images with ids that begin with ``prefix``."""
        return replace(self, ids=[f"{prefix}{each}" for each in self.ids])

    def digest(self) -> str:
        """Return a digest of the ids and of everything that they are labeled with."""
        digest = hashlib.sha256("\n".join(self.ids).encode(errors="surrogatepass"))
        for array in (self.targets, self.soft, self.teacher):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def without_targets(self) -> ImageSet:
        """Return the images without labels."""
        return ImageSet(self.ids, self.pictures, cells=self.cells)


def _joined_soft(*sets: ImageSet) -> np.ndarray | None:
    """Return the probabilities (N, C) of several sets one after another, NaN where a set has none."""
    width = next((each.soft.shape[1] for each in sets if each.soft is not None), None)
    if width is None:
        return None
    blank = [np.full((len(each), width), np.nan, "float32") for each in sets]
    return np.concatenate([b if s.soft is None else s.soft for s, b in zip(sets, blank, strict=True)])


def _joined_cells(*sets: ImageSet) -> pd.DataFrame | None:
    """Return the metadata of several sets one after another; cells that a set lacks are blank."""
    if all(each.cells is None for each in sets):
        return None
    tables = [pd.DataFrame(index=range(len(each))) if each.cells is None else each.cells for each in sets]
    return pd.concat(tables, ignore_index=True).fillna("")


class SampleKey(NamedTuple):
    """Epoch, position in the set, and how often the epoch used this position before."""

    epoch: int
    position: int
    copy: int = 0


class Item(NamedTuple):
    """One model input; ``problem`` says why the image could not be read, or is empty."""

    image: torch.Tensor
    position: int
    problem: str


class Batch(NamedTuple):
    """Images (B, C, size, size) uint8, their positions in the set (B,), and position -> problem."""

    images: torch.Tensor
    indices: torch.Tensor
    problems: dict[int, str]


class SizedTransform(NamedTuple):
    """A transform, and the shape (channels, size) of its output."""

    transform: Transform
    shape: tuple[int, int]

    @property
    def blank(self) -> torch.Tensor:
        """The black image that replaces an unreadable one."""
        channels, size = self.shape
        return torch.zeros(channels, size, size, dtype=torch.uint8)


class ImageDataset(Dataset[Item]):
    """Transformed images. Random draws depend on the seed, the epoch, the id and the copy.

    Args:
        transforms: First epoch -> transform from then on; the first key is 0 or 1.
    """

    def __init__(
        self, images: ImageSet, store: ImageStore, transforms: Mapping[int, SizedTransform], seed: int
    ):
        self.images = images
        self.store = store
        self.transforms = dict(transforms)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> Item:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[Item]:
        """Return a batch; its images are read together."""
        loaded = self.store.load_all([self.images.pictures[key.position] for key in keys])
        return [self._transformed(key, pixels) for key, pixels in zip(keys, loaded, strict=True)]

    def _transformed(self, key: SampleKey, pixels: np.ndarray | UnreadableImageError) -> Item:
        sized = at_epoch(self.transforms, key.epoch)
        if isinstance(pixels, UnreadableImageError):
            return Item(sized.blank, key.position, f"was readable when scanned and is not now: {pixels}")
        drawn = (self.seed, key.epoch, self.images.ids[key.position])
        seed = stable_seed(*drawn, key.copy) if key.copy else stable_seed(*drawn)
        try:
            array = sized.transform(pixels, seed)
        except Exception as error:  # a custom pipeline may raise anything: name the image
            return Item(sized.blank, key.position, f"the augmentation failed: {error}")
        return Item(channels_first(array), key.position, "")


class EpochBatches(Sampler[list[SampleKey]]):
    """Batches of keys: shuffled each epoch by (seed, epoch), or in order without a seed.

    When shuffled, a last batch of one image is dropped: batch norm cannot train on one image.

    Args:
        length: Number of images.
        plan: Which images an epoch takes, and how often; None: each once.
    """

    def __init__(self, length: int, batch_size: int, seed: int | None, plan: EpochPlan | None = None) -> None:
        self.plan = plan or EpochPlan.of_all(length)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0  # first batch to yield, to resume within an epoch

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        whole, rest = divmod(self.plan.length, self.batch_size)
        return whole + (rest > (1 if self.seed is not None else 0))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        yield from islice(self.whole_epoch(), self.start, None)

    def whole_epoch(self) -> Iterator[list[SampleKey]]:
        """Yield all batches of the epoch."""
        positions = self.plan.positions(stable_seed(self.seed, "plan", self.epoch))
        if self.seed is not None:
            np.random.default_rng(stable_seed(self.seed, "order", self.epoch)).shuffle(positions)
        counts: Counter[int] = Counter()
        for number in range(len(self)):
            batch = []
            for position in positions[number * self.batch_size : (number + 1) * self.batch_size].tolist():
                batch.append(SampleKey(self.epoch, position, counts[position]))
                counts[position] += 1
            yield batch


def collate(items: list[Item]) -> Batch:
    """Return a batch of items."""
    problems = {item.position: item.problem for item in items if item.problem}
    indices = torch.tensor([item.position for item in items])
    return Batch(stacked([item.image for item in items]), indices, problems)


def channels_first(image: np.ndarray) -> torch.Tensor:
    """Return an image (H, W, C) as a tensor (C, H, W); shares memory if the array is writable."""
    return torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)


def stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return images (C, H, W) as a batch in channels-last memory format."""
    if images[0].ndim != 3:
        return torch.stack(list(images))
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def inference_batch_size(micro_batch_size: int, device: torch.device, size: int) -> int:
    """Return the batch size for images of ``size`` pixels without gradients.

    On a CPU small batches are faster: a layer's output is still in the processor's cache for the next layer.

    Args:
        micro_batch_size: The largest batch that fits into memory.
    """
    if device.type != "cpu":
        return micro_batch_size
    lowest, highest = CPU_BATCH
    return min(micro_batch_size, max(lowest, min(highest, CPU_BATCH_PIXELS // size**2)))


def loader_processes(workers: int | None, device: torch.device) -> int:
    """Return the number of loader processes; ``workers`` None: 0 on a CPU, up to 8 with a GPU."""
    if workers is not None:
        return workers
    return 0 if device.type == "cpu" else min(8, len(usable_cores()))


def make_loader(
    dataset: Dataset[Any],
    batches: EpochBatches,
    workers: int | None,
    device: torch.device,
    collate: Callable[[list[Any]], Any] = collate,
) -> DataLoader[Any]:
    """Return a loader.

    Args:
        workers: As for ``loader_processes``.
        collate: Makes a batch from dataset items.
    """
    workers = loader_processes(workers, device)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_one_thread,
        # A separate generator: starting workers must not advance the one that mixup and dropout use.
        generator=torch.Generator(),
    )


def _one_thread(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C and stops cleanly
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
