"""Prepare the training data of an experiment: competition, folds, readable images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.competition.duplicates import exact_groups, near_groups
from kit.competition.images.decode import DecodeOptions
from kit.competition.layouts.base import BOX
from kit.competition.metadata import cell_columns, kinds_of, warn_of_new_cells, with_metadata
from kit.competition.opened import OpenedCompetition, open_competition
from kit.competition.samples import Competition
from kit.competition.shares import tied_classes
from kit.config import Component, Config
from kit.errors import counted, first_few
from kit.folds.groups import Population
from kit.folds.make import ensure_folds, make_folds
from kit.folds.table import HELD_OUT, TRAIN_ONLY, Folds
from kit.runtime.progress import SILENT, Progress
from kit.storage.csv_text import csv_text
from kit.storage.workspace import Workspace

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet
    from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture

HOLDOUT = "holdout"  # the held-out set that scheme holdout cuts from the training images


@dataclass(frozen=True)
class TrainingData:
    """The samples and images that the folds of an experiment are trained and scored on.

    Attributes:
        samples: Labeled training rows with a readable image, in the order of the folds CSV: ``id path``, the
            fold columns, the label columns, and the box columns if samples are crops.
        held_out: Name -> labeled samples for scoring only.
        train_images: Digest of the bytes of all training images, and of the metadata that the model reads.
        other_images: Name of a held-out set ("" for the test images) -> the same digest of its images.
        train_pixels: Digest of the bytes of all training images alone.
    """

    opened: OpenedCompetition
    folds: Folds
    samples: pd.DataFrame
    held_out: dict[str, pd.DataFrame]
    train_images: str
    other_images: dict[str, str]
    train_pixels: str

    @property
    def competition(self) -> Competition:
        """The competition without unreadable training images."""
        return self.opened.readable

    def targets(self) -> np.ndarray:
        """Return the targets of ``samples``, in its order."""
        return self.competition.task.targets(self.samples, self.competition.classes)

    def pixels_of(self, paths: Iterable[str]) -> str:
        """Return a digest of the bytes of some images."""
        digests = _digests(self.opened.scan)
        rows = sorted({f"{path}\0{digests[path]}" for path in paths})
        return hashlib.sha256("\n".join(rows).encode(errors="surrogatepass")).hexdigest()[:16]

    def truth_csv(self, name: str) -> str:
        """Return the labels of a held-out set as CSV: ``id``, ``group`` if any, the label columns."""
        table = self.held_out[name]
        columns = [c for c in ("id", "group", *self.competition.label_columns) if c in table]
        return csv_text(table[columns])

    def validated(self) -> pd.DataFrame:
        """Return the samples that are in the validation part of some fold."""
        return self.samples[self.samples["fold"] > TRAIN_ONLY]


def population_of(opened: OpenedCompetition, config: Config, progress: Progress = SILENT) -> Population:
    """Return the training samples to split into folds, and groups of duplicate images."""
    competition, scan = opened.readable, opened.scan
    duplicates: Sequence[Sequence[str]] = ()
    if config.folds.keep_duplicates_together:
        duplicates = exact_groups(scan)
    if config.folds.keep_duplicates_together == "near":
        duplicates = [*duplicates, *near_groups(scan, config.competition.near)]
    population = Population(competition.train, competition.label_columns, duplicates, competition.corrected)
    if competition.task.soft and (tied := tied_classes(competition.labeled[list(competition.classes)])):
        first = "the first in class order is their class for folds, balance and accuracy"
        progress.note(
            f"{counted(tied, 'training image has', 'training images have')} equal largest shares of "
            f"several classes: {first}"
        )
    without = int((~population.labeled).sum())
    if without:
        progress.note(
            counted(without, "training image has no label and is", "training images have no label and are")
            + " not used"
        )
    return population


def prepare(
    config: Config,
    workspace: Workspace,
    progress: Progress = SILENT,
    *,
    write_folds: bool = True,
    opened: OpenedCompetition | None = None,
) -> TrainingData:
    """Return the competition with its folds, making them if no folds CSV exists.

    Args:
        write_folds: Write the folds CSV if it does not exist.
        opened: The competition, if the caller has opened it already.
    """
    opened = opened or open_competition(config, workspace, progress)
    joined = with_metadata(opened, config.competition, config.model, progress)
    population = population_of(opened, config, progress)
    path = workspace.folds(opened.loaded.name)
    if not write_folds and not path.exists():
        folds, state = make_folds(population, config.folds), "existing"
    else:
        folds, state = ensure_folds(path, population, config.folds)
    if state == "made":
        progress.note(f"{workspace.shown(path)} written: {counted(folds.models, 'fold')}")
    if state == "different":
        progress.warn(
            f"{workspace.shown(path)} was not made with folds.seed {config.folds.seed}; it is used "
            "unchanged. `kit folds CONFIG --force` replaces it."
        )
    data = training_data(joined, folds)
    kinds_of(data.samples, config.model.auxiliary)  # refuses what cannot be read
    warn_of_new_cells(data.samples, data.competition.test, config.model.tabular, progress)
    _warn_of_leaked_images(data, progress)
    return data


def _warn_of_leaked_images(data: TrainingData, progress: Progress) -> None:
    """Warn of held-out images that are also training images: they inflate the held-out score."""
    digests = _digests(data.opened.scan)
    trained = {digests[path] for path in data.samples["path"]}
    for name, table in data.held_out.items():
        seen = [path for path in table["path"].drop_duplicates() if digests[path] in trained]
        if seen:
            progress.warn(
                counted(len(seen), f"image of the held-out {name} is", f"images of the held-out {name} are")
                + f" byte-identical to training images "
                f"({first_few(seen)}): they inflate its score"
            )


def _digests(scan: pd.DataFrame) -> dict[str, str]:
    return dict(zip(scan["path"].tolist(), scan["digest"].tolist(), strict=True))


def training_data(opened: OpenedCompetition, folds: Folds) -> TrainingData:
    """Return the data that the folds of an experiment are trained and scored on."""
    competition, digests = opened.readable, _digests(opened.scan)
    where = ["id", "path", *(side for side in BOX if side in competition.train)]
    where += cell_columns(competition.train)
    samples = folds.table.merge(competition.train[where], on="id", validate="one_to_one")
    samples = samples[competition.task.labeled(samples, competition.classes)].reset_index(drop=True)
    is_held_out = (samples[folds.columns] == HELD_OUT).all(axis=1)
    held_out = dict(competition.held_out)
    if is_held_out.any():
        held_out[HOLDOUT] = samples[is_held_out].reset_index(drop=True)
    samples = samples[~is_held_out].reset_index(drop=True)
    others = {name: _digest(table, digests) for name, table in (*held_out.items(), ("", competition.test))}
    pixels = _digest(samples[["id", "path"]], digests)
    return TrainingData(opened, folds, samples, held_out, _digest(samples, digests), others, pixels)


def _digest(samples: pd.DataFrame, digests: dict[str, str]) -> str:
    """Return a digest of the ids, the bytes of the images, and the metadata if there are any."""
    columns = (samples["id"].tolist(), samples["path"].tolist())  # iterating a series takes far longer
    rows = [f"{i}\0{digests[path]}" for i, path in zip(*columns, strict=True)]
    for name in cell_columns(samples):
        rows = [f"{row}\0{name}\0{cell}" for row, cell in zip(rows, samples[name].tolist(), strict=True)]
    rows.sort()
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def image_set(data: TrainingData, rows: np.ndarray) -> ImageSet:
    """Return some rows of ``data.samples`` as images with targets."""
    from kit.engine.data.datasets import ImageSet

    return ImageSet.of(data.samples[rows], data.targets()[rows])


def image_decoder(config: Config, masks: Path, views: Sequence[Component] = ()) -> ImageDecoder:
    """Return what decodes images as a config needs them.

    Args:
        masks: The folder of foreground masks.
        views: TTA views that need decoded images, besides the plain image.
    """
    from kit.engine.data.foreground import Foreground
    from kit.engine.data.image_store import ImageDecoder
    from kit.engine.models.build import preprocessing_of
    from kit.engine.tta.decode_size import side_needed

    mode, options = config.image.foreground, DecodeOptions.of(config.image)
    foreground = None if mode == "none" else Foreground(mode, masks, options.key)
    side = side_needed(config, preprocessing_of(config.model, config.image)[0], views)
    return ImageDecoder(config.image.mode, config.competition.voc.margin, foreground, side, options)


def all_pictures(data: TrainingData) -> list[Picture]:
    """Return the pictures of the training, held-out and test images."""
    from kit.engine.data.image_store import pictures_of

    tables = (data.samples, *data.held_out.values(), data.competition.test)
    return [picture for table in tables for picture in pictures_of(table)]


def image_store(
    config: Config,
    workspace: Workspace,
    data: TrainingData,
    progress: Progress = SILENT,
    views: Sequence[Component] = (),
) -> ImageStore:
    """Return the image store of a competition, decoded and resized as the config needs.

    Args:
        views: TTA views that need decoded images, besides the plain image.
    """
    from kit.engine.data.cache import open_cache
    from kit.engine.data.image_store import ImageStore

    competition = data.competition
    decoder = image_decoder(config, workspace.foreground(competition.name), views)
    pictures = all_pictures(data)
    folder = workspace.cache(competition.name)
    cache = open_cache(folder, decoder, pictures, data.opened.scan, config.image.cache, progress)
    return ImageStore(competition.root, decoder, cache)
