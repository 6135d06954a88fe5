"""Predict with test-time augmentation; each image file is read once for all views."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kit.competition.images.decode import UnreadableImageError
from kit.config import Component
from kit.engine.data.datasets import (
    Batch,
    EpochBatches,
    ImageSet,
    SampleKey,
    channels_first,
    make_loader,
    stacked,
)
from kit.engine.data.image_store import ImageStore
from kit.engine.device.prefetch import on_device, to_device
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.models.tabular import EncodedRows
from kit.engine.optim.target_scale import TargetScale, decode
from kit.engine.tta.merge import Merge, check_merge
from kit.engine.tta.views import ModelInput, RandomSource, Source, ViewImage, check_view, view_images_of
from kit.runtime.progress import SILENT, Progress
from kit.runtime.seeds import stable_seed
from kit.storage.partial_predictions import PartialPredictions
from kit.tasks import Task

CHANGED_SINCE_SCAN = "was readable when scanned and is not now: "


@dataclass(frozen=True)
class TTAPlan:
    """The views of a prediction.

    Attributes:
        groups: Groups of view images; each group is merged into one prediction.
    """

    groups: tuple[tuple[ViewImage, ...], ...]

    @classmethod
    def of(cls, views_by_group: Sequence[Sequence[Component]], model_input: ModelInput) -> TTAPlan:
        """Return the plan for several groups of views, each merged into one prediction."""
        return cls(
            tuple(
                tuple(s for view in views for s in view_images_of(view, model_input))
                for views in views_by_group
            )
        )

    @property
    def view_images(self) -> list[ViewImage]:
        """Every distinct view image, in order."""
        return list(dict.fromkeys(view_image for group in self.groups for view_image in group))

    @property
    def sources(self) -> list[Source]:
        """Every distinct source, in order."""
        return list(dict.fromkeys(view_image.source for view_image in self.view_images))


def check_tta(components: Sequence[Component], merge: str, task: Task) -> None:
    """Check the names and options of views and merge; a mistake is a KitError."""
    for component in components:
        check_view(component)
    check_merge(merge, task)


# --- images -> sources


class Sources(NamedTuple):
    """One image under each source, (C, size, size) uint8 each; ``problem`` as in ``Item``.

    Attributes:
        seconds: Seconds for reading the image, then for each source.
    """

    images: list[Tensor]
    position: int
    problem: str
    seconds: list[float]


class SourceBatch(NamedTuple):
    """Images by source, (B, C, size, size) uint8 each; the rest as in ``Batch``.

    Attributes:
        seconds: As in ``Sources``, summed over the images; float64, and no tensor: MPS has no float64.
    """

    images: list[Tensor]
    indices: Tensor
    problems: dict[int, str]
    seconds: np.ndarray


class SourceDataset(Dataset[Sources]):
    """Images under the sources of a plan; a random draw depends on the seed, the id and its number."""

    def __init__(
        self, images: ImageSet, store: ImageStore, sources: Sequence[Source], own: Preprocessing, seed: int
    ) -> None:
        self.images = images
        self.store = store
        self.sources = list(sources)
        self.transforms = [source.transform(own) for source in sources]
        self.channels = own.channels
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: SampleKey) -> Sources:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[Sources]:
        """Return a batch; its images are read together."""
        began = time.perf_counter()
        loaded = self.store.load_all([self.images.pictures[key.position] for key in keys])
        reading = (time.perf_counter() - began) / len(keys)
        return [self._apply_sources(key, pixels, reading) for key, pixels in zip(keys, loaded, strict=True)]

    def _apply_sources(
        self, key: SampleKey, pixels: np.ndarray | UnreadableImageError, reading: float
    ) -> Sources:
        if isinstance(pixels, UnreadableImageError):
            return self._blank(key.position, f"{CHANGED_SINCE_SCAN}{pixels}")
        moments, tensors = [time.perf_counter()], []
        try:
            for source, transform in zip(self.sources, self.transforms, strict=True):
                array = transform(pixels, self._seed(source, self.images.ids[key.position]))
                tensors.append(channels_first(array))
                moments.append(time.perf_counter())
        except Exception as error:  # a custom pipeline may raise anything: name the image
            return self._blank(key.position, f"a view failed: {error}")
        return Sources(tensors, key.position, "", [reading, *np.diff(moments).tolist()])

    def _seed(self, source: Source, sample_id: str) -> int:
        return stable_seed(
            self.seed, "view", sample_id, source.number if isinstance(source, RandomSource) else ""
        )

    def _blank(self, position: int, problem: str) -> Sources:
        blank = [torch.zeros(self.channels, s.size, s.size, dtype=torch.uint8) for s in self.sources]
        return Sources(blank, position, problem, [0.0] * (len(blank) + 1))


def collate_sources(items: list[Sources]) -> SourceBatch:
    """Return a batch of items."""
    return SourceBatch(
        images=[stacked(of_source) for of_source in zip(*(item.images for item in items), strict=True)],
        indices=torch.tensor([item.position for item in items]),
        problems={item.position: item.problem for item in items if item.problem},
        seconds=np.sum([item.seconds for item in items], axis=0),
    )


def source_loader(
    dataset: SourceDataset, batch_size: int, workers: int | None, device: torch.device
) -> DataLoader[SourceBatch]:
    """Return a loader of every position once, in order."""
    batches = EpochBatches(len(dataset), batch_size, None)
    return make_loader(dataset, batches, workers, device, collate_sources)


# --- sources -> predictions


@dataclass(frozen=True)
class Predictor:
    """A model with everything it needs to predict.

    Attributes:
        model: Images (B, C, H, W) of 0..255 -> logits (B, K), or (M, B, K) with several heads.
        autocast: Returns the autocast context of the forward pass.
        scales: For a regression, the scale of each head.
        rows: For a model that reads metadata, the rows of all images, as each head encodes them.
    """

    model: nn.Module
    task: Task
    device: torch.device
    autocast: Callable[[], torch.autocast]
    scales: tuple[TargetScale, ...] = ()
    rows: tuple[EncodedRows, ...] = ()

    def probs(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return the probabilities (or numbers) (B, K), or (M, B, K), of images on the device.

        Args:
            indices: Their positions, (B,), in memory.
        """
        rows = [to_device(of_head[indices], self.device) for of_head in self.rows]
        with self.autocast():
            logits = self.model(images, *rows)
        return decode(logits, self.task, self.scales)


