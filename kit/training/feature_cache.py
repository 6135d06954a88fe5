"""Training a head alone: what enters it is computed once, for all folds and epochs, and kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.config import Config
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.progress import Progress
from kit.storage.files import atomic_write
from kit.training.data import TrainingData, image_set

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet, View
    from kit.engine.fit.components import FoldImages
    from kit.engine.fit.frozen_features import Extractor
    from kit.engine.models.build import Classifier
    from kit.engine.models.preprocessing import Preprocessing


AT_A_TIME = 4096  # images, after which what is done of a view is kept


@dataclass(frozen=True)
class Features:
    """What enters the head for every sample: computed from the images as predicted, and as varied.

    Attributes:
        ids: Of the samples, (N,).
        plain: (N, D) float32.
        varied: Of each variation (N, D) float32; none where training shows images as predicted.
    """

    ids: Sequence[str]
    plain: np.ndarray
    varied: list[np.ndarray]

    def of(self, images: FoldImages) -> FoldImages:
        """Return a fold whose images are replaced by their features; epochs take the variations in turn."""
        from kit.engine.fit.frozen_features import FeatureDataset

        return replace(
            images,
            varied=FeatureDataset(self.varied or [self.plain], self._rows(images.train)),
            plain=FeatureDataset([self.plain], self._rows(images.validation)),
        )

    def _rows(self, images: ImageSet) -> np.ndarray:
        row_of = {sample_id: row for row, sample_id in enumerate(self.ids)}
        return np.array([row_of[sample_id] for sample_id in images.ids])


def why_not(config: Config, model: Classifier) -> str:
    """Return why features cannot stand for images where the head alone trains, or nothing."""
    from kit.engine.augment.mixup import build_mixing
    from kit.engine.fit.frozen_features import why_not_cut

    if config.augment.views is None:
        return "augment.views is null"
    if not config.model.pretrained or config.model.start is not None:
        return "folds do not share what lies before the head"
    if build_mixing(config.augment, 2, config.train.epochs) is not None:
        return "batches are mixed, but for augment.mixup=0 and augment.cutmix=0"
    if config.image.size_by_epoch is not None:
        return "images grow with the epochs"
    return why_not_cut(model)


def is_head_only(config: Config) -> bool:
    """Tell whether no epoch trains more than the head."""
    return set(config.model.trains.values()) == {0}


def num_variations(config: Config, own: Preprocessing) -> int:
    """Return how many variations of each image are shown in turn; 0: images are shown as predicted."""
    from kit.engine.augment.pipelines import shows_as_predicted

    if shows_as_predicted(config.augment, own):
        return 0
    return min(config.augment.views or 0, config.train.epochs)


@dataclass(frozen=True)
class FeatureFiles:
    """Where features are kept, and how they are made where they are not there.

    Attributes:
        folder: Of all features of the competition.
        config: Of an experiment, for its network, its recipe of variations and what they draw.
        views: The image as predicted, then its variations.
        held: What this process has of them already, by file; ``read`` adds to it.
    """

    folder: Path
    extractor: Extractor
    config: Config
    data: TrainingData
    views: Sequence[View]
    progress: Progress
    deadline: Deadline
    held: dict[Path, np.ndarray]

    def read(self) -> Features:
        """Return the features of every sample; what is not kept is computed, and kept.

        Raises:
            Interrupted: The time is over; what is done is kept.
            KitError: An image cannot be read any more.
        """
        images = image_set(self.data, np.ones(len(self.data.samples), dtype=bool))
        key = self._digest(images)
        found = [self._view(images, number, key) for number in range(len(self.views))]
        return Features(images.ids, found[0], found[1:])

    def _digest(self, images: ImageSet) -> str:
        """Return a digest of everything that features of images as predicted depend on."""
        from kit.engine.fit.frozen_features import FORMAT, digest_of_body

        about = [
            FORMAT,
            self.config.model.model_dump(include={"name", "options", "pool"}),
            digest_of_body(self.extractor.classifier),
            self.extractor.classifier.preprocessing,
            self.extractor.amp.precision,
            self.extractor.store.rendering.label,
            self.data.train_images,
            list(zip(images.ids, images.pictures, strict=True)),
        ]
        return hashlib.blake2b(repr(about).encode(), digest_size=16).hexdigest()

    def _view(self, images: ImageSet, number: int, key: str) -> np.ndarray:
        about = f"{key} {self._recipe()}" if number else key
        digest = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
        file = self._file(f"{digest}-{number}")
        if file not in self.held:
            self.held[file] = self._kept(file, len(images), lambda: self._in_parts(images, number, digest))
            for part in self.folder.glob(f"{digest}-{number}-part-*"):
                part.unlink(missing_ok=True)
        return self.held[file]

    def _in_parts(self, images: ImageSet, number: int, digest: str) -> np.ndarray:
        """Return a view's features: a part of many images at a time, so that not all is lost at a kill."""
        starts = range(0, len(images), AT_A_TIME)
        if len(starts) == 1:
            return self._compute(images, number, "")

        def part(count: int, start: int) -> np.ndarray:
            some, said = images.part(slice(start, start + AT_A_TIME)), f", part {count} of {len(starts)}"
            file = self._file(f"{digest}-{number}-part-{count}")
            return self._kept(file, len(some), lambda: self._compute(some, number, said))

        return np.concatenate([part(count, start) for count, start in enumerate(starts, 1)])

    def _kept(self, file: Path, rows: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what a file holds, mapped, or else what is computed, and keep that where there is room."""
        from kit.engine.data.cache import cache_budget, make_room

        if (kept := _read(file, rows)) is not None:
            return kept
        found = compute()
        budget = cache_budget(self.config.image.cache, self.folder)
        if found.nbytes > budget:
            return found
        try:
            make_room(file, found.nbytes, budget)
            with atomic_write(file) as draft, draft.open("wb") as stream:
                np.save(stream, found)
        except OSError as error:
            self.progress.warn(f"features cannot be kept in {self.folder} ({error.strerror})")
        kept = _read(file, rows)
        return found if kept is None else kept

    def _compute(self, images: ImageSet, number: int, said: str) -> np.ndarray:
        what = f"view {number} of {len(self.views) - 1}" if number else "as predicted"
        label = f"features of {len(images)} images, {what}{said}"
        return self.extractor.features(
            images, self.views[number], self.config.seed, number, self.progress, label, self._stopping(label)
        )

    def _file(self, name: str) -> Path:
        from kit.engine.data.cache import FEATURES

        return self.folder / f"{name}{FEATURES}"

    def _recipe(self) -> str:
        """Return what variations depend on beside images and network; how many there are is no part of it."""
        recipe = self.config.augment.model_copy(update={"views": None})
        return f"{recipe.model_dump_json()} {self.config.seed}"

    def _stopping(self, label: str) -> Callable[[], None]:
        return lambda: self.deadline.begin(f"the end of {label}", needed=STOPPING_SECONDS)


def _read(file: Path, rows: int) -> np.ndarray | None:
    """Return features from their file, mapped, or None if it is not there or not whole."""
    try:
        features: np.ndarray = np.load(file, mmap_mode="r")
        os.utime(file)  # the file that was used last makes way last
        is_whole = (features.ndim, len(features), features.dtype) == (2, rows, np.dtype("float32"))
    except Exception:  # numpy has no one error for a damaged header: it evaluates what it reads there
        return None
    return features if is_whole else None
