"""Run the trained models of an experiment over its own images: validation, held-out and test images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kit.config import Component, Config
from kit.errors import KitError, counted
from kit.inference.embeddings import (
    HELD_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    Embeddings,
    identity_of,
    read_embeddings,
    save_embeddings,
)
from kit.inference.fold_models import FoldModels, ViewList, load_fold_model, warn_of_unreadable
from kit.predictions import Origin, Predictions
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.progress import Progress
from kit.storage.partial_predictions import PartialPredictions
from kit.storage.provenance import digest_of
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData, image_set, image_store
from kit.training.feature_cache import FeatureFiles, Features
from kit.training.fold import sized_prediction_transform
from kit.training.precision import settled_precision
from kit.training.trained_folds import trained_fold

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet
    from kit.engine.models.build import Classifier

PLAIN: ViewList = (Component(name="identity"),)  # the image as it is


def open_models(
    config: Config,
    run: RunFolder,
    workspace: Workspace,
    data: TrainingData,
    progress: Progress,
    deadline: Deadline | None = None,
) -> ExperimentModels:
    """Return the models of an experiment, ready to predict on this machine's device.

    Args:
        config: The experiment's config with the views and the merge to predict with.
    """
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device, prepare_process

    prepare_process()
    competition = data.competition
    precision = settled_precision(config, workspace, len(competition.classes), run)
    return ExperimentModels(
        run=run,
        config=config,
        classes=competition.classes,
        num_models=data.folds.models,
        store=image_store(config, workspace, data, progress, config.predict.tta),
        amp=Amp(find_device(), precision.name),
        progress=progress,
        deadline=deadline or Deadline(),
        partial=run.partial_predictions,
        data=data,
        cache=workspace.cache(competition.name),
    )


@dataclass(frozen=True)
class ViewPredictions:
    """Out-of-fold predictions with a list of views, and their cost.

    Attributes:
        read_seconds: Seconds per image for reading.
        predict_seconds: Seconds per image for the views and the model.
    """

    oof: Predictions
    read_seconds: float
    predict_seconds: float


@dataclass(frozen=True)
class ExperimentModels(FoldModels):
    """The trained models of an experiment, with the data that they were trained on.

    Attributes:
        cache: Folder of the competition's cached features.
        features: Cached features in memory, by file.
    """

    data: TrainingData
    cache: Path
    features: dict[Path, np.ndarray] = field(default_factory=dict)

    def predict_oof(self, view_lists: Sequence[ViewList], origin: Origin) -> list[ViewPredictions]:
        """Return the out-of-fold predictions with each list of views."""
        data, competition = self.data, self.data.competition
        validated = data.validated()
        masks = {k: data.folds.validation(validated, k) for k in range(data.folds.models)}
        by_fold = [self._predict_fold(k, view_lists) for k in masks]
        results = []
        for view_list, of_folds in zip(view_lists, zip(*by_fold, strict=True), strict=True):
            probs = assemble_oof(
                masks, {k: of_fold.probs for k, of_fold in zip(masks, of_folds, strict=True)}
            )
            oof = Predictions(
                tuple(validated["id"]),
                competition.classes,
                competition.task.normalized(probs),
                replace(origin, tta=self._labels(view_list)),
            )
            num_images = sum(len(of_fold.probs) for of_fold in of_folds)
            read_seconds = sum(of_fold.read_seconds for of_fold in of_folds) / num_images
            predict_seconds = sum(of_fold.predict_seconds for of_fold in of_folds) / num_images
            results.append(ViewPredictions(oof, read_seconds, predict_seconds))
        return results

    def _predict_fold(self, k: int, view_lists: Sequence[ViewList]) -> list[PartialPredictions]:
        """Return model k's predictions of its validation rows, in table order: (N_k, C) per list of views."""
        images = image_set(self.data, self.data.folds.validation(self.data.samples, k))
        caches = self.config.augment.views is not None
        if list(view_lists) == [PLAIN] and caches and self._share_backbone:
            return [self._predict_features(k, images)]
        (predictions,) = self._predict([k], images, self.data.train_images, view_lists)
        if problems := predictions[0].problems:
            position, problem = next(iter(problems.items()))
            raise KitError(
                images.pictures[position].path,
                problem,
                next="Fix the file, then run the command again.",
                code="image_unreadable",
            )
        return predictions

    def _predict_features(self, k: int, images: ImageSet) -> PartialPredictions:
        """Return model k's predictions of training images from cached features; missing ones are computed.

        Training has cached them, so that only the head runs.
        """
        from kit.engine.data.datasets import EpochBatches, make_loader
        from kit.engine.fit.frozen_features import HeadClassifier
        from kit.engine.tta.predict import predict_probs

        model, device = self._load(k).to(self.amp.device), self.amp.device
        dataset = self._features(model).as_predicted(images)
        batches = EpochBatches(len(images), self.config.predict.batch_size, None)
        loader = make_loader(dataset, batches, 0, device)
        began = time.perf_counter()
        probs, _ = predict_probs(
            HeadClassifier(model),
            loader,
            self.task,
            device,
            self.amp.autocast,
            scales=self._scales([k]),
            rows=self.rows([k], images),
        )
        return PartialPredictions(probs, {}, 0.0, time.perf_counter() - began)

    def _gallery(self, k: int) -> Embeddings:
        """Return the embeddings of the training images of fold ``k``; missing or old ones are computed."""
        return self.embeddings(k).of_part(TRAIN)

    def embeddings(self, k: int) -> Embeddings:
        """Return the embeddings of all images by the model of fold ``k``; missing or old ones are written.

        Raises:
            KitError: A labeled image cannot be read any more.
        """
        trained, identity = trained_fold(self.run, k, verify=False), identity_of(self.run, k)
        images = digest_of([self.data.train_images, self.data.other_images])
        inputs = {"model": "" if trained is None else trained.model, "images": images}
        path = self.run.fold(k).embeddings
        try:
            return read_embeddings(path, identity, inputs, "")
        except KitError:
            found = self._embeddings(k)
            save_embeddings(path, found, identity, inputs)
            return found

    def _embeddings(self, k: int) -> Embeddings:
        """Return the embeddings of the training, validation, held-out and test images."""
        from kit.engine.fit.frozen_features import FeatureExtractor

        predict, workers = self.config.predict, self.config.train.workers
        model = load_fold_model(self.run, k, self.classes).to(self.amp.device)
        extractor = FeatureExtractor(model, self.store, self.amp, predict.batch_size, workers, embeds=True)
        parts = list(self._parts(k))
        vectors = [
            extractor.features(
                images,
                sized_prediction_transform(model.preprocessing),
                progress=self.progress,
                label=f"fold {k}: embeddings of {counted(len(images), 'image')} ({name})",
                between=lambda: self.deadline.begin("the end of the embeddings", needed=STOPPING_SECONDS),
                rows=self.rows([k], images),
            )
            for name, images in parts
        ]
        return Embeddings(
            ids=[each for _, images in parts for each in images.ids],
            parts=[name for name, images in parts for _ in images.ids],
            targets=np.concatenate([self._shares(images) for _, images in parts]),
            vectors=np.concatenate(vectors),
            classes=self.classes,
        )

    def _parts(self, k: int) -> Iterator[tuple[str, ImageSet]]:
        """Yield the sets of images of fold ``k``: training, validation, held-out and readable test images."""
        from kit.engine.data.datasets import ImageSet

        data, competition = self.data, self.data.competition
        yield TRAIN, image_set(data, data.folds.training(data.samples, k))
        yield VALIDATION, image_set(data, data.folds.validation(data.samples, k))
        for name, samples in data.held_out.items():
            targets = competition.task.targets(samples, competition.classes)
            yield f"{HELD_OUT} {name}", ImageSet.of(samples, targets)
        scan = data.opened.scan
        readable = set(scan["path"][scan["error"] == ""])
        test = competition.test[competition.test["path"].isin(readable)]
        if len(test):
            yield TEST, ImageSet.of(test)

    def _shares(self, images: ImageSet) -> np.ndarray:
        """Return the labels of images, (N, C), float32; NaN without a label."""
        num_classes = len(self.classes)
        if images.targets is None:
            return np.full((len(images), num_classes), np.nan, dtype=np.float32)
        return self.task.one_hot(images.targets, num_classes).astype(np.float32)

    def _features(self, model: Classifier) -> Features:
        from kit.engine.fit.frozen_features import FeatureExtractor

        predict, workers = self.config.predict, self.config.train.workers
        return FeatureFiles(
            folder=self.cache,
            extractor=FeatureExtractor(model, self.store, self.amp, predict.batch_size, workers),
            config=self.config,
            data=self.data,
            transforms=[sized_prediction_transform(model.preprocessing)],
            progress=self.progress,
            deadline=self.deadline,
            in_memory=self.features,
        ).read()

    def predict_samples(self, samples: pd.DataFrame, origin: Origin) -> Predictions:
        """Return the mean prediction of all models for samples that were not trained on.

        An unreadable image gets the class prior of the training labels, or the mean of their numbers.
        """
        from kit.engine.data.datasets import ImageSet

        if samples.empty:
            return Predictions((), self.classes, np.zeros((0, len(self.classes)), "float32"), origin)
        images = ImageSet.of(samples)
        mean = self.predict_mean(images, origin.images)
        probs, rows = mean.probs, sorted(mean.problems)
        probs[rows] = self.task.prior(self.data.targets(), len(self.classes))
        unreadable = tuple(images.ids[row] for row in rows)
        if unreadable:
            warn_of_unreadable(unreadable, origin.kind, self.task, self.progress)
        origin = replace(origin, unreadable=unreadable)
        return Predictions(tuple(images.ids), self.classes, self.task.normalized(probs), origin)


