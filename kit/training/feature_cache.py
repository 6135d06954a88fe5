"""Cache the features of a frozen network, computed once for all folds and epochs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.config import Config
from kit.errors import counted
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.progress import Progress
from kit.storage.files import atomic_write
from kit.training.data import TrainingData, image_set

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet, SizedTransform
    from kit.engine.fit.components import FoldImages
    from kit.engine.fit.frozen_features import FeatureDataset, FeatureExtractor
    from kit.engine.models.build import Classifier
    from kit.engine.models.preprocessing import Preprocessing


PART_SIZE = 4096  # images per partial file, so that an interruption loses little


@dataclass(frozen=True)
class Features:
    """The head's input for every sample.

    Attributes:
        ids: Sample ids, (N,).
        plain: Features of images transformed as in prediction, (N, D) float32.
        augmented: Features (N, D) float32 of each augmented variation; empty without augmentation.
    """

    ids: Sequence[str]
    plain: np.ndarray
    augmented: list[np.ndarray]

    def of(self, images: FoldImages) -> FoldImages:
        """Return a fold with features instead of images; epochs use the variations in turn."""
        from kit.engine.fit.frozen_features import FeatureDataset

        return replace(
            images,
            train_dataset=FeatureDataset(self.augmented or [self.plain], self._rows(images.train)),
            validation_dataset=self.as_predicted(images.validation),
        )

    def as_predicted(self, images: ImageSet) -> FeatureDataset:
        """Return the features of some samples, transformed as in prediction."""
        from kit.engine.fit.frozen_features import FeatureDataset

        return FeatureDataset([self.plain], self._rows(images))

    def _rows(self, images: ImageSet) -> np.ndarray:
        row_of = {sample_id: row for row, sample_id in enumerate(self.ids)}
        return np.array([row_of[sample_id] for sample_id in images.ids])


def why_not_cached(config: Config, model: Classifier) -> str:
    """Return why features cannot replace images although only the head trains; empty if they can."""
    from kit.engine.augment.mixup import build_mixing
    from kit.engine.fit.frozen_features import why_not_split

    if config.augment.views is None:
        return "augment.views is null"
    if not config.model.pretrained or config.model.start is not None:
        return "folds do not share the weights before the head"
    if build_mixing(config.augment, 2, config.train.epochs) is not None:
        return "MixUp or CutMix is on (augment.mixup, augment.cutmix)"
    if config.image.size_by_epoch is not None:
        return "image.size_by_epoch is set"
    return why_not_split(model)


def is_head_only(config: Config) -> bool:
    """Return whether every epoch trains the head only."""
    return set(config.model.trains.values()) == {0}


def num_variations(config: Config, own: Preprocessing) -> int:
    """Return the number of augmented variations per image; 0: no augmentation."""
    from kit.engine.augment.pipelines import shows_as_predicted

    if shows_as_predicted(config.augment, own):
        return 0
    return min(config.augment.views or 0, config.train.epochs)


@dataclass(frozen=True)
class FeatureFiles:
    """Reads features from the cache, and computes and stores missing ones.

    Attributes:
        folder: Folder of all features of the competition.
        config: Config of the experiment: network, augmentation and seed.
        transforms: The prediction transform, then one per augmented variation.
        in_memory: Features that this process has read, by file; ``read`` adds to it.
    """

    folder: Path
    extractor: FeatureExtractor
    config: Config
    data: TrainingData
    transforms: Sequence[SizedTransform]
    progress: Progress
    deadline: Deadline
    in_memory: dict[Path, np.ndarray]

    def read(self, more: ImageSet | None = None) -> Features:
        """Return the features of every sample; missing ones are computed and stored.

        Args:
            more: Further images, such as those without a label; their features follow.

        Raises:
            Interrupted: The deadline has passed; finished parts are stored.
            KitError: An image can no longer be read.
        """
        images = image_set(self.data, np.ones(len(self.data.samples), dtype=bool))
        found = self._all_variations(images, self.data.train_pixels)
        if more is None or len(more) == 0:
            return Features(images.ids, found[0], found[1:])
        paths = (picture.path for picture in more.pictures)
        pairs = zip(found, self._all_variations(more, self.data.pixels_of(paths)), strict=True)
        found = [np.concatenate(pair) for pair in pairs]
        return Features([*images.ids, *more.ids], found[0], found[1:])

    def _all_variations(self, images: ImageSet, pixels: str) -> list[np.ndarray]:
        """Return the features of images, then those of each augmented variation.

        Args:
            pixels: A digest of the bytes of the images.
        """
        key = self._digest(images, pixels)
        return [self._variation(images, number, key) for number in range(len(self.transforms))]

    def _digest(self, images: ImageSet, pixels: str) -> str:
        """Return a digest of everything that determines the plain features."""
        from kit.engine.fit.frozen_features import FORMAT, digest_of_body

        about = [
            FORMAT,
            self.config.model.model_dump(include={"name", "options", "pool"}),
            digest_of_body(self.extractor.classifier),
            self.extractor.classifier.preprocessing,
            self.extractor.amp.precision,
            self.extractor.store.decoder.label,
            pixels,
            list(zip(images.ids, images.pictures, strict=True)),
        ]
        return hashlib.blake2b(repr(about).encode(), digest_size=16).hexdigest()

    def _variation(self, images: ImageSet, number: int, key: str) -> np.ndarray:
        about = f"{key} {self._augmentation_key()}" if number else key
        digest = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
        file = self._file(f"{digest}-{number}")
        if file not in self.in_memory:
            self.in_memory[file] = self._cached(
                file, len(images), lambda: self._in_parts(images, number, digest)
            )
            for part in self.folder.glob(f"{digest}-{number}-part-*"):
                part.unlink(missing_ok=True)
        return self.in_memory[file]

    def _in_parts(self, images: ImageSet, number: int, digest: str) -> np.ndarray:
        """Return the features of one variation, computed and stored in parts."""
        starts = range(0, len(images), PART_SIZE)
        if len(starts) == 1:
            return self._compute(images, number, "")

        def part(count: int, start: int) -> np.ndarray:
            subset = images.part(slice(start, start + PART_SIZE))
            file = self._file(f"{digest}-{number}-part-{count}")
            part_label = f", part {count} of {len(starts)}"
            return self._cached(file, len(subset), lambda: self._compute(subset, number, part_label))

        return np.concatenate([part(count, start) for count, start in enumerate(starts, 1)])

    def _cached(self, file: Path, rows: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the features of a file, memory-mapped; else compute them, and store them if they fit."""
        from kit.engine.data.cache import cache_budget, remove_oldest

        if (cached := _read(file, rows)) is not None:
            return cached
        features = compute()
        budget = cache_budget(self.config.image.cache, self.folder)
        if features.nbytes > budget:
            return features
        try:
            remove_oldest(file, features.nbytes, budget)
            with atomic_write(file) as draft, draft.open("wb") as stream:
                np.save(stream, features)
        except OSError as error:
            self.progress.warn(f"features cannot be cached in {self.folder} ({error.strerror})")
        cached = _read(file, rows)
        return features if cached is None else cached

    def _compute(self, images: ImageSet, number: int, part_label: str) -> np.ndarray:
        variation = f"variation {number} of {len(self.transforms) - 1}" if number else "not augmented"
        label = f"features of {counted(len(images), 'image')}, {variation}{part_label}"
        return self.extractor.features(
            images,
            self.transforms[number],
            self.config.seed,
            number,
            self.progress,
            label,
            self._check_deadline(label),
        )

    def _file(self, name: str) -> Path:
        from kit.engine.data.cache import FEATURES

        return self.folder / f"{name}{FEATURES}"

    def _augmentation_key(self) -> str:
        """Return what determines the variations besides images and network, without their number."""
        augment = self.config.augment.model_copy(update={"views": None})
        return f"{augment.model_dump_json()} {self.config.seed}"

    def _check_deadline(self, label: str) -> Callable[[], None]:
        return lambda: self.deadline.begin(f"the end of {label}", needed=STOPPING_SECONDS)


def _read(file: Path, rows: int) -> np.ndarray | None:
    """Return features from their file, memory-mapped; None if missing or damaged."""
    try:
        features: np.ndarray = np.load(file, mmap_mode="r")
        os.utime(file)  # the least recently used file is removed first
        is_whole = (features.ndim, len(features), features.dtype) == (2, rows, np.dtype("float32"))
    except Exception:  # numpy raises various errors for a damaged header
        return None
    return features if is_whole else None
