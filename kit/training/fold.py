"""Train one fold; retry on out-of-memory (smaller micro-batch) and divergence (half the rate)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kit.config import Config, TrainConfig
from kit.errors import KitError, counted, first_few
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress
from kit.runtime.seeds import stable_seed
from kit.storage.files import read_json, write_json
from kit.storage.workspace import RunFolder, Workspace
from kit.training import feature_cache
from kit.training.data import TrainingData, image_set
from kit.training.feature_cache import FeatureFiles
from kit.training.fold_columns import FoldEncoders, about_model
from kit.training.precision import settled_precision
from kit.training.run_state import inputs_of
from kit.training.trained_folds import model_identity, record_fold, training_digest
from kit.training.training_images import TrainingImagePreparer, TrainingImages
from kit.training.warm_start import load_start, warm_start

if TYPE_CHECKING:
    import torch

    from kit.engine.data.datasets import ImageSet, SizedTransform
    from kit.engine.data.image_store import ImageStore
    from kit.engine.device.amp import Amp
    from kit.engine.fit.components import FoldImages, TrainingObjective
    from kit.engine.fit.fold_state import FoldState
    from kit.engine.fit.train_step import LossOfBatch
    from kit.engine.fit.trainer import FoldResult, FoldTrainer, RetryState
    from kit.engine.models.build import Classifier
    from kit.engine.models.preprocessing import Preprocessing

SMALLEST_BATCH = 2  # batch norm needs two images


@dataclass(frozen=True)
class FoldRunner:
    """Builds and trains the folds of one experiment.

    Attributes:
        features: Cached features in memory, by file.
        first_fold: The fold whose notes are shown; the notes of other folds are the same.
        prepared: Fold -> its training images.
        why_no_features: Why features cannot replace images, once a fold has checked it; blank: they can.
    """

    config: Config
    workspace: Workspace
    data: TrainingData
    run: RunFolder
    store: ImageStore
    progress: Progress
    deadline: Deadline = field(default_factory=Deadline)
    features: dict[Path, np.ndarray] = field(default_factory=dict)
    first_fold: list[int] = field(default_factory=list)
    prepared: dict[int, TrainingImages] = field(default_factory=dict)
    why_no_features: list[str] = field(default_factory=list)

    def train(self, k: int, after_epoch: Callable[[FoldState], None]) -> None:
        """Train fold ``k`` and write its result.

        Raises:
            Interrupted: The deadline or a signal; the next run resumes.
            KitError: The fold cannot be trained; its checkpoint stays.
        """
        from kit.engine.device.memory import free_memory
        from kit.engine.fit.trainer import RetryState
        from kit.engine.models.checkpoints import forget_resume

        folder = self.run.fold(k)
        outcome: FoldResult | RetryState = RetryState(micro_batch_size=self._known_micro_batch_size())
        while isinstance(outcome, RetryState):
            free_memory()  # of the previous attempt
            outcome = self._attempt(k, outcome, after_epoch)
        trained_on = self.prepared.pop(k)
        done = {
            "metric": self.data.competition.metric.name,
            **asdict(outcome),
            "classes": self._class_counts(k, trained_on.images),
            **trained_on.facts,
        }
        inputs = {**inputs_of(self.data), "config": training_digest(self.config), **trained_on.inputs}
        record_fold(self.run, k, done, inputs)
        forget_resume(folder)

    def _attempt(
        self, k: int, retry: RetryState, after_epoch: Callable[[FoldState], None]
    ) -> FoldResult | RetryState:
        """Return the result, or the changes for the next attempt from the last checkpoint."""
        from kit.engine.device.device import is_compiler_error
        from kit.engine.device.memory import is_out_of_memory
        from kit.engine.fit.monitoring import DivergedError

        trainer = None
        try:
            trainer = self.trainer(k, retry)
            return trainer.fit(self.progress, f"fold {k}", after_epoch)
        except DivergedError as error:
            if trainer is None or trainer.state.rate < 1:
                raise
            self.progress.warn(
                f"{error.problem}; retrying from the last checkpoint at half the learning rate"
            )
            return replace(retry, rate=0.5)
        except (RuntimeError, MemoryError) as error:
            if is_compiler_error(error):
                raise KitError(
                    "train.compile",
                    f"torch cannot compile {self.config.model.name}: {' '.join(str(error).split())}",
                    next="Remove train.compile.",
                    code="compile_failed",
                ) from error
            if not is_out_of_memory(error):
                raise
            return self._with_half(retry, trainer.state.micro_batch_size if trainer else 1)

    def _with_half(self, retry: RetryState, micro_batch_size: int) -> RetryState:
        """Return the next attempt with half the micro-batch size; store the size for the other folds."""
        smaller = micro_batch_size // 2
        if smaller < SMALLEST_BATCH:
            raise KitError(
                "train.batch_size",
                f"out of memory even with a micro-batch of {counted(micro_batch_size, 'image')}",
                next="Use a smaller model or image.size.",
                code="out_of_memory",
            )
        write_json(self.run.memory, {"device": self._device_name(), "micro_batch_size": smaller})
        self.progress.warn(
            f"out of memory with a micro-batch of {counted(micro_batch_size, 'image')}: all folds "
            "continue with "
            f"{smaller}. Gradients accumulate, so the batch size and the schedule stay the same."
        )
        return replace(retry, micro_batch_size=smaller)

    def _known_micro_batch_size(self) -> int | None:
        """Return the micro-batch size that an earlier fold found to fit this device, or None."""
        if not self.run.memory.exists():
            return None
        found = read_json(self.run.memory)
        return int(found["micro_batch_size"]) if found["device"] == self._device_name() else None

    def _device_name(self) -> str:
        from kit.engine.device.device import device_name, find_device

        return device_name(find_device())

    def trainer(self, k: int, retry: RetryState) -> FoldTrainer:
        """Return the trainer of fold ``k``, ready to start or resume."""
        import torch

        from kit.engine.device.amp import Amp
        from kit.engine.device.device import find_device
        from kit.engine.fit.components import Recipe
        from kit.engine.fit.trainer import FoldTrainer

        config, data = self.config, self.data
        seed = fold_seed(config, k)
        torch.manual_seed(seed)
        model = self.model(k)
        precision = settled_precision(config, self.workspace, len(data.competition.classes), self.run)
        amp = Amp(find_device(), precision.name)
        train_images = self._training_images(k, model.to(amp.device), amp)
        images = self.fold_images(k, model.preprocessing, train_images)
        network, images, train = self._use_features(k, model, images, amp)
        if images.plan.is_balanced:
            counts = self._class_counts(k, images.train)
            self._note(k, _balance_note(config.train.balance.name, counts, images.plan.class_weights))
        objective = self._objective(k, images, amp.device)
        return FoldTrainer(
            model=network,
            images=images,
            objective=objective,
            recipe=Recipe(
                train, config.augment, config.model.trains, config.checkpoint.every_minutes * 60, seed
            ),
            amp=amp,
            folder=self.run.fold(k),
            about={
                "classes": data.competition.classes,
                "model": about_model(config.model),
                "preprocessing": model.preprocessing.as_dict(),
                "target_scale": objective.scale and objective.scale.as_dict(),
                "identity": asdict(model_identity(self.run, k)),
                **FoldEncoders.fitted(config, data, k).about,
            },
            retry=retry,
            deadline=self.deadline,
        )

    @cached_property
    def _preparer(self) -> TrainingImagePreparer:
        return TrainingImagePreparer(self.config, self.data, self.run, self.progress)

    def _training_images(self, k: int, model: Classifier, amp: Amp) -> ImageSet:
        """Return the training images of fold ``k``, prepared once for all attempts."""
        if k not in self.prepared:
            plain = [sized_prediction_transform(model.preprocessing)]
            self.prepared[k] = self._preparer.of_fold(
                k, lambda: self.feature_files(model, amp, plain).read().plain
            )
        return self.prepared[k].images

    def _use_features(
        self, k: int, model: Classifier, images: FoldImages, amp: Amp
    ) -> tuple[Classifier, FoldImages, TrainConfig]:
        """Return model, images and settings; if only the head trains, the head and cached features."""
        from kit.engine.fit.frozen_features import HeadClassifier

        config, train, own = self.config, self.config.train, model.preprocessing
        if not feature_cache.is_head_only(config):
            return model, images, train
        if not self.why_no_features:  # the same for all folds
            self.why_no_features.append(feature_cache.why_not_cached(config, model))
        if reason := self.why_no_features[0]:
            self._note(k, f"features cannot be cached, every epoch runs the whole network: {reason}")
            return model, images, train
        transforms = [
            sized_prediction_transform(own),
            *[sized_training_transforms(config, own)[1]] * feature_cache.num_variations(config, own),
        ]
        labeler = self._preparer.pseudo_labeler
        more = None if labeler is None else labeler.candidates
        features = self.feature_files(model, amp, transforms).read(more)
        head_train = train.model_copy(update={"workers": 0, "compile": False})
        return HeadClassifier(model), features.of(images), head_train

    def feature_files(
        self, model: Classifier, amp: Amp, transforms: Sequence[SizedTransform]
    ) -> FeatureFiles:
        """Return the cached features of plain and augmented images.

        Args:
            model: On the device of ``amp``.
        """
        from kit.engine.fit.frozen_features import FeatureExtractor

        config = self.config
        return FeatureFiles(
            folder=self.workspace.cache(self.data.competition.name),
            extractor=FeatureExtractor(
                model, self.store, amp, config.predict.batch_size, config.train.workers
            ),
            config=config,
            data=self.data,
            transforms=transforms,
            progress=self.progress,
            deadline=self.deadline,
            in_memory=self.features,
        )

    def model(self, k: int) -> Classifier:
        """Return the model that fold ``k`` starts with; its notes are shown for the first fold."""
        from kit.engine.models.build import build_model

        config = self.config
        weights = self.workspace.weights(config.model.weights) if config.model.weights else None
        start_fold = warm_start(config, self.workspace, self.data, k)
        model_config = config.model.model_copy(update={"pretrained": False}) if start_fold else config.model
        encoders = FoldEncoders.fitted(config, self.data, k)
        sizes = (encoders.tabular.sizes, encoders.auxiliary.sizes)
        num_classes = len(self.data.competition.classes)
        model, notes = build_model(model_config, config.image, num_classes, weights, *sizes)
        if start_fold is not None:
            notes += load_start(model, start_fold, f"{config.model.start}, fold {k}", encoders)
        for note in (*notes, *encoders.notes(k)):
            self._note(k, note)
        return model

    def _note(self, k: int, text: str) -> None:
        """Show a note if ``k`` is the first fold that this run trains."""
        if not self.first_fold:
            self.first_fold.append(k)
        if self.first_fold == [k]:
            self.progress.note(text)

    def fold_images(self, k: int, own: Preprocessing, train: ImageSet | None = None) -> FoldImages:
        """Return the training and validation images of a fold, with the plan of its epochs.

        Args:
            train: The training images, if prepared; None: those of the folds CSV.
        """
        from kit.engine.data.datasets import ImageDataset
        from kit.engine.data.sampling import plan_epochs
        from kit.engine.fit.components import FoldImages

        folds, samples, seed = self.data.folds, self.data.samples, fold_seed(self.config, k)
        train = train or image_set(self.data, folds.training(samples, k))
        validation = image_set(self.data, folds.validation(samples, k))
        train_dataset = ImageDataset(train, self.store, sized_training_transforms(self.config, own), seed)
        validation_dataset = ImageDataset(validation, self.store, {0: sized_prediction_transform(own)}, seed)
        plan = plan_epochs(self.config.train.balance, class_matrix(self.data, train), seed)
        columns = FoldEncoders.fitted(self.config, self.data, k).columns_of(train, validation)
        return FoldImages(train, validation, train_dataset, validation_dataset, plan, columns)

    def _objective(self, k: int, images: FoldImages, device: torch.device) -> TrainingObjective:
        """Return task, metric and loss of a fold, with the class weights or the scale of its numbers."""
        import torch

        from kit.engine.fit.components import TrainingObjective
        from kit.engine.models.classifiers import settings_of, with_margin
        from kit.engine.optim.losses import build_loss, loss_for
        from kit.engine.optim.target_scale import TargetScale

        competition, config = self.data.competition, self.config.train.loss
        task, truth = competition.task, class_matrix(self.data, images.train)  # of distributions: majorities
        facts = (task, len(competition.classes), competition.metric)
        if task.numeric:
            scale = TargetScale.fitted(truth, loss_for(config, task).bounded)
            self._note(k, f"the loss takes the numbers with {scale.describe()} (fold {k})")
            return TrainingObjective(*facts, self._loss_with_teacher(build_loss(config, task)), scale)
        weights = images.plan.class_weights
        on_device = None if weights is None else torch.from_numpy(weights).to(device)
        prevalence = torch.from_numpy(truth.mean(axis=0)).to(device)
        loss = build_loss(config, task, on_device, prevalence)
        if self.config.model.classifier is not None:
            counts = torch.from_numpy(truth.sum(axis=0)).to(device)
            loss = with_margin(loss, settings_of(self.config.model.classifier), counts)
        return TrainingObjective(*facts, self._loss_with_teacher(loss))

    def _loss_with_teacher(self, loss: LossOfBatch) -> LossOfBatch:
        """Return the loss that also compares predictions with those of ``train.teacher``, if there is one."""
        from kit.engine.optim.distillation import with_teacher

        teacher, competition = self.config.train.teacher, self.data.competition
        return loss if teacher is None else with_teacher(loss, competition.task, teacher)

    def _class_counts(self, k: int, train: ImageSet) -> dict[str, list[int]]:
        """Return class -> [training images, images in the first epoch]; empty without class balancing."""
        from kit.engine.data.sampling import plan_epochs

        truth, seed = class_matrix(self.data, train), fold_seed(self.config, k)
        plan = plan_epochs(self.config.train.balance, truth, seed)
        if not plan.is_balanced:
            return {}
        counts = zip(
            truth.sum(axis=0).astype(int).tolist(), plan.class_counts(truth, seed).tolist(), strict=True
        )
        classes = self.data.competition.classes
        return {name: list(pair) for name, pair in zip(classes, counts, strict=True)}


def fold_seed(config: Config, k: int) -> int:
    """Return the seed of fold ``k``."""
    return stable_seed(config.seed, "fold", k)


def sized_training_transforms(config: Config, own: Preprocessing) -> dict[int, SizedTransform]:
    """Return first epoch -> training transform, one per image size."""
    from kit.engine.augment.pipelines import training_transform
    from kit.engine.data.datasets import SizedTransform

    sizes = config.image.size_by_epoch or {1: own.size}
    return {
        epoch: SizedTransform(
            training_transform(config.augment, replace(own, size=size)), (own.channels, size)
        )
        for epoch, size in sizes.items()
    }


def sized_prediction_transform(own: Preprocessing) -> SizedTransform:
    """Return the prediction transform."""
    from kit.engine.augment.pipelines import prediction_transform
    from kit.engine.data.datasets import SizedTransform

    return SizedTransform(prediction_transform(own), (own.channels, own.predicting))


def class_matrix(data: TrainingData, images: ImageSet) -> np.ndarray:
    """Return the classes of images, (N, C), 0 or 1, or numbers; of a distribution, the largest share."""
    assert images.targets is not None  # training and validation images are labeled
    competition = data.competition
    targets = competition.task.majority(images.targets)
    return competition.task.one_hot(targets, len(competition.classes))


def _balance_note(name: str, counts: dict[str, list[int]], weights: np.ndarray | None) -> str:
    """Return the note on class balancing: images per class before and after, largest class first."""
    names = sorted(counts, key=lambda c: -counts[c][0])
    if weights is not None:
        by_class = dict(zip(counts, weights, strict=True))
        texts = [f"{c} {counted(counts[c][0], 'image')} x {by_class[c]:.2f}" for c in names]
    else:
        texts = [f"{c} {counts[c][0]} -> {counts[c][1]}" for c in names]
    return f"balance {name}: {first_few(texts, limit=10)}"