@torch.inference_mode()
def predict(
    predictor: Predictor,
    loader: DataLoader[SourceBatch],
    tta_plan: TTAPlan,
    merge: Merge,
    progress: Progress = SILENT,
    label: str = "predicting",
    between: Callable[[], None] = lambda: None,
) -> list[list[PartialPredictions]]:
    """Return the predictions of every group of view images and every head.

    View images are merged batch by batch to save memory, unless the merge needs all rows.

    Args:
        loader: Every position once, in order, with the sources of ``tta_plan``.
        between: Called after every batch; it may raise to stop.
    """
    predictor.model.eval()
    merger = _Merger(merge, predictor.task.exclusive, tta_plan)
    parts: list[Tensor] = []
    problems: dict[int, str] = {}
    spent = np.zeros(1 + len(tta_plan.sources) + len(tta_plan.view_images))
    fetched = iter(progress.track(loader, len(loader), label))
    for batch, images in on_device(fetched, lambda each: _moved(each, predictor.device), predictor.device):
        probs, seconds = _predict_batch(predictor, images, batch.indices, tta_plan)
        spent += np.concatenate([batch.seconds, seconds])
        parts.append(
            probs if merge.needs_all else merger.merged(probs, rows_of(batch.problems, batch.indices))
        )
        problems |= batch.problems
        between()
    probs = torch.cat(parts, dim=2)
    merged = merger.merged(probs, sorted(problems)) if merge.needs_all else probs
    seconds_by_group = _seconds_of(tta_plan, spent[1:])
    pairs = zip(merged.cpu().numpy(), seconds_by_group, strict=True)
    return [
        [PartialPredictions(of_head, problems, float(spent[0]), seconds) for of_head in of_group]
        for of_group, seconds in pairs
    ]


def rows_of(problems: dict[int, str], indices: Tensor) -> list[int]:
    """Return the rows of a batch whose image could not be read."""
    return [row for row, index in enumerate(indices.tolist()) if index in problems]


