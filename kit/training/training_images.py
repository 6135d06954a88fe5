"""Prepare what a fold trains on: correct or drop label errors, add pseudo-labels and teachers' predictions.

Nothing here uses a label of the fold's validation images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kit.config import Config
from kit.errors import counted, counted_of
from kit.runtime.progress import Progress
from kit.storage.workspace import RunFolder
from kit.training.data import TrainingData, image_set
from kit.training.label_errors import LabelChanges, changed_labels, write_changes
from kit.training.pseudo_labels import NEW, PseudoLabeled, PseudoLabeler
from kit.training.teachers import (
    PSEUDO_LABELS,
    TEACHER,
    TRAINED,
    VALIDATED,
    TeacherUse,
    probs_of,
    read_teacher,
    teacher_uses,
)

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet
    from kit.predictions import Predictions


@dataclass(frozen=True)
class TrainingImages:
    """The training images of a fold.

    Attributes:
        facts: What was added and changed, as the fold's result stores it.
        inputs: Use of a teacher -> digest of its predictions, and of its models.
    """

    images: ImageSet
    facts: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingImagePreparer:
    """Prepares the training images of the folds of one experiment."""

    config: Config
    data: TrainingData
    run: RunFolder
    progress: Progress

    def of_fold(self, k: int, features: Callable[[], np.ndarray]) -> TrainingImages:
        """Return the training images of fold ``k``.

        Args:
            features: Returns the features of every sample, (N, D), by the network that the fold starts with;
                called only to find label errors.

        Raises:
            KitError: A teacher's predictions are missing or damaged.
        """
        mask = self.data.folds.training(self.data.samples, k)
        found = TrainingImages(image_set(self.data, mask))
        if self.config.train.relabel or self.config.train.drop:
            found = self._without_label_errors(k, found, features()[mask])
        for use in teacher_uses(self.config):
            predictions = read_teacher(use, self.run, k)
            add = {PSEUDO_LABELS: self._with_pseudo_labels, TEACHER: self._with_teacher}[use.name]
            found = add(k, use, found, predictions)
            made_from = {use.name: predictions.digest(), use.models: predictions.origin.models}
            found = replace(found, inputs={**found.inputs, **made_from})
        return found

    @cached_property
    def pseudo_labeler(self) -> PseudoLabeler | None:
        """What chooses pseudo-labels; None without them."""
        pseudo = self.config.train.pseudo_labels
        return None if pseudo is None else PseudoLabeler(pseudo, self.data, self.config.competition.near)

    def _without_label_errors(self, k: int, found: TrainingImages, features: np.ndarray) -> TrainingImages:
        train, competition = self.config.train, self.data.competition
        images, changes = changed_labels(
            found.images, features, competition, train.relabel, train.drop, self.config.seed
        )
        write_changes(self.run.fold(k).label_changes, changes, competition.classes)
        self._note_changes(k, changes, len(found.images))
        facts = {"relabeled": changes.num_relabeled, "dropped": changes.num_dropped}
        return replace(found, images=images, facts={**found.facts, **facts})

    def _note_changes(self, k: int, changes: LabelChanges, num_images: int) -> None:
        total = changes.num_relabeled + changes.num_dropped
        likely = counted_of(total, num_images, "training label", "is", "are")
        self.progress.note(
            f"fold {k}: {likely} likely wrong: {changes.num_relabeled} relabeled, "
            f"{changes.num_dropped} dropped; {self.run.fold(k).label_changes.name} lists them"
        )

    def _with_pseudo_labels(
        self, k: int, use: TeacherUse, found: TrainingImages, predictions: Predictions
    ) -> TrainingImages:
        assert self.pseudo_labeler is not None
        labeler, path = self.pseudo_labeler, str(self.run.teacher(use.name, k))
        validation = image_set(self.data, self.data.folds.validation(self.data.samples, k))
        validated = probs_of(predictions, validation.with_prefix(VALIDATED).ids, path)
        assert validation.targets is not None
        probs = probs_of_new(predictions, labeler.candidates.ids)
        added = labeler.of_fold(k, probs, (validated, validation.targets))
        self._note_added(k, use, added)
        facts = {**found.facts, PSEUDO_LABELS: added.as_dict()}
        return replace(found, images=found.images.joined(added.images), facts=facts)

    def _note_added(self, k: int, use: TeacherUse, added: PseudoLabeled) -> None:
        images = counted(added.candidates, "image without a label", "images without a label")
        count = f"{len(added.images)} of {images} added, labeled by {use.spec}"
        sure = sum(n for _, n, _ in added.classes.values())
        right = sum(n for _, _, n in added.classes.values())
        quality = (
            f"; the same rule is right for {right} of {sure} labels of the validation images" if sure else ""
        )
        left = (
            f", {counted(added.duplicates, 'duplicate')} of validation images left out"
            if added.duplicates
            else ""
        )
        self.progress.note(f"fold {k}: {count}{left}{quality}")

    def _with_teacher(
        self, k: int, use: TeacherUse, found: TrainingImages, predictions: Predictions
    ) -> TrainingImages:
        ids = [each if each.startswith(NEW) else f"{TRAINED}{each}" for each in found.images.ids]
        probs = probs_of(predictions, ids, str(self.run.teacher(use.name, k)))
        return replace(found, images=replace(found.images, teacher=probs))


def probs_of_new(predictions: Predictions, ids: list[str]) -> np.ndarray:
    """Return the probabilities of images without a label, (N, C); NaN if the teacher could not read one."""
    rows = pd.Index(predictions.ids).get_indexer(pd.Index(ids, dtype=object))
    return np.where(rows[:, None] < 0, np.float32(np.nan), predictions.probs[rows])
