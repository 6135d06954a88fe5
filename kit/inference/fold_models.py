"""The trained models of an experiment, asked about images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kit.config import Component, Config, ModelConfig
from kit.errors import KitError, first_few
from kit.predictions import Origin, Predictions
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.progress import Progress
from kit.storage.files import read_json
from kit.storage.partial_predictions import (
    PartialPredictions,
    read_partial_predictions,
    write_partial_predictions,
)
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, image_set, image_store
from kit.training.feature_cache import is_head_only
from kit.training.precision import settled_precision

Question = tuple[Component, ...]  # views, whose answers become one

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet
    from kit.engine.data.image_store import ImageStore
    from kit.engine.models.build import Classifier


def open_models(
    config: Config,
    run: RunFolder,
    workspace: Workspace,
    data: TrainingData,
    progress: Progress,
    deadline: Deadline | None = None,
) -> FoldModels:
    """Return the models of an experiment, ready to be asked on the device and in the precision it has.

    Args:
        config: The experiment's, with the views and the merge that are asked for.
    """
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device, prepare_process

    prepare_process()
    amp = Amp(find_device(), settled_precision(config, workspace, data, run).name)
    store = image_store(config, workspace, data, progress, config.predict.tta)
    return FoldModels(run, config, data, store, amp, progress, deadline or Deadline())


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
    data: TrainingData
    store: ImageStore
    amp: Any
    progress: Progress
    deadline: Deadline

    def of_validation_rows(self, questions: Sequence[Question], origin: Origin) -> list[ByView]:
        """Return what the models say of the rows they were validated on, for each question."""
        data, competition = self.data, self.data.competition
        validated = data.validated()
        masks = {k: data.folds.validation(validated, k) for k in range(data.folds.models)}
        answers = [self._of_fold(k, questions) for k in masks]
        found = []
        for question, of_folds in zip(questions, zip(*answers, strict=True), strict=True):
            probs = assemble_oof(
                masks, {k: of_fold.probs for k, of_fold in zip(masks, of_folds, strict=True)}
            )
            oof = Predictions(
                tuple(validated["id"]),
                competition.classes,
                competition.task.normalized(probs),
                replace(origin, tta=self._labels(question)),
            )
            asked = sum(len(of_fold.probs) for of_fold in of_folds)
            reading = sum(of_fold.reading for of_fold in of_folds) / asked
            found.append(ByView(oof, reading, sum(of_fold.seconds for of_fold in of_folds) / asked))
        return found

    def _of_fold(self, k: int, questions: Sequence[Question]) -> list[PartialPredictions]:
        """Return what model k says of its validation rows, in table order: (N_k, C) for each question."""
        images = image_set(self.data, self.data.folds.validation(self.data.samples, k))
        (answers,) = self._ask([k], images, self.data.train_images, questions)
        if problems := answers[0].problems:
            position, problem = next(iter(problems.items()))
            raise KitError(
                images.pictures[position].path, problem, "", "Mend it and run again.", code="image_unreadable"
            )
        return answers

    def of_others(self, samples: pd.DataFrame, origin: Origin) -> Predictions:
        """Return the mean over all models for images that none was trained on.

        The row of an image that cannot be read is the class prior of the training labels.
        """
        from kit.engine.data.datasets import ImageSet

        competition = self.data.competition
        if samples.empty:
            return Predictions(
                (), competition.classes, np.zeros((0, len(competition.classes)), "float32"), origin
            )
        images = ImageSet.of(samples)
        question = [tuple(self.config.predict.tta)]
        models = list(range(self.data.folds.models))
        together = [models] if self._share_a_body else [[k] for k in models]
        answers = [each for ks in together for (each,) in self._ask(ks, images, origin.images, question)]
        probs: np.ndarray = np.stack([each.probs for each in answers]).mean(axis=0, dtype=np.float64)
        rows = sorted({row for each in answers for row in each.problems})
        probs[rows] = competition.task.prior(self.data.targets(), len(competition.classes))
        unreadable = tuple(images.ids[row] for row in rows)
        if unreadable:
            named = f"they get the class prior ({first_few(unreadable)})"
            kind = origin.kind.replace("_", "-")
            self.progress.warn(f"{len(unreadable)} {kind} images cannot be read; {named}")
        probs, origin = competition.task.normalized(probs), replace(origin, unreadable=unreadable)
        return Predictions(tuple(images.ids), competition.classes, probs, origin)

    @cached_property
    def _share_a_body(self) -> bool:
        """Whether the models differ in their heads alone, so that all can be asked in one pass."""
        from kit.engine.fit.frozen_features import ManyHeads

        folds = range(self.data.folds.models)
        return is_head_only(self.config) and ManyHeads.can_be(self._load(k) for k in folds)

    def _ask(
        self, ks: Sequence[int], images: ImageSet, digest: str, questions: Sequence[Question]
    ) -> list[list[PartialPredictions]]:
        """Return the answers of some folds' models to each question on some images, given now or before.

        Args:
            ks: Of one model, or of several that share a body.
            digest: Of the bytes of the images.
        """
        files = [[self._file_of(k, images, digest, question) for question in questions] for k in ks]
        found = [[read_partial_predictions(file) for file in of_model] for of_model in files]
        open_questions = [q for q, of_question in enumerate(zip(*found, strict=True)) if None in of_question]
        if open_questions:
            given = self._ask_now(ks, images, [questions[q] for q in open_questions])
            for q, of_question in zip(open_questions, given, strict=True):
                for number, answers in enumerate(of_question):
                    write_partial_predictions(files[number][q], answers)
                    found[number][q] = answers
        return [[answers for answers in of_model if answers is not None] for of_model in found]

    def _file_of(self, k: int, images: ImageSet, digest: str, question: Question) -> Path:
        """Return where fold k's answers are kept."""
        model = read_json(self.run.fold(k).done)["model"]
        return self.run.partial_predictions(
            k, f"{model} {digest} {len(images)} {' '.join(self._labels(question))}"
        )

    def _labels(self, question: Question) -> tuple[str, ...]:
        return self.config.predict.model_copy(update={"tta": list(question)}).labels

    def _ask_now(
        self, ks: Sequence[int], images: ImageSet, questions: Sequence[Question]
    ) -> list[list[PartialPredictions]]:
        """Return the answers to each question, of each model; fewer images at once where memory is short."""
        from kit.engine.data.datasets import without_gradients
        from kit.engine.device.memory import halve_until_it_fits
        from kit.engine.tta.views import check_sizes

        model = self._one_of(ks).to(self.amp.device)
        size = model.preprocessing.predicting
        micro_batch_size = without_gradients(self.config.predict.batch_size, self.amp.device, size)
        check_sizes([view for views in questions for view in views], model)
        about = f"fold {ks[0]}" if len(ks) == 1 else f"{len(ks)} folds at once"
        return halve_until_it_fits(
            micro_batch_size, lambda n: self._answers(about, model, images, questions, n), self.progress.warn
        )

    def _answers(
        self,
        about: str,
        model: Classifier,
        images: ImageSet,
        questions: Sequence[Question],
        micro_batch_size: int,
    ) -> list[list[PartialPredictions]]:
        from kit.engine.models.fold_norms import for_prediction
        from kit.engine.tta.merge import merges
        from kit.engine.tta.predict import Predictor, SourceDataset, TTAPlan, predict, source_loader
        from kit.engine.tta.views import ModelInput

        amp = self.amp
        tta_plan = TTAPlan.of(questions, ModelInput.of(model))
        label = f"{about}: {len(images)} images x {len(tta_plan.view_images)} views"
        dataset = SourceDataset(images, self.store, tta_plan.sources, model.preprocessing, self.config.seed)
        return predict(
            Predictor(for_prediction(model, amp), self.data.competition.task, amp.device, amp.autocast),
            source_loader(dataset, micro_batch_size, self.config.train.workers, amp.device),
            tta_plan,
            merges.get(self.config.predict.merge, "predict.merge"),
            self.progress,
            label,
            between=lambda: self.deadline.begin(f"the end of {label}", needed=STOPPING_SECONDS),
        )

    def _one_of(self, ks: Sequence[int]) -> Classifier:
        """Return a fold's model, or one with the heads of several."""
        from kit.engine.fit.frozen_features import ManyHeads

        models = (self._load(k) for k in ks)
        return next(models) if len(ks) == 1 else ManyHeads(models)

    def _load(self, k: int) -> Classifier:
        """Return fold k's model, built around its checkpoint."""
        from kit.engine.models.build import rebuild_model
        from kit.engine.models.checkpoints import load_model
        from kit.engine.models.preprocessing import Preprocessing

        path = self.run.fold(k).model
        state, about = load_model(path)
        classes = self.data.competition.classes
        if tuple(about["classes"]) != classes:
            raise KitError(
                path,
                "was trained on other classes than the data has",
                "",
                "Train anew with --fresh.",
                code="classes_differ",
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
            raise KitError(
                f"fold {k}",
                f"has {rows.sum()} validation rows, and {found} were predicted",
                code="oof_incomplete",
            )
        total[rows] += probs
        times[rows] += 1
    if (times == 0).any():
        raise KitError(
            "folds", f"{(times == 0).sum()} rows were validated by no model", code="oof_incomplete"
        )
    oof_probs: np.ndarray = total / times[:, None]
    return oof_probs