def _moved(batch: SourceBatch, device: torch.device) -> list[Tensor]:
    return [to_device(images, device) for images in batch.images]


def _predict_batch(
    predictor: Predictor, by_source: list[Tensor], indices: Tensor, tta_plan: TTAPlan
) -> tuple[Tensor, np.ndarray]:
    """Return the probabilities of every view image and head, (S, M, B, K), and the seconds of each, (S,).

    Args:
        by_source: Images of each source, on the device.
    """
    images_of = dict(zip(tta_plan.sources, by_source, strict=True))
    timed = len(tta_plan.groups) > 1  # several groups: report the seconds of each view
    probs, moments = [], [time.perf_counter()]
    for source, change in tta_plan.view_images:
        probs.append(predictor.probs(change(images_of[source]), indices))
        if timed and predictor.device.type == "cuda":
            torch.cuda.synchronize(predictor.device)
        moments.append(time.perf_counter())
    stacked_probs = torch.stack(probs)
    return stacked_probs.reshape(len(probs), -1, *stacked_probs.shape[-2:]), np.diff(moments)


class _Merger:
    """Merges view images into one prediction per group."""

    def __init__(self, merge: Merge, exclusive: bool, tta_plan: TTAPlan) -> None:
        self.merge = merge
        self.exclusive = exclusive
        number = {view_image: n for n, view_image in enumerate(tta_plan.view_images)}
        self.groups = [[number[view_image] for view_image in group] for group in tta_plan.groups]

    def merged(self, probs: Tensor, bad: list[int]) -> Tensor:
        """Merge (S, M, N, K) into (G, M, N, K); rows of ``bad`` images stay zero."""
        return torch.stack([self._of_head(each, bad) for each in probs.unbind(1)], dim=1)

    def _of_head(self, probs: Tensor, bad: list[int]) -> Tensor:
        """Return (G, N, K) of (S, N, K)."""
        good = sorted(set(range(probs.shape[1])) - set(bad))
        result = probs.new_zeros(len(self.groups), *probs.shape[1:])
        for g, group in enumerate(self.groups):
            once_each = torch.ones(len(group), device=probs.device)
            if not bad:  # the usual case: selecting rows would synchronize the GPU
                result[g] = self.merge(probs[group], once_each, self.exclusive)
            elif good:
                result[g, good] = self.merge(probs[group][:, good], once_each, self.exclusive)
        return result


def _seconds_of(tta_plan: TTAPlan, spent: np.ndarray) -> list[float]:
    """Return the seconds that each group would take alone."""
    num_sources = len(tta_plan.sources)
    of_source = dict(zip(tta_plan.sources, spent[:num_sources].tolist(), strict=True))
    of_view_image = dict(zip(tta_plan.view_images, spent[num_sources:].tolist(), strict=True))
    return [
        sum(of_source[source] for source in {view_image.source for view_image in group})
        + sum(of_view_image[view_image] for view_image in set(group))
        for group in tta_plan.groups
    ]


# --- without views, for validation in training


@torch.inference_mode()
def predict_probs(
    model: nn.Module,
    loader: Iterable[Batch],
    task: Task,
    device: torch.device,
    autocast: Callable[[], torch.autocast],
    between: Callable[[], None] = lambda: None,
    scales: tuple[TargetScale, ...] = (),
    rows: tuple[EncodedRows, ...] = (),
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the probabilities of a loader's images, and which images could not be read.

    Args:
        model: Images (B, C, H, W) of 0..255 -> logits (B, K).
        loader: Every position once, in order.
        between: Called after every batch; it may raise to stop.
        scales: As in ``Predictor``.
        rows: As in ``Predictor``.

    Returns:
        Probabilities (N, C) float32 in the set's order, and position -> problem; rows of unreadable images
        are zero.
    """
    predictor = Predictor(model.eval(), task, device, autocast, scales, rows)
    parts: list[Tensor] = []
    problems: dict[int, str] = {}
    moving = on_device(iter(loader), lambda each: to_device(each.images, device), device)
    for batch, images in moving:
        probs = predictor.probs(images, batch.indices)
        if batch.problems:
            probs[rows_of(batch.problems, batch.indices)] = 0.0
        parts.append(probs)
        problems |= batch.problems
        between()
    return torch.cat(parts).cpu().numpy(), problems
