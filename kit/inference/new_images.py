"""Predict images that are not part of a competition's folder, with the run folder of an experiment alone."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.images.files import check_extras, list_images
from kit.competition.layouts.base import images_table
from kit.competition.metadata import cells_of
from kit.config import Config
from kit.errors import KitError, counted_of, first_few, one_line
from kit.inference.fold_models import FoldModels, column_encoder, warn_of_unreadable
from kit.predictions import Origin, Predictions
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder
from kit.training.data import image_decoder
from kit.training.precision import precision_of_run
from kit.training.run_state import read_training_data, refuse_other_folds
from kit.training.trained_folds import all_trained_folds, models_digest

LISTED = 20  # unreadable images in a message


@dataclass(frozen=True)
class NewImages:
    """Images below a folder that need not be a competition's, and how to predict them.

    Attributes:
        root: The folder.
        samples: ``id path``, with metadata if any; paths are relative to the folder.
        partial: The folder of partial predictions and foreground masks, removed when all is written.
        prior: The prediction for an unreadable image, (C,); None: an unreadable image is refused.
        missing: Columns that a model reads and the samples lack, once a warning has named them.
    """

    root: Path
    samples: pd.DataFrame
    partial: Path
    prior: np.ndarray | None = None
    progress: Progress = SILENT
    deadline: Deadline = field(default_factory=Deadline)
    missing: set[str] = field(default_factory=set)

    @property
    def digest(self) -> str:
        """A digest of the ids, of the names, sizes and times of the files, and of the metadata."""
        cells = cells_of(self.samples)
        rows = [] if cells is None else [cells.to_csv(index=False)]
        for name, path in zip(self.samples["id"], self.samples["path"], strict=True):
            stat = (self.root / path).stat()
            rows.append(f"{name}\0{path}\0{stat.st_size}\0{stat.st_mtime_ns}")
        return hashlib.sha256("\n".join(rows).encode(errors="surrogatepass")).hexdigest()[:16]

    def remove_partial(self) -> None:
        """Remove the partial predictions."""
        shutil.rmtree(self.partial, ignore_errors=True)


def images_in(folder: Path) -> pd.DataFrame:
    """Return ``id path`` of the images below a folder, in natural order; an id is the path in the folder.

    Raises:
        KitError: The folder is missing or holds no image, or an image needs an extra of kit.
    """
    if not folder.is_dir():
        raise KitError(
            folder, "there is no such folder", "It should hold the images to predict", code="folder_missing"
        )
    names = list_images(folder)
    if not names:
        raise KitError(folder, "has no image", "It should hold the images to predict", code="no_images")
    check_extras(folder, names)
    return images_table({name: name for name in names})


def predict_new(config: Config, run: RunFolder, images: NewImages) -> Predictions:
    """Return the mean prediction of an experiment's models for new images.

    Raises:
        Interrupted: The deadline has passed; a later call continues.
        KitError: A fold is not trained or damaged, or images are unreadable.
    """
    from kit.engine.data.datasets import ImageSet

    models, digest = open_new_models(config, run, images)
    samples, task = images.samples, models.task

    def refuse(problems: dict[int, str]) -> None:
        if problems and images.prior is None:
            images.remove_partial()
            raise _unreadable(images.root, samples["path"].tolist(), problems)

    images_digest = images.digest
    mean = models.predict_mean(ImageSet.of(samples), images_digest, refuse)
    probs, rows = mean.probs, sorted(mean.problems)
    unreadable = tuple(samples["id"].iloc[rows])
    if rows:
        probs[rows] = images.prior
        warn_of_unreadable(unreadable, "test", task, images.progress)
    origin = Origin(
        kind="test",
        task=task.name,
        experiment=run.label,
        folds=read_training_data(run)[1]["folds"],
        tta=config.predict.labels,
        models=digest,
        images=images_digest,
        unreadable=unreadable,
    )
    return Predictions(tuple(samples["id"]), models.classes, task.normalized(probs), origin)


def open_new_models(config: Config, run: RunFolder, images: NewImages) -> tuple[FoldModels, str]:
    """Return the models of an experiment, ready to predict on this machine's device, and their digest."""
    from kit.engine.data.image_store import ImageStore
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device, prepare_process

    num_models, _ = read_training_data(run)
    folds = all_trained_folds(run, num_models)
    refuse_other_folds(run, folds, config)
    prepare_process()
    classes = classes_of(run)
    _warn_of_missing(run, images)
    models = FoldModels(
        run=run,
        config=config,
        classes=classes,
        num_models=num_models,
        store=ImageStore(images.root, image_decoder(config, images.partial / "masks", config.predict.tta)),
        amp=Amp(find_device(), precision_of_run(config, len(classes), run).name),
        progress=images.progress,
        deadline=images.deadline,
        partial=images.partial,
    )
    return models, models_digest(folds)


def _warn_of_missing(run: RunFolder, images: NewImages) -> None:
    """Warn once of columns that the models read and the images lack."""
    cells = cells_of(images.samples)
    given = set() if cells is None else set(cells.columns)
    lacking = [n for n in column_encoder(run, 0).names if n not in given | images.missing]
    if lacking:
        images.missing.update(lacking)
        images.progress.warn(
            f"{run.label} reads {first_few(lacking)} of each image, and these images come without: "
            "predictions treat the values as missing"
        )


def classes_of(run: RunFolder) -> tuple[str, ...]:
    """Return the classes of an experiment, in the order of its models' outputs."""
    from kit.engine.models.checkpoints import read_about

    return tuple(read_about(run.fold(0).model)["classes"])


def _unreadable(root: Path, paths: Sequence[str], problems: dict[int, str]) -> KitError:
    from kit.engine.tta.predict import CHANGED_SINCE_SCAN

    lines = [
        f"{one_line(paths[row])}: {one_line(problems[row].removeprefix(CHANGED_SINCE_SCAN), 100)}"
        for row in sorted(problems)
    ]
    more = len(lines) - LISTED
    listed = "\n  - ".join(["", *lines[:LISTED], *([f"and {more} more"] if more > 0 else [])])
    return KitError(
        root,
        f"{counted_of(len(lines), len(paths), 'image', 'cannot', 'cannot')} be read:{listed}\n",
        "Every image gets a prediction",
        "Fix or remove these files; nothing was written.",
        code="images_unreadable",
    )