def assemble_oof(validated: dict[int, np.ndarray], fold_probs: dict[int, np.ndarray]) -> np.ndarray:
    """Return the validation probabilities of all models in table order.

    Args:
        validated: Model -> mask of its validation rows, (N,), bool. A row that several repeats validate gets
            the mean of their probabilities.
        fold_probs: Model -> probabilities (N_k, C) of its validation rows, in table order.

    Returns:
        Array (N, C), float64.

    Raises:
        KitError: A model is missing, its number of rows differs, or no model validated a row.
    """
    num_rows, num_classes = len(next(iter(validated.values()))), next(iter(fold_probs.values())).shape[1]
    total, times = np.zeros((num_rows, num_classes)), np.zeros(num_rows)
    for k, rows in validated.items():
        probs = fold_probs.get(k)
        if probs is None or len(probs) != rows.sum():
            predicted = "none" if probs is None else len(probs)
            raise KitError(
                f"fold {k}",
                f"has {counted(rows.sum(), 'validation row')}, but {predicted} were predicted",
                code="oof_incomplete",
            )
        total[rows] += probs
        times[rows] += 1
    if (times == 0).any():
        raise KitError(
            "folds",
            f"{counted((times == 0).sum(), 'row was', 'rows were')} validated by no model",
            code="oof_incomplete",
        )
    oof_probs: np.ndarray = total / times[:, None]
    return oof_probs
