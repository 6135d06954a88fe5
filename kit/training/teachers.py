"""The teachers of an experiment: which images they predict for each fold, and reading these predictions.

The teacher of fold k is fold k of another experiment on the same folds, or the mean over the members of a
blend: none of these models was trained on the validation rows of fold k. ``kit.inference.teachers`` writes
the predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.config import Config
from kit.errors import KitError
from kit.predictions import Predictions, load_predictions
from kit.storage.provenance import Identity
from kit.storage.workspace import RunFolder
from kit.training.data import TrainingData, image_set
from kit.training.pseudo_labels import unlabeled_images
from kit.training.trained_folds import TrainedFold

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet

TRAINED, VALIDATED = "train:", "validation:"  # how ids begin in the files, since sets may share ids
PSEUDO_LABELS, TEACHER = "pseudo_labels", "teacher"


@dataclass(frozen=True)
class TeacherUse:
    """A key of the config that needs the predictions of a teacher.

    Attributes:
        name: The key below ``train``.
        spec: The experiment or blend that the config names.
    """

    name: str
    spec: str

    @property
    def key(self) -> str:
        """The key of the config, for messages."""
        return f"train.{self.name}.from"

    def identity(self, run: RunFolder, k: int) -> Identity:
        """Return what the file of fold ``k`` of an experiment must be."""
        return Identity(run.label, "teacher", f"{self.name} {k}")

    @property
    def models(self) -> str:
        """The name of the digest of the teachers' models among the inputs of a fold."""
        return f"{self.name}_models"


def teacher_uses(config: Config) -> list[TeacherUse]:
    """Return the uses of teachers in a config."""
    sections = {PSEUDO_LABELS: config.train.pseudo_labels, TEACHER: config.train.teacher}
    return [TeacherUse(name, section.from_) for name, section in sections.items() if section is not None]


def without_teachers(config: Config) -> Config:
    """Return a config without teachers and without corrections of labels."""
    nothing = dict.fromkeys((PSEUDO_LABELS, TEACHER, "relabel", "drop"))
    return config.model_copy(update={"train": config.train.model_copy(update=nothing)})


def images_to_teach(use: TeacherUse, config: Config, data: TrainingData, k: int) -> ImageSet:
    """Return the images whose predictions fold ``k`` needs, with ids that begin with their set."""
    samples, pseudo = data.samples, config.train.pseudo_labels
    rows = {
        TEACHER: (TRAINED, data.folds.training(samples, k)),
        PSEUDO_LABELS: (VALIDATED, data.folds.validation(samples, k)),  # to tell how often labels are right
    }
    prefix, mask = rows[use.name]
    known = image_set(data, mask).with_prefix(prefix)
    return known if pseudo is None else known.without_targets().joined(unlabeled_images(data, pseudo.images))


def read_teacher(use: TeacherUse, run: RunFolder, k: int) -> Predictions:
    """Return the teacher's predictions for fold ``k`` of an experiment.

    Raises:
        KitError: They are missing, damaged, or another experiment's.
    """
    path = run.teacher(use.name, k)
    return load_predictions(path, use.identity(run, k), "kit train CONFIG")


def probs_of(predictions: Predictions, ids: list[str], where: str) -> np.ndarray:
    """Return the probabilities of some ids, (N, C), in their order.

    Raises:
        KitError: An id has no prediction.
    """
    rows = pd.Index(predictions.ids).get_indexer(pd.Index(ids))
    if (rows < 0).any():
        missing = ids[int((rows < 0).argmax())]
        raise KitError(
            where,
            f"has no prediction for {missing}",
            "A teacher predicts every training image of its fold",
            "Run `kit train CONFIG` again.",
            code="teacher_incomplete",
        )
    probs: np.ndarray = predictions.probs[rows]
    return probs


def outdated_use(fold: TrainedFold, models: dict[TeacherUse, str]) -> TeacherUse | None:
    """Return a use of teachers whose models are others now than when a fold was trained; None if none.

    Args:
        models: Use -> digest of the models of its teachers for this fold, now.
    """
    return next((use for use, now in models.items() if fold.inputs.get(use.models) != now), None)
