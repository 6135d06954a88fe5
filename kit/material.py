"""What an experiment works on: the competition, its folds, and the images that can be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.competition.audit import readable_train, scan_images
from kit.competition.samples import Competition, load_competition
from kit.config import Config
from kit.errors import first_few
from kit.folds import Folds, ensure_folds
from kit.progress import SILENT, Progress
from kit.workspace import Workspace

if TYPE_CHECKING:
    from kit.engine.images import ImageSet


@dataclass(frozen=True)
class Material:
    """What the folds of an experiment are trained on.

    Attributes:
        samples: The training rows whose image can be read: ``id path fold`` and the labels, in the order of
            the folds CSV.
        train_images: A digest of the bytes of all their images.
        test_images: Likewise of the test images.
    """

    competition: Competition
    folds: Folds
    samples: pd.DataFrame
    train_images: str
    test_images: str

    def targets(self) -> np.ndarray:
        """Return the targets of ``samples``, in its order."""
        return self.competition.task.targets(self.samples, self.competition.classes)


def readable_samples(
    config: Config, workspace: Workspace, progress: Progress = SILENT
) -> tuple[Competition, pd.DataFrame, pd.DataFrame]:
    """Return the competition, the scan of its images, and the training samples whose image can be read.

    Raises:
        KitError: Anything in the folder is wrong, or images cannot be read and are not to be skipped.
    """
    competition = load_competition(config.competition, workspace)
    scan = scan_images(competition, workspace.image_table(competition.name), progress)
    train = readable_train(competition, scan, config.competition.on_bad_image)
    if len(train) < len(competition.train):
        left_out = first_few(sorted(set(competition.train["path"]) - set(train["path"])))
        count = len(competition.train) - len(train)
        progress.warn(f"{count} unreadable training images are left out ({left_out})")
    return competition, scan, train


def prepare(config: Config, workspace: Workspace, progress: Progress = SILENT) -> Material:
    """Return the competition and its folds, making the folds if there are none yet."""
    competition, scan, train = readable_samples(config, workspace, progress)
    path = workspace.folds(competition.name)
    folds, state = ensure_folds(path, train, competition.label_columns, config.folds)
    if state == "made":
        progress.note(f"{workspace.shown(path)} written: {folds.count} folds")
    if state == "different":
        progress.warn(
            f"{workspace.shown(path)} is another partition than folds.seed {config.folds.seed} gives; "
            "it is used as it is. `kit folds CONFIG --force` replaces it."
        )
    samples = folds.table.merge(train[["id", "path"]], on="id", validate="one_to_one")
    digests = dict(zip(scan["path"], scan["digest"], strict=True))
    return Material(
        competition,
        folds,
        samples,
        train_images=_digest(samples, digests),
        test_images=_digest(competition.test, digests),
    )


def _digest(samples: pd.DataFrame, digests: dict[str, str]) -> str:
    rows = sorted(f"{i}\0{digests[path]}" for i, path in zip(samples["id"], samples["path"], strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def image_set(material: Material, rows: pd.Series) -> ImageSet:
    """Return some rows of ``material.samples`` as images with targets."""
    from kit.engine.images import ImageSet

    chosen = material.samples[rows]
    return ImageSet(list(chosen["id"]), list(chosen["path"]), material.targets()[rows.to_numpy()])
