"""Every fold's model asked: what it says of its own validation rows (OOF), and of the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kit.allowance import STOPPING_SECONDS, Allowance
from kit.answers import read_answers, write_answers
from kit.config import Config, ModelConfig
from kit.config_file import load_config
from kit.errors import KitError, first_few
from kit.locks import only_one
from kit.material import Material, image_set, image_store, prepare
from kit.predictions import Kind, Origin, Predictions, load_predictions
from kit.progress import SILENT, Progress
from kit.run_state import refuse_other_material, trained_fold
from kit.workspace import RunFolder, Workspace, read_json, write_text

if TYPE_CHECKING:
    from kit.engine.images import ImageSet
    from kit.engine.models import Classifier
    from kit.engine.store import ImageStore


def predict(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[str] | None = None,
    progress: Progress = SILENT,
    allowance: Allowance | None = None,
) -> bool:
    """Write the OOF and test predictions of an experiment; return False if they were there already.

    The row of a test image that cannot be read is the class prior of the training labels, and its id is
    kept in the file's metadata.

    Args:
        tta: Views to average instead of the config's.
        allowance: How long it may take; as long as it needs by default. What one model said of one set of
            images is kept until all is written, so that going on does not ask it again.

    Raises:
        Interrupted: The time is over.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    if not run.config.exists():
        raise KitError(run.label, "is a blend", "Its predictions are made by kit blend")
    config = load_config(run.config)
    views = tuple(tta or config.predict.tta)
    material = prepare(config, workspace, progress)
    refuse_other_material(run, material)
    folds = range(material.folds.models)
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
    with only_one(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, material, views, progress, allowance)
        _write_predictions(models, workspace, origin)
        run.forget_answers()
    return True


def _write_predictions(models: FoldModels, workspace: Workspace, origin: Origin) -> None:
    """Write the OOF, held-out and test predictions of an experiment, and the truth of what is held out."""
    run, material = models.run, models.material
    for name in set(run.held_out_sets()) - set(material.held_out):
        run.held_out(name).unlink()
    models.of_validation_rows(origin).save(run.oof)
    for name, samples in material.held_out.items():
        models.of_others(samples, _origin_of(name, origin, material)).save(run.held_out(name))
        truth = samples[[c for c in ("id", "group", *material.competition.label_columns) if c in samples]]
        write_text(workspace.truth(run.competition, name), truth.to_csv(index=False, lineterminator="\n"))
    models.of_others(material.competition.test, _origin_of("", origin, material)).save(run.test)


def _origin_of(name: str, origin: Origin, material: Material) -> Origin:
    """Return the origin of predictions for a held-out set, or (without a name) for the test images."""
    images = material.other_images[name]
    kind: Kind = "held_out" if name else "test"
    return replace(origin, kind=kind, images=images)


def _already_predicted(run: RunFolder, origin: Origin, material: Material) -> bool:
    """Tell whether the same models have answered for the same images through the same views."""
    files = {"": run.test} | {name: run.held_out(name) for name in material.held_out}
    if not all(path.exists() for path in (run.oof, *files.values())):
        return False
    try:
        oof = load_predictions(run.oof).origin
        others = {name: load_predictions(path).origin for name, path in files.items()}
    except KitError:
        return False  # damaged, or of another version of kit: they are made again
    wanted = {name: _origin_of(name, origin, material) for name in files}
    return oof == origin and all(
        there == replace(wanted[name], unreadable=there.unreadable) for name, there in others.items()
    )


