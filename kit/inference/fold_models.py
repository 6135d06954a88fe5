"""Run the trained models of an experiment over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.competition.column_encoder import ColumnEncoder
from kit.config import Component, Config, ModelConfig
from kit.errors import KitError, counted, first_few
from kit.inference.embeddings import TRAIN, Embeddings, identity_of, read_embeddings
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.progress import Progress
from kit.storage.partial_predictions import (
    PartialPredictions,
    partial_file,
    read_partial_predictions,
    write_partial_predictions,
)
from kit.storage.provenance import Identity, check_identity
from kit.storage.workspace import RunFolder
from kit.tasks import Task, tasks
from kit.training.feature_cache import is_head_only
from kit.training.fold_columns import encoded_rows
from kit.training.trained_folds import model_identity, retraining, trained_fold

ViewList = tuple[Component, ...]  # views that are merged into one prediction

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet
    from kit.engine.data.image_store import ImageStore
    from kit.engine.models.build import Classifier
    from kit.engine.models.tabular import EncodedRows
    from kit.engine.optim.target_scale import TargetScale


@dataclass(frozen=True)
class MeanPredictions:
    """The mean prediction of several models.

    Attributes:
        probs: (N, C), float64; not yet normalized.
        problems: Row -> why the image is unreadable; its probabilities are meaningless.
    """

    probs: np.ndarray
    problems: dict[int, str]


@dataclass(frozen=True)
class FoldModels:
    """The trained models of an experiment, one per fold: they predict any images, without the training data.

    Attributes:
        classes: The class names, in the order of the models' outputs.
        partial: The folder of partial predictions, kept until all are written.
    """

    run: RunFolder
    config: Config
    classes: tuple[str, ...]
    num_models: int
    store: ImageStore
    amp: Any
    progress: Progress
    deadline: Deadline
    partial: Path

    @property
    def task(self) -> Task:
        """The competition's task."""
        return tasks.get(self.config.competition.task)

    def predict_mean(
        self, images: ImageSet, digest: str, check: Callable[[dict[int, str]], None] = lambda _: None
    ) -> MeanPredictions:
        """Return the mean prediction of all models for images that were not trained on.

        Args:
            digest: Digest of the images.
            check: Gets the unreadable images after each pass over all images, as in ``MeanPredictions``.
        """
        view_lists = [tuple(self.config.predict.tta)]
        folds = list(range(self.num_models))
        passes = [folds] if self._share_backbone else [[k] for k in folds]
        by_fold: list[PartialPredictions] = []
        for ks in passes:
            by_fold += [each for (each,) in self._predict(ks, images, digest, view_lists)]
            check(by_fold[-1].problems)
        probs: np.ndarray = np.stack([each.probs for each in by_fold]).mean(axis=0, dtype=np.float64)
        return MeanPredictions(probs, {row: why for each in by_fold for row, why in each.problems.items()})

    def predict_fold(self, k: int, images: ImageSet, digest: str) -> PartialPredictions:
        """Return the prediction of fold k's model for images, with the config's views.

        Args:
            digest: Digest of the images.
        """
        ((predictions,),) = self._predict([k], images, digest, [tuple(self.config.predict.tta)])
        return predictions

    @cached_property
    def _share_backbone(self) -> bool:
        """Whether the models differ only in their heads, so that one forward pass serves all of them."""
        from kit.engine.fit.frozen_features import MultiHeadClassifier

        folds = range(self.num_models)
        if self.config.predict.knn is not None:
            return False  # each fold has its own gallery
        return is_head_only(self.config) and MultiHeadClassifier.is_possible(self._load(k) for k in folds)

    def _predict(
        self, ks: Sequence[int], images: ImageSet, digest: str, view_lists: Sequence[ViewList]
    ) -> list[list[PartialPredictions]]:
        """Return predictions per fold and list of views, from stored files where they exist.

        Args:
            ks: One fold, or several whose models share a backbone.
            digest: Digest of the bytes of the images.
        """
        files = [[self._file_of(k, images, digest, view_list) for view_list in view_lists] for k in ks]
        found = [[read_partial_predictions(file) for file in of_fold] for of_fold in files]
        missing = [v for v, of_views in enumerate(zip(*found, strict=True)) if None in of_views]
        if missing:
            new = self._predict_missing(ks, images, [view_lists[v] for v in missing])
            for v, of_views in zip(missing, new, strict=True):
                for number, predictions in enumerate(of_views):
                    write_partial_predictions(files[number][v], predictions)
                    found[number][v] = predictions
        return [[predictions for predictions in of_fold if predictions is not None] for of_fold in found]

    def _file_of(self, k: int, images: ImageSet, digest: str, view_list: ViewList) -> Path:
        """Return the file of fold k's partial predictions."""
        trained = trained_fold(self.run, k, verify=False)
        model = "" if trained is None else trained.model
        return partial_file(
            self.partial, k, f"{model} {digest} {len(images)} {' '.join(self._labels(view_list))}"
        )

    def _labels(self, view_list: ViewList) -> tuple[str, ...]:
        return self.config.predict.model_copy(update={"tta": list(view_list)}).labels

    def _predict_missing(
        self, ks: Sequence[int], images: ImageSet, view_lists: Sequence[ViewList]
    ) -> list[list[PartialPredictions]]:
        """Return predictions per list of views and fold; on out-of-memory the batch is halved."""
        from kit.engine.data.datasets import inference_batch_size
        from kit.engine.device.memory import halve_until_it_fits
        from kit.engine.models.fold_norms import for_prediction
        from kit.engine.tta.views import check_sizes

        model = for_prediction(self._load_joint(ks).to(self.amp.device), self.amp)
        size = model.preprocessing.predicting
        micro_batch_size = inference_batch_size(self.config.predict.batch_size, self.amp.device, size)
        check_sizes([view for view_list in view_lists for view in view_list], model)
        name = f"fold {ks[0]}" if len(ks) == 1 else f"{counted(len(ks), 'fold')} at once"
        return halve_until_it_fits(
            micro_batch_size,
            lambda n: self._predict_batches(
                name, model, self._scales(ks), self.rows(ks, images), images, view_lists, n
            ),
            self.progress.warn,
        )

    def _predict_batches(
        self,
        name: str,
        model: Classifier,
        scales: tuple[TargetScale, ...],
        rows: tuple[EncodedRows, ...],
        images: ImageSet,
        view_lists: Sequence[ViewList],
        micro_batch_size: int,
    ) -> list[list[PartialPredictions]]:
        from kit.engine.tta.merge import merges
        from kit.engine.tta.predict import Predictor, SourceDataset, TTAPlan, predict, source_loader
        from kit.engine.tta.views import ModelInput

        amp = self.amp
        tta_plan = TTAPlan.of(view_lists, ModelInput.of(model))
        label = f"{name}: {counted(len(images), 'image')} x {counted(len(tta_plan.view_images), 'view')}"
        dataset = SourceDataset(images, self.store, tta_plan.sources, model.preprocessing, self.config.seed)
        return predict(
            Predictor(model, self.task, amp.device, amp.autocast, scales, rows),
            source_loader(dataset, micro_batch_size, self.config.train.workers, amp.device),
            tta_plan,
            merges.get(self.config.predict.merge, "predict.merge"),
            self.progress,
            label,
            between=lambda: self.deadline.begin(f"the end of {label}", needed=STOPPING_SECONDS),
        )

    def _load_joint(self, ks: Sequence[int]) -> Classifier:
        """Return one fold's model, or one backbone with the heads of several folds."""
        from kit.engine.fit.frozen_features import MultiHeadClassifier

        models = (self._load(k) for k in ks)
        return next(models) if len(ks) == 1 else MultiHeadClassifier(models)

    def _scales(self, ks: Sequence[int]) -> tuple[TargetScale, ...]:
        """Return the scale of each fold's numbers; empty for classes."""
        return tuple(scale for k in ks if (scale := target_scale(self.run, k, self.task)) is not None)

    def rows(self, ks: Sequence[int], images: ImageSet) -> tuple[EncodedRows, ...]:
        """Return the metadata of images as each fold encodes them; empty if the models read none."""
        encoded = [encoded_rows(column_encoder(self.run, k), images) for k in ks]
        return tuple(rows for rows in encoded if rows is not None)

    def _load(self, k: int) -> Classifier:
        """Return fold k's model, with its nearest training images if the config predicts by them."""
        model, knn = load_fold_model(self.run, k, self.classes), self.config.predict.knn
        if knn is None:
            return model
        import torch

        from kit.engine.models.nearest import NeighborClassifier

        gallery = self._gallery(k)
        tensors = torch.from_numpy(gallery.vectors), torch.from_numpy(gallery.targets)
        return NeighborClassifier(model, *tensors, knn, self.task)

    def _gallery(self, k: int) -> Embeddings:
        """Return the embeddings of the training images of fold ``k``, as its run stores them."""
        trained = trained_fold(self.run, k, verify=False)
        inputs = {"model": "" if trained is None else trained.model}
        path, renew = self.run.fold(k).embeddings, f"kit predict {self.run.label}"
        return read_embeddings(path, identity_of(self.run, k), inputs, renew).of_part(TRAIN)


