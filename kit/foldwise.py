"""Every fold's model asked: what it says of its own validation rows (OOF), and of the test images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kit.allowance import STOPPING_SECONDS, Allowance
from kit.answers import Answers, read_answers, write_answers
from kit.config import Component, Config, ModelConfig
from kit.config_file import load_config
from kit.errors import KitError, first_few
from kit.fold_training import settled_precision
from kit.locks import only_one
from kit.material import Material, image_set, image_store, prepare
from kit.predictions import Kind, Origin, Predictions, load_predictions
from kit.progress import SILENT, Progress
from kit.run_state import refuse_other_material, trained_fold
from kit.workspace import RunFolder, Workspace, read_json, write_text

Question = tuple[Component, ...]  # views, whose answers become one

if TYPE_CHECKING:
    from kit.engine.images import ImageSet
    from kit.engine.models import Classifier
    from kit.engine.store import ImageStore


def predict(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None = None,
    progress: Progress = SILENT,
    allowance: Allowance | None = None,
    merge: str | None = None,
) -> bool:
    """Write the OOF and test predictions of an experiment; return False if they were there already.

    The row of a test image that cannot be read is the class prior of the training labels, and its id is
    kept in the file's metadata.

    Args:
        tta: Views to merge instead of the config's.
        merge: How, instead of the config's way.
        allowance: How long it may take; as long as it needs by default. What one model said of one set of
            images is kept until all is written, so that going on does not ask it again.

    Raises:
        Interrupted: The time is over.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    config, material, origin = _prepared(run, workspace, tta, merge, progress)
    if _already_predicted(run, origin, material):
        return False
    with only_one(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, material, progress, allowance)
        _write_predictions(models, workspace, origin)
        run.forget_answers()
    return True


def predict_by_view(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component],
    progress: Progress = SILENT,
    allowance: Allowance | None = None,
) -> list[ByView]:
    """Return the OOF predictions of an experiment through each view alone; they are kept for another time.

    What a view of several images shows is merged as the config says.

    Raises:
        Interrupted: The time is over.
        KitError: A fold is not trained yet, a view does not exist, or another process is predicting.
    """
    config, material, origin = _prepared(run, workspace, tta, None, progress)
    with only_one(run.lock("predict"), "predicting"):
        models = open_models(config, run, workspace, material, progress, allowance)
        return models.of_validation_rows([(view,) for view in config.predict.tta], origin)


def _prepared(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None,
    merge: str | None,
    progress: Progress,
) -> tuple[Config, Material, Origin]:
    """Return an experiment as asked for, what it works on, and the origin of its OOF predictions."""
    if not run.config.exists():
        raise KitError(run.label, "is a blend", "Its predictions are made by kit blend")
    config = _asked_for(load_config(run.config), tta, merge)
    material = prepare(config, workspace, progress)
    refuse_other_material(run, material)
    origin = Origin(
        kind="oof",
        task=material.competition.task.name,
        experiment=run.label,
        folds=material.folds.fingerprint,
        tta=config.predict.labels,
        models=_digest_of_models(run, material, workspace),
        images=material.train_images,
    )
    return config, material, origin


def _asked_for(config: Config, tta: Sequence[Component] | None, merge: str | None) -> Config:
    """Return an experiment with other views or another merge, if they are given; they must exist."""
    if not tta and merge is None:
        return config
    from kit.engine.tta import check_tta

    given = {"tta": list(tta or config.predict.tta), "merge": merge or config.predict.merge}
    asked = config.predict.model_copy(update=given)
    check_tta(asked.tta, asked.merge)
    return config.model_copy(update={"predict": asked})


def _digest_of_models(run: RunFolder, material: Material, workspace: Workspace) -> str:
    """Return a digest of the weights of all models, which must be trained."""
    trained = {k: trained_fold(run.fold(k)) for k in range(material.folds.models)}
    missing = [k for k, done in trained.items() if done is None]
    if missing:
        raise KitError(
            run.label,
            f"{len(missing)} of {len(trained)} folds are not trained ({first_few(missing)})",
            "Out-of-fold predictions need every fold",
            f"Go on with `kit train CONFIG` (its config is {workspace.shown(run.config)}).",
        )
    digests = "".join(done["model"] for done in trained.values() if done)
    return hashlib.sha256(digests.encode()).hexdigest()[:16]


def _write_predictions(models: FoldModels, workspace: Workspace, origin: Origin) -> None:
    """Write the OOF, held-out and test predictions of an experiment, and the truth of what is held out."""
    run, material = models.run, models.material
    for name in set(run.held_out_sets()) - set(material.held_out):
        run.held_out(name).unlink()
    models.of_validation_rows([tuple(models.config.predict.tta)], origin)[0].oof.save(run.oof)
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
    progress: Progress,
    allowance: Allowance | None = None,
) -> FoldModels:
    """Return the models of an experiment, ready to be asked on the device and in the precision it has.

    Args:
        config: The experiment's, with the views and the merge that are asked for.
    """
    from kit.engine.precision import open_accelerator

    accelerator = open_accelerator(settled_precision(config, run, material).name)
    store = image_store(config, workspace, material, progress, config.predict.tta)
    return FoldModels(run, config, material, store, accelerator, progress, allowance or Allowance())