def open_models(
    config: Config,
    run: RunFolder,
    workspace: Workspace,
    material: Material,
    views: tuple[str, ...],
    progress: Progress,
    allowance: Allowance | None = None,
) -> FoldModels:
    """Return the models of an experiment, ready to be asked on the device and in the precision it has."""
    from kit.engine.precision import open_accelerator

    accelerator, _ = open_accelerator(config.train.precision)
    store = image_store(config, workspace, material.competition)
    return FoldModels(run, config, material, views, store, accelerator, progress, allowance or Allowance())


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
    allowance: Allowance

    def of_validation_rows(self, origin: Origin) -> Predictions:
        """Return what the models say of the rows they were validated on: the OOF predictions."""
        material, competition = self.material, self.material.competition
        validated = material.validated()
        masks = {k: material.folds.validation(validated, k) for k in range(material.folds.models)}
        answers = {k: self._of_validation(k) for k in masks}
        probs = competition.task.normalised(assemble_oof(masks, answers))
        return Predictions(tuple(validated["id"]), competition.classes, probs, origin)

    def _of_validation(self, k: int) -> np.ndarray:
        """Return what model k says of its validation rows, (N_k, C), rows in table order."""
        images = image_set(self.material, self.material.folds.validation(self.material.samples, k))
        probs, problems = self._ask(k, images, self.material.train_images)
        if problems:
            position, problem = next(iter(problems.items()))
            raise KitError(images.pictures[position].path, problem, "", "Mend it and run again.")
        return probs

    def of_others(self, samples: pd.DataFrame, origin: Origin) -> Predictions:
        """Return the mean over all models for images that none was trained on.

        The row of an image that cannot be read is the class prior of the training labels.
        """
        from kit.engine.images import ImageSet

        competition = self.material.competition
        if samples.empty:
            return Predictions(
                (), competition.classes, np.zeros((0, len(competition.classes)), "float32"), origin
            )
        images = ImageSet.of(samples)
        answers = [self._ask(k, images, origin.images) for k in range(self.material.folds.models)]
        probs: np.ndarray = np.stack([each for each, _ in answers]).mean(axis=0, dtype=np.float64)
        rows = sorted({row for _, problems in answers for row in problems})
        probs[rows] = competition.task.prior(self.material.targets(), len(competition.classes))
        unreadable = tuple(images.ids[row] for row in rows)
        if unreadable:
            named = f"they get the class prior ({first_few(unreadable)})"
            kind = origin.kind.replace("_", "-")
            self.progress.warn(f"{len(unreadable)} {kind} images cannot be read; {named}")
        probs, origin = competition.task.normalised(probs), replace(origin, unreadable=unreadable)
        return Predictions(tuple(images.ids), competition.classes, probs, origin)

    def _ask(self, k: int, images: ImageSet, digest: str) -> tuple[np.ndarray, dict[int, str]]:
        """Return what fold k's model says of some images, now or before, and which could not be read.

        Args:
            digest: Of the bytes of the images.
        """
        model = read_json(self.run.fold(k).done)["model"]
        file = self.run.answers(k, f"{model} {digest} {len(images)} {' '.join(self.tta)}")
        answered = read_answers(file)
        if answered is None:
            answered = self._ask_now(k, images)
            write_answers(file, *answered)
        return answered

    def _ask_now(self, k: int, images: ImageSet) -> tuple[np.ndarray, dict[int, str]]:
        """Ask fold k's model, with fewer images at once where the memory is short."""
        from kit.engine.precision import free_memory, is_out_of_memory

        at_once = self.config.predict.batch_size
        model = self._load(k).to(self.accelerator.device)
        while True:
            try:
                return self._probs(k, model, images, at_once)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or at_once == 1:
                    raise
            free_memory()
            at_once //= 2
            self.progress.warn(f"{at_once * 2} images at once do not fit the memory: {at_once} from here on")

    def _probs(
        self, k: int, model: Classifier, images: ImageSet, at_once: int
    ) -> tuple[np.ndarray, dict[int, str]]:
        from kit.engine.augment import prediction_transform
        from kit.engine.images import EpochBatches, ImageDataset, View, make_loader
        from kit.engine.tta import predict_probs

        own, device = model.preprocessing, self.accelerator.device
        label = f"fold {k}: {len(images)} images x {len(self.tta)} views"
        self.store.preload(images.pictures, self.progress)
        view = View(prediction_transform(own), (own.channels, own.predicting))
        dataset = ImageDataset(images, self.store, {0: view}, self.config.seed)
        loader = make_loader(
            dataset, EpochBatches(len(images), at_once, None), self.config.train.workers, device
        )
        return predict_probs(
            model,
            loader,
            self.tta,
            self.material.competition.task,
            device,
            self.accelerator.autocast,
            self.progress,
            label,
            between=lambda: self.allowance.begin(f"the end of {label}", needed=STOPPING_SECONDS),
        )

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


def assemble_oof(validated: dict[int, np.ndarray], answers: dict[int, np.ndarray]) -> np.ndarray:
    """Return the validation probabilities of all models in table order.

    Args:
        validated: Model -> which of the N rows it was validated on, (N,), bool. Each row occurs once, or once
            per repeat; its probabilities are then the mean.
        answers: Model -> probabilities (N_k, C) of those rows, in table order.

    Returns:
        Array (N, C), float64.

    Raises:
        KitError: A model is missing, its number of rows differs, or a row was validated by no model.
    """
    num_rows, num_classes = len(next(iter(validated.values()))), next(iter(answers.values())).shape[1]
    total, times = np.zeros((num_rows, num_classes)), np.zeros(num_rows)
    for k, rows in validated.items():
        probs = answers.get(k)
        if probs is None or len(probs) != rows.sum():
            found = "none" if probs is None else len(probs)
            raise KitError(f"fold {k}", f"has {rows.sum()} validation rows, and {found} were predicted")
        total[rows] += probs
        times[rows] += 1
    if (times == 0).any():
        raise KitError("folds", f"{(times == 0).sum()} rows were validated by no model")
    oof_probs: np.ndarray = total / times[:, None]
    return oof_probs
