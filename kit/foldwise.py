"""Every fold's model asked: what it says of its own validation rows (OOF), and of the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kit.competition.samples import Competition
from kit.config import Config, ModelConfig, load_config
from kit.errors import KitError, first_few
from kit.experiment import refuse_other_material, trained_fold
from kit.folds import TRAIN_ONLY
from kit.material import Material, image_set, prepare
from kit.predictions import Origin, Predictions, load_predictions
from kit.progress import SILENT, Progress
from kit.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.engine.images import ImageSet, ImageStore


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
    oof, test = load_predictions(run.oof), load_predictions(run.test)
    return oof.origin == origin and test.origin == replace(
        origin, kind="test", images=material.test_images, unreadable=test.origin.unreadable
    )


def _predict_folds(
    config: Config, run: RunFolder, material: Material, origin: Origin, progress: Progress
) -> tuple[Predictions, Predictions]:
    from kit.engine.images import ImageSet, ImageStore
    from kit.engine.precision import open_accelerator

    accelerator, _ = open_accelerator(config.train.precision)
    competition = material.competition
    store = ImageStore(competition.root, config.image.mode, config.image.cache)
    test_set = ImageSet(list(competition.test["id"]), list(competition.test["path"]))
    store.preload([*material.samples["path"], *test_set.paths], progress)
    fold_probs: dict[int, np.ndarray] = {}
    test_total = np.zeros((len(test_set), len(competition.classes)))
    unreadable: dict[int, str] = {}
    for k in range(material.folds.count):
        validation = image_set(material, material.samples["fold"] == k)
        model = run.fold(k).model
        fold_probs[k], broken = _ask(
            model, validation, store, config, origin, competition, accelerator, progress
        )
        if broken:
            path = validation.paths[next(iter(broken))]
            raise KitError(path, "could be read before and cannot now", "", "Mend it and run again.")
        probs, unreadable = _ask(model, test_set, store, config, origin, competition, accelerator, progress)
        test_total += probs
    rows = sorted(unreadable)
    test_total[rows] = competition.task.prior(material.targets(), len(competition.classes))
    test_total[[row for row in range(len(test_set)) if row not in unreadable]] /= material.folds.count
    test_probs = competition.task.normalised(test_total)
    named = tuple(test_set.ids[row] for row in rows)
    if named:
        progress.warn(
            f"{len(named)} test images cannot be read; they get the class prior ({first_few(named)})"
        )
    validated = material.samples[material.samples["fold"] != TRAIN_ONLY]
    oof = Predictions(
        tuple(validated["id"]), competition.classes, assemble_oof(validated, fold_probs), origin
    )
    test_origin = replace(origin, kind="test", unreadable=named)
    return oof, Predictions(tuple(test_set.ids), competition.classes, test_probs, test_origin)


def _ask(
    checkpoint: Any,
    images: ImageSet,
    store: ImageStore,
    config: Config,
    origin: Origin,
    competition: Competition,
    accelerator: Any,
    progress: Progress,
) -> tuple[np.ndarray, dict[int, str]]:
    """Return what one fold's model says of some images, and which could not be read."""
    from kit.engine.augment import prediction_transform
    from kit.engine.checkpoints import load_model
    from kit.engine.images import EpochBatches, ImageDataset, make_loader
    from kit.engine.models import rebuild_model
    from kit.engine.preprocessing import Preprocessing
    from kit.engine.tta import predict_probs

    state, about = load_model(checkpoint)
    if tuple(about["classes"]) != competition.classes:
        raise KitError(
            checkpoint, "was trained on other classes than the data has", "", "Train anew with --fresh."
        )
    preprocessing = Preprocessing.from_dict(about["preprocessing"])
    model = rebuild_model(ModelConfig(**about["model"]), preprocessing, len(competition.classes))
    model.load_state_dict(state)
    model.to(accelerator.device)
    blank = (preprocessing.channels, preprocessing.predicting)
    dataset = ImageDataset(images, store, prediction_transform(preprocessing), blank, config.seed)
    batches = EpochBatches(len(images), config.predict.batch_size, None)
    loader = make_loader(dataset, batches, config.train.workers, accelerator.device)
    label = f"{checkpoint.parent.name}: {len(images)} images x {len(origin.tta)} views"
    return predict_probs(
        model, loader, origin.tta, competition.task, accelerator.device, accelerator.autocast, progress, label
    )


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