@dataclass(frozen=True)
class ByView:
    """The OOF predictions through some views, and what they take beside reading the images.

    Attributes:
        reading: Seconds that reading an image took.
        seconds: Seconds an image that making the views and asking the model took.
    """

    oof: Predictions
    reading: float
    seconds: float


@dataclass(frozen=True)
class FoldModels:
    """The trained models of an experiment, ready to be asked."""

    run: RunFolder
    config: Config
    material: Material
    store: ImageStore
    accelerator: Any
    progress: Progress
    allowance: Allowance

    def of_validation_rows(self, questions: Sequence[Question], origin: Origin) -> list[ByView]:
        """Return what the models say of the rows they were validated on, for each question."""
        material, competition = self.material, self.material.competition
        validated = material.validated()
        masks = {k: material.folds.validation(validated, k) for k in range(material.folds.models)}
        answers = [self._of_fold(k, questions) for k in masks]
        found = []
        for question, of_folds in zip(questions, zip(*answers, strict=True), strict=True):
            probs = assemble_oof(
                masks, {k: of_fold.probs for k, of_fold in zip(masks, of_folds, strict=True)}
            )
            oof = Predictions(
                tuple(validated["id"]),
                competition.classes,
                competition.task.normalised(probs),
                replace(origin, tta=self._labels(question)),
            )
            asked = sum(len(of_fold.probs) for of_fold in of_folds)
            reading = sum(of_fold.reading for of_fold in of_folds) / asked
            found.append(ByView(oof, reading, sum(of_fold.seconds for of_fold in of_folds) / asked))
        return found

    def _of_fold(self, k: int, questions: Sequence[Question]) -> list[Answers]:
        """Return what model k says of its validation rows, in table order: (N_k, C) for each question."""
        images = image_set(self.material, self.material.folds.validation(self.material.samples, k))
        answers = self._ask(k, images, self.material.train_images, questions)
        if problems := answers[0].problems:
            position, problem = next(iter(problems.items()))
            raise KitError(images.pictures[position].path, problem, "", "Mend it and run again.")
        return answers

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
        question = [tuple(self.config.predict.tta)]
        models = range(self.material.folds.models)
        answers = [self._ask(k, images, origin.images, question)[0] for k in models]
        probs: np.ndarray = np.stack([each.probs for each in answers]).mean(axis=0, dtype=np.float64)
        rows = sorted({row for each in answers for row in each.problems})
        probs[rows] = competition.task.prior(self.material.targets(), len(competition.classes))
        unreadable = tuple(images.ids[row] for row in rows)
        if unreadable:
            named = f"they get the class prior ({first_few(unreadable)})"
            kind = origin.kind.replace("_", "-")
            self.progress.warn(f"{len(unreadable)} {kind} images cannot be read; {named}")
        probs, origin = competition.task.normalised(probs), replace(origin, unreadable=unreadable)
        return Predictions(tuple(images.ids), competition.classes, probs, origin)

    def _ask(self, k: int, images: ImageSet, digest: str, questions: Sequence[Question]) -> list[Answers]:
        """Return fold k's model's answers to each question on some images, given now or before.

        Args:
            digest: Of the bytes of the images.
        """
        model = read_json(self.run.fold(k).done)["model"]
        about = f"{model} {digest} {len(images)}"
        files = {q: self.run.answers(k, f"{about} {' '.join(self._labels(q))}") for q in questions}
        answered = {q: answers for q, file in files.items() if (answers := read_answers(file)) is not None}
        unanswered = [q for q in questions if q not in answered]
        if unanswered:
            for question, answers in zip(unanswered, self._ask_now(k, images, unanswered), strict=True):
                write_answers(files[question], answers)
                answered[question] = answers
        return [answered[q] for q in questions]

    def _labels(self, question: Question) -> tuple[str, ...]:
        return self.config.predict.model_copy(update={"tta": list(question)}).labels

    def _ask_now(self, k: int, images: ImageSet, questions: Sequence[Question]) -> list[Answers]:
        """Ask fold k's model, with fewer images at once where the memory is short."""
        from kit.engine.images import without_gradients
        from kit.engine.precision import free_memory, is_out_of_memory
        from kit.engine.views import check_sizes

        at_once = without_gradients(self.config.predict.batch_size, self.accelerator.device)
        model = self._load(k).to(self.accelerator.device)
        check_sizes([view for views in questions for view in views], model)
        while True:
            try:
                return self._answers(k, model, images, questions, at_once)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or at_once == 1:
                    raise
            free_memory()
            at_once //= 2
            self.progress.warn(f"{at_once * 2} images at once do not fit the memory: {at_once} from here on")

    def _answers(
        self, k: int, model: Classifier, images: ImageSet, questions: Sequence[Question], at_once: int
    ) -> list[Answers]:
        from kit.engine.merging import merges
        from kit.engine.tta import Asker, Looks, SourceDataset, ask, source_loader
        from kit.engine.views import Sight

        accelerator = self.accelerator
        looks = Looks.of(questions, Sight.of(model))
        label = f"fold {k}: {len(images)} images x {len(looks.shots)} views"
        dataset = SourceDataset(images, self.store, looks.sources, model.preprocessing, self.config.seed)
        return ask(
            Asker(model, self.material.competition.task, accelerator.device, accelerator.autocast),
            source_loader(dataset, at_once, self.config.train.workers, accelerator.device),
            looks,
            merges.get(self.config.predict.merge, "predict.merge"),
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
