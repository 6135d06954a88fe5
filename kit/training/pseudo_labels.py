"""Choose the images without a label that a fold trains on, with the labels of its teacher (pseudo-labels).

Lee 2013, "Pseudo-Label". Fold k gets the labels of a teacher that was not trained on its validation rows, and
no duplicate or near duplicate of its validation images: their labels would tell its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from kit.competition.duplicates import exact_groups, near_groups
from kit.competition.metadata import cell_columns
from kit.config import NearConfig, PseudoLabelsConfig
from kit.tasks import Task
from kit.training.data import TrainingData

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet

NEW = "new:"  # how the id of an image without a label begins; the path follows
NO_CLASS = "(none)"  # in counts: an image with none of several classes


def unlabeled_images(data: TrainingData, which: Literal["all", "test", "unlabelled"]) -> ImageSet:
    """Return the test images, the training images without a label, or both; each file once.

    Unreadable images are left out, and images that are also labeled training or held-out images.
    """
    from kit.engine.data.datasets import ImageSet

    competition, labeled = data.competition, data.opened.readable.labeled
    without = competition.train[~competition.task.labeled(competition.train, competition.classes)]
    tables = {"test": [competition.test], "unlabelled": [without]}.get(which, [without, competition.test])
    known = {path for table in (labeled, *data.held_out.values()) for path in table["path"]}
    found = pd.concat([table[["path", *cell_columns(table)]] for table in tables], ignore_index=True)
    found = found.fillna(dict.fromkeys(cell_columns(found), "")).drop_duplicates("path")
    scan = data.opened.scan
    readable = set(scan["path"][scan["error"] == ""])
    usable = [path in readable and path not in known for path in found["path"].tolist()]
    found = found[np.array(usable, dtype=bool)].reset_index(drop=True)
    return ImageSet.of(found.assign(id=NEW + found["path"]))


@dataclass(frozen=True)
class PseudoLabeled:
    """The images that a fold adds.

    Attributes:
        images: With targets, and with the probabilities of the teacher if these are the targets.
        duplicates: The number of images left out as duplicates of validation images.
        candidates: The number of images that the teacher has labeled.
        classes: Class -> [images added, validation images that the same rule would label so, of these right].
    """

    images: ImageSet
    duplicates: int
    candidates: int
    classes: dict[str, list[int]]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, as the fold's result stores them."""
        return {
            "added": len(self.images),
            "candidates": self.candidates,
            "duplicates": self.duplicates,
            "classes": self.classes,
        }


@dataclass(frozen=True)
class PseudoLabeler:
    """Chooses the images that a fold adds to its training images."""

    config: PseudoLabelsConfig
    data: TrainingData
    near: NearConfig

    @cached_property
    def candidates(self) -> ImageSet:
        """The images without a label."""
        return unlabeled_images(self.data, self.config.images)

    @cached_property
    def _groups(self) -> list[set[str]]:
        """The paths of duplicates and near duplicates, group by group."""
        scan = self.data.opened.scan
        return [set(group) for group in (*exact_groups(scan), *near_groups(scan, self.near))]

    def of_fold(self, k: int, probs: np.ndarray, validation: tuple[np.ndarray, np.ndarray]) -> PseudoLabeled:
        """Return the images that fold ``k`` adds.

        Args:
            probs: The teacher's probabilities of ``candidates``, (N, C); NaN if an image is unreadable.
            validation: Its probabilities of the validation images of fold ``k``, and their targets.
        """
        task, config = self.data.competition.task, self.config
        allowed = ~self._duplicates_of_validation(k)
        usable = np.flatnonzero(allowed & np.isfinite(probs).all(axis=1))
        rows = usable[confident(probs[usable], task, config.confidence, config.per_class)]
        soft = probs[rows].astype(np.float32) if config.soft else None
        images = replace(self.candidates.at(rows), targets=decided_targets(probs[rows], task), soft=soft)
        counts = self._counts(probs[rows], *validation)
        return PseudoLabeled(images, int((~allowed).sum()), len(probs), counts)

    def _duplicates_of_validation(self, k: int) -> np.ndarray:
        """Return which candidates show a validation or held-out image, (N,)."""
        data = self.data
        scored = set(data.samples["path"][data.folds.validation(data.samples, k)])
        scored |= {path for table in data.held_out.values() for path in table["path"]}
        taken = {path for group in self._groups if group & scored for path in group}
        return np.array([picture.path in taken for picture in self.candidates.pictures], dtype=bool)

    def _counts(self, added: np.ndarray, validated: np.ndarray, truth: np.ndarray) -> dict[str, list[int]]:
        """Return class -> [images added, validation images of the same rule, of these right]."""
        competition = self.data.competition
        task, classes = competition.task, competition.classes
        sure = confident(validated, task, self.config.confidence)
        labels = task.one_hot(task.majority(truth[sure]), len(classes))
        ours, theirs, true = (
            _flags(each, task)
            for each in (_decided(added, task), _decided(validated[sure], task), labels.astype(bool))
        )
        names = [*classes, *([] if task.exclusive else [NO_CLASS])]
        counts = zip(names, ours.sum(axis=0), theirs.sum(axis=0), (theirs & true).sum(axis=0), strict=True)
        return {name: [int(n) for n in numbers] for name, *numbers in counts if any(numbers)}


def confident(probs: np.ndarray, task: Task, confidence: float, per_class: int | None = None) -> np.ndarray:
    """Return the rows whose predicted labels are used, ascending.

    Args:
        probs: (N, C).
        confidence: The least probability of the class; for several classes, of each class or of its absence.
        per_class: The most rows per class, the most confident first; None: no limit. A row with several
            classes is used if it is among the first of one of them.
    """
    sure = probs.max(axis=1) if task.exclusive else np.maximum(probs, 1 - probs).min(axis=1, initial=1.0)
    rows = np.flatnonzero(sure >= confidence)
    if per_class is None:
        return rows
    order = rows[np.argsort(-sure[rows], kind="stable")]
    flags = _flags(_decided(probs[order], task), task)
    kept = {int(row) for column in flags.T for row in order[column][:per_class]}
    return np.array(sorted(kept), dtype=np.int64)


def decided_targets(probs: np.ndarray, task: Task) -> np.ndarray:
    """Return the predicted labels in the form of ``Task.targets``."""
    decided = task.decide(probs)
    if task.soft:
        return task.one_hot(decided, probs.shape[1]).astype(np.float64)
    return decided.astype(np.int64 if task.exclusive else np.float32)


def _decided(probs: np.ndarray, task: Task) -> np.ndarray:
    """Return the predicted classes, (N, C) bool."""
    return task.one_hot(task.decide(probs), probs.shape[1]).astype(bool)


def _flags(classes: np.ndarray, task: Task) -> np.ndarray:
    """Return classes (N, C) bool, with a column for "no class" if an image may have none."""
    return classes if task.exclusive else np.column_stack([classes, ~classes.any(axis=1)])