def load_fold_model(run: RunFolder, k: int, classes: tuple[str, ...]) -> Classifier:
    """Return fold k's model with the weights of its checkpoint.

    Raises:
        KitError: The checkpoint is damaged or another experiment's, or has other classes.
    """
    from kit.engine.models.build import rebuild_model
    from kit.engine.models.checkpoints import load_model
    from kit.engine.models.preprocessing import Preprocessing

    path = run.fold(k).model
    state, about = load_model(path)
    check_identity(Identity(**about["identity"]), model_identity(run, k), path, retraining(run))
    if tuple(about["classes"]) != classes:
        raise KitError(
            path,
            "was trained on other classes than the data has",
            next="Train again with --fresh.",
            code="classes_differ",
        )
    preprocessing = Preprocessing.from_dict(about["preprocessing"])
    sizes = ColumnEncoder.from_list(about.get("tabular", [])).sizes
    model = rebuild_model(ModelConfig(**about["model"]), preprocessing, len(classes), sizes)
    model.load_state_dict(state)
    return model


def target_scale(run: RunFolder, k: int, task: Task) -> TargetScale | None:
    """Return the scale of fold k's numbers, as its model stores it; None for classes."""
    from kit.engine.models.checkpoints import read_about
    from kit.engine.optim.target_scale import TargetScale

    return TargetScale(**read_about(run.fold(k).model)["target_scale"]) if task.numeric else None


def column_encoder(run: RunFolder, k: int) -> ColumnEncoder:
    """Return what encodes the metadata that fold k's model reads, as the model stores it."""
    from kit.engine.models.checkpoints import read_about

    return ColumnEncoder.from_list(read_about(run.fold(k).model).get("tabular", []))


def warn_of_unreadable(unreadable: Sequence[str], kind: str, task: Task, progress: Progress) -> None:
    """Warn that unreadable images get the class prior, or the mean of the training numbers."""
    name = kind.replace("_", "-")
    one, many = f"{name} image cannot be read and gets", f"{name} images cannot be read and get"
    prior = "mean of the training numbers" if task.numeric else "class prior"
    progress.warn(f"{counted(len(unreadable), one, many)} the {prior} ({first_few(unreadable)})")
