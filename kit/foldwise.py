"""Every fold's model asked: what it says of its own validation rows (OOF), and of the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kit.config import Config, ModelConfig
from kit.config_file import load_config
from kit.errors import KitError, first_few
from kit.experiment import refuse_other_material, trained_fold
from kit.folds import TRAIN_ONLY
from kit.material import Material, image_set, prepare
from kit.predictions import Origin, Predictions, load_predictions
from kit.progress import SILENT, Progress
from kit.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.engine.images import ImageSet, ImageStore
    from kit.engine.models import Classifier


def predict(
    run: RunFolder, workspace: Workspace, tta: Sequence[str] | None = None, progress: Progress = SILENT
) -> bool:
    """Write the OOF and test predictions of an experiment; return False if they were there already.

    The row of a test image that cannot be read is the class prior of the training labels, and its id is
    kept in the file's metadata.

    Args:
        tta: Views to average instead of the config's.

    Raises:
        KitError: A fold is not trained yet, or a view does not exist.
    """
    if not run.config.exists():
        raise KitError(run.label, "is a blend", "Its predictions are made by kit blend")
    config = load_config(run.config)
    views = tuple(tta or config.predict.tta)
    material = prepare(config, workspace, progress)
    refuse_other_material(run, material)
    folds = range(material.folds.count)
    trained = {k: trained_fold(run.fold(k)) for k in folds}
    missing = [k for k, done in trained.items() if done is None]
    if missing:
        raise KitError(
            run.label,
            f"{len(missing)} of {len(folds)} folds are not trained ({first_few(missing)})",
            "Out-of-fold predictions need every fold",
            f"Go on with `kit train CONFIG` (its config is {workspace.shown(run.config)}).",
        )
    digests = "".join(done["model"] for done in trained.values() if done)
    origin = Origin(
        kind="oof",
        task=material.competition.task.name,
        experiment=run.label,
        folds=material.folds.fingerprint,
        tta=views,
        models=hashlib.sha256(digests.encode()).hexdigest()[:16],
        images=material.train_images,
    )
    if _already_predicted(run, origin, material):
        return False
    oof, test = _predict_folds(config, run, material, origin, progress)
    oof.save(run.oof)
    test.save(run.test)
    return True


def _already_predicted(run: RunFolder, origin: Origin, material: Material) -> bool:
    """Tell whether the same models have answered for the same images through the same views."""
    if not (run.oof.exists() and run.test.exists()):
        return False
    try:
        oof, test = load_predictions(run.oof), load_predictions(run.test)
    except KitError:
        return False  # damaged, or of another version of kit: they are made again
    return oof.origin == origin and test.origin == replace(
        origin, kind="test", images=material.test_images, unreadable=test.origin.unreadable
    )


def _predict_folds(
    config: Config, run: RunFolder, material: Material, origin: Origin, progress: Progress
) -> tuple[Predictions, Predictions]:
    from kit.engine.images import ImageStore
    from kit.engine.precision import open_accelerator

    accelerator, _ = open_accelerator(config.train.precision)
    store = ImageStore(material.competition.root, config.image.mode, config.image.cache)
    models = FoldModels(run, config, material, origin.tta, store, accelerator, progress)
    validated = material.samples[material.samples["fold"] != TRAIN_ONLY]
    fold_probs = {k: models.of_validation(k) for k in range(material.folds.count)}
    test_probs, unreadable = models.of_test()
    if unreadable:
        named = first_few(unreadable)
        progress.warn(f"{len(unreadable)} test images cannot be read; they get the class prior ({named})")
    competition = material.competition
    oof_probs = competition.task.normalised(assemble_oof(validated, fold_probs))
    test_origin = replace(origin, kind="test", images=material.test_images, unreadable=unreadable)
    return (
        Predictions(tuple(validated["id"]), competition.classes, oof_probs, origin),
        Predictions(tuple(competition.test["id"]), competition.classes, test_probs, test_origin),
    )


@dataclass(frozen=True)
class FoldModels:
    """The trained models of an experiment, ready to be asked."""

    run: RunFolder
    config: Config
    material: Material
    tta: tuple[str, ...]
    store: ImageStore
    accelerator: Any
    progress: Progress

    def of_validation(self, k: int) -> np.ndarray:
        """Return what fold k's model says of its validation rows, (N_k, C), rows in table order."""
        images = image_set(self.material, self.material.samples["fold"] == k)
        probs, problems = self._ask(k, images)
        if problems:
            path = images.paths[next(iter(problems))]
            raise KitError(path, "could be read before and cannot now", "", "Mend it and run again.")
        return probs

    def of_test(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the mean over the folds for the test images, (N, C), and the ids that could not be read.

        Their rows are the class prior of the training labels.
        """
        from kit.engine.images import ImageSet

        competition = self.material.competition
        images = ImageSet(list(competition.test["id"]), list(competition.test["path"]))
        answers = [self._ask(k, images) for k in range(self.material.folds.count)]
        probs: np.ndarray = np.stack([each for each, _ in answers]).mean(axis=0, dtype=np.float64)
        rows = sorted({row for _, problems in answers for row in problems})
        probs[rows] = competition.task.prior(self.material.targets(), len(competition.classes))
        return competition.task.normalised(probs), tuple(images.ids[row] for row in rows)

    def _ask(self, k: int, images: ImageSet) -> tuple[np.ndarray, dict[int, str]]:
        """Return what fold k's model says of some images, and which could not be read."""
        from kit.engine.augment import prediction_transform
        from kit.engine.images import EpochBatches, ImageDataset, make_loader
        from kit.engine.tta import predict_probs

        model = self._load(k)
        own, device = model.preprocessing, self.accelerator.device
        self.store.preload(images.paths, self.progress)
        blank = (own.channels, own.predicting)
        dataset = ImageDataset(images, self.store, prediction_transform(own), blank, self.config.seed)
        batches = EpochBatches(len(images), self.config.predict.batch_size, None)
        loader = make_loader(dataset, batches, self.config.train.workers, device)
        label = f"fold {k}: {len(images)} images x {len(self.tta)} views"
        task, autocast = self.material.competition.task, self.accelerator.autocast
        return predict_probs(model.to(device), loader, self.tta, task, device, autocast, self.progress, label)

    def _load(self, k: int) -> Classifier:
        """Return fold k's model, built around its checkpoint."""
        from kit.engine.checkpoints import load_model
        from kit.engine.models import rebuild_model
        from kit.engine.preprocessing import Preprocessing

        path = self.run.fold(k).model
        state, about = load_model(path)
        classes = self.material.competition.classes
        if tuple(about["classes"]) != classes:
            raise KitError(
                path, "was trained on other classes than the data has", "", "Train anew with --fresh."
            )
        preprocessing = Preprocessing.from_dict(about["preprocessing"])
        model = rebuild_model(ModelConfig(**about["model"]), preprocessing, len(classes))
        model.load_state_dict(state)
        return model


def assemble_oof(samples: pd.DataFrame, fold_probs: dict[int, np.ndarray]) -> np.ndarray:
    """Return every fold's validation probabilities in table order.

    Args:
        samples: One row per validated sample; column ``fold`` holds 0..K-1.
        fold_probs: For fold k an array (N_k, C), rows in table order.

    Returns:
        Array (N, C), float32; row i belongs to ``samples.iloc[i]``.

    Raises:
        KitError: A fold is missing, or its row count differs.
    """
    num_classes = next(iter(fold_probs.values())).shape[1]
    oof_probs = np.full((len(samples), num_classes), np.nan, dtype=np.float32)
    for k, rows in samples.groupby("fold").indices.items():
        probs = fold_probs.get(int(k))  # type: ignore[call-overload]
        if probs is None or len(probs) != len(rows):
            found = "none" if probs is None else len(probs)
            raise KitError(f"fold {k}", f"has {len(rows)} validation rows, and {found} were predicted")
        oof_probs[rows] = probs
    return oof_probs
