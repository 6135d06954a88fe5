"""Training a head alone: what enters it is computed once, for all folds and epochs, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.allowance import STOPPING_SECONDS, Allowance
from kit.config import Config
from kit.material import Material, image_set
from kit.progress import Progress
from kit.workspace import written_whole

if TYPE_CHECKING:
    from kit.engine.features import Extractor
    from kit.engine.images import ImageSet, View
    from kit.engine.models import Classifier
    from kit.engine.parts import FoldImages
    from kit.engine.preprocessing import Preprocessing


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
        from kit.engine.features import FeatureDataset

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
    from kit.engine.features import why_not_cut
    from kit.engine.mixing import build_mixing

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
    from kit.engine.augment import shows_as_predicted

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
    """

    folder: Path
    extractor: Extractor
    config: Config
    material: Material
    views: Sequence[View]
    progress: Progress
    allowance: Allowance

    def read(self) -> Features:
        """Return the features of every sample; what is not kept is computed, and kept view by view.

        Raises:
            Interrupted: The time is over; the views that are done are kept.
            KitError: An image cannot be read any more.
        """
        images = image_set(self.material, np.ones(len(self.material.samples), dtype=bool))
        key = self._digest(images)
        found = [self._read_view(images, number, key) for number in range(len(self.views))]
        return Features(images.ids, found[0], found[1:])

    def _digest(self, images: ImageSet) -> str:
        """Return a digest of everything that features of images as predicted depend on."""
        from kit.engine.features import FORMAT, digest_of_body

        about = [
            FORMAT,
            self.config.model.model_dump(include={"name", "options", "pool"}),
            digest_of_body(self.extractor.classifier),
            self.extractor.classifier.preprocessing,
            self.extractor.accelerator.mixed_precision,
            self.extractor.store.rendering.label,
            self.material.train_images,
            list(zip(images.ids, images.pictures, strict=True)),
        ]
        return hashlib.blake2b(repr(about).encode(), digest_size=16).hexdigest()

    def _read_view(self, images: ImageSet, number: int, key: str) -> np.ndarray:
        from kit.engine.cache import FEATURES

        about = f"{key} {self._recipe()}" if number else key
        digest = hashlib.blake2b(about.encode(), digest_size=16).hexdigest()
        file = self.folder / f"{digest}-{number}{FEATURES}"
        if (kept := _read(file)) is not None:
            return kept
        what = f"view {number} of {len(self.views) - 1}" if number else "as predicted"
        label = f"features of {len(images)} images, {what}"
        found = self.extractor.features(
            images, self.views[number], self.config.seed, number, self.progress, label, self._stopping(label)
        )
        with written_whole(file) as draft, draft.open("wb") as stream:
            np.save(stream, found)
        return found

    def _recipe(self) -> str:
        """Return what variations depend on beside images and network; how many there are is no part of it."""
        recipe = self.config.augment.model_copy(update={"views": None})
        return f"{recipe.model_dump_json()} {self.config.seed}"

    def _stopping(self, label: str) -> Callable[[], None]:
        return lambda: self.allowance.begin(f"the end of {label}", needed=STOPPING_SECONDS)


def _read(file: Path) -> np.ndarray | None:
    """Return features from their file, mapped, or None if it is not there or not whole."""
    try:
        features: np.ndarray = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return features
