"""Correct or drop likely label errors of a fold's training images (``train.relabel``, ``train.drop``).

A linear probe on the features of the network that the fold starts with judges the labels, cross-validated
within the fold's training images: neither labels nor images of its validation part are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.competition.samples import Competition
from kit.config import LabelErrorsConfig
from kit.storage.csv_text import csv_text
from kit.storage.files import write_text
from kit.tasks import Task
from kit.training.confident_learning import LikelyErrors, wrong_classes, wrong_flags
from kit.training.linear import best_strength, fitted_probs

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet

PARTS = 5  # of the cross-validation within the training images
LARGEST_SHARE = 0.5  # of the images of a class whose labels change


@dataclass(frozen=True)
class LabelChanges:
    """The changed labels of a fold's training images, as parallel lists.

    Attributes:
        labels: The row of ``Task.targets``.
        columns: As in ``LikelyErrors``.
        actions: ``relabel`` or ``drop``.
    """

    ids: list[str]
    labels: list[np.ndarray]
    columns: list[int]
    margins: list[float]
    actions: list[str]

    @property
    def num_relabeled(self) -> int:
        """The number of labels that were corrected."""
        return self.actions.count("relabel")

    @property
    def num_dropped(self) -> int:
        """The number of images that were left out."""
        return len({i for i, action in zip(self.ids, self.actions, strict=True) if action == "drop"})


def changed_labels(
    images: ImageSet,
    features: np.ndarray,
    competition: Competition,
    relabel: LabelErrorsConfig | None,
    drop: LabelErrorsConfig | None,
    seed: int,
) -> tuple[ImageSet, LabelChanges]:
    """Return a fold's training images without likely label errors, and what has changed.

    A label is corrected if its margin is large enough for ``relabel``, else dropped if it is for ``drop``. At
    most half of the labels of a class change, those with the largest margins.

    Args:
        features: (N, D), of the images.
    """
    assert images.targets is not None
    task, targets = competition.task, images.targets
    probs = inner_oof_probs(features, task.one_hot(targets, len(competition.classes)), task, seed)
    find = wrong_classes if task.exclusive else wrong_flags
    errors = _at_most_half(find(targets, probs), targets)
    corrected, kept = targets.copy(), np.ones(len(targets), dtype=bool)
    changes = LabelChanges([], [], [], [], [])
    for row, column, margin in zip(errors.rows, errors.columns, errors.margins, strict=True):
        action = _action(float(margin), relabel, drop)
        if action is None:
            continue
        if action == "drop":
            kept[row] = False
        elif task.exclusive:
            corrected[row] = column
        else:
            corrected[row, column] = 1 - targets[row, column]
        changes.ids.append(images.ids[row])
        changes.labels.append(targets[row])
        changes.columns.append(int(column))
        changes.margins.append(float(margin))
        changes.actions.append(action)
    return replace(images, targets=corrected).at(np.flatnonzero(kept)), changes


def _action(margin: float, relabel: LabelErrorsConfig | None, drop: LabelErrorsConfig | None) -> str | None:
    if relabel is not None and margin >= relabel.margin:
        return "relabel"
    return "drop" if drop is not None and margin >= drop.margin else None


def inner_oof_probs(features: np.ndarray, truth: np.ndarray, task: Task, seed: int) -> np.ndarray:
    """Return out-of-fold probabilities (N, C) of a linear probe, cross-validated in five parts.

    Args:
        features: (N, D).
        truth: (N, C), 0 or 1.
    """
    strength = best_strength(features, truth, task.target)
    parts, probs = _parts(truth.argmax(axis=1), seed), np.zeros(truth.shape)
    for part in np.unique(parts):
        fitted, others = parts != part, parts == part
        probs[others] = fitted_probs(features[fitted], truth[fitted], features[others], task.target, strength)
    return probs


def _parts(classes: np.ndarray, seed: int) -> np.ndarray:
    """Return the part of each image, (N,): the images of each class are dealt out in random order."""
    order = np.random.default_rng(seed).permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]
    parts = np.empty(len(classes), dtype=np.int64)
    parts[order] = np.arange(len(classes)) % PARTS
    return parts


def _at_most_half(errors: LikelyErrors, targets: np.ndarray) -> LikelyErrors:
    """Return the errors with the largest margins, at most for half of the images of each class, in row order.

    For several classes per image, the images that have a class, and those that do not, count separately.
    """
    labels = (
        targets[errors.rows] if targets.ndim == 1 else _label_of(targets[errors.rows, errors.columns], errors)
    )
    kept = []
    for label in np.unique(labels, axis=0):
        same = (labels == label) if targets.ndim == 1 else (labels == label).all(axis=1)
        number = int(
            (targets == label).sum() if targets.ndim == 1 else (targets[:, label[0]] == label[1]).sum()
        )
        positions = np.flatnonzero(same)
        largest = positions[np.argsort(-errors.margins[positions], kind="stable")]
        kept += largest[: int(LARGEST_SHARE * number)].tolist()
    rows = np.array(sorted(kept), dtype=np.int64)
    return LikelyErrors(errors.rows[rows], errors.columns[rows], errors.margins[rows])


def _label_of(values: np.ndarray, errors: LikelyErrors) -> np.ndarray:
    """Return class and 0/1 of each error, (M, 2)."""
    return np.column_stack([errors.columns, values.astype(np.int64)])


def write_changes(path: Path, changes: LabelChanges, classes: Sequence[str]) -> None:
    """Write the changed labels as CSV: ``id,label,suggested,margin,action``."""
    rows = [
        (sample_id, *_named(label, column, classes), f"{margin:.4f}", action)
        for sample_id, label, column, margin, action in zip(
            changes.ids, changes.labels, changes.columns, changes.margins, changes.actions, strict=True
        )
    ]
    table = pd.DataFrame(rows, columns=["id", "label", "suggested", "margin", "action"])
    write_text(path, csv_text(table))


def _named(label: np.ndarray, column: int, classes: Sequence[str]) -> tuple[str, str]:
    """Return the names of label and suggestion; of several classes: the class, ``absent`` or ``present``."""
    if label.ndim == 0:
        return classes[int(label)], classes[column]
    return classes[column], "absent" if label[column] == 1 else "present"
