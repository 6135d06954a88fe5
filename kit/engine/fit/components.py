"""Build what trains a fold: optimizer, schedule, weight average, training step, data loaders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from kit.config import AugmentConfig, TrainConfig
from kit.engine.augment.mixup import build_mixing
from kit.engine.data.datasets import EpochBatches, ImageSet, Item, inference_batch_size, make_loader
from kit.engine.data.sampling import EpochPlan
from kit.engine.device.amp import Amp
from kit.engine.fit.columns import NO_COLUMNS, FoldColumns, JoinedTargets
from kit.engine.fit.fold_state import FoldState
from kit.engine.fit.train_step import LossOfBatch, TrainStep
from kit.engine.models import freezing
from kit.engine.models.build import Classifier
from kit.engine.optim.optimizers import build_optimizer, load_optimizer
from kit.engine.optim.schedules import Schedule, build_schedule
from kit.engine.optim.target_scale import TargetScale
from kit.engine.optim.weight_averaging import Average, build_average
from kit.errors import KitError, counted
from kit.metrics import Metric
from kit.tasks import Task


@dataclass(frozen=True)
class FoldImages:
    """Training and validation images of a fold, with targets as from ``Task.targets``.

    Attributes:
        train_dataset: Augmented training images.
        validation_dataset: Validation images, transformed as in prediction.
        plan: Which training images an epoch takes.
        columns: Their metadata.
    """

    train: ImageSet
    validation: ImageSet
    train_dataset: Dataset[Item]
    validation_dataset: Dataset[Item]
    plan: EpochPlan
    columns: FoldColumns = NO_COLUMNS


@dataclass(frozen=True)
class TrainingObjective:
    """Task, metric, and loss of logits (B, C) and targets (B, C).

    Attributes:
        scale: The scale of the numbers of a regression; None for classes.
    """

    task: Task
    num_classes: int
    metric: Metric
    loss: LossOfBatch
    scale: TargetScale | None = None

    @property
    def scales(self) -> tuple[TargetScale, ...]:
        """The scale as ``Predictor`` takes it."""
        return () if self.scale is None else (self.scale,)

    def targets(self, images: ImageSet) -> Tensor:
        """Return the targets of the loss for labeled images, (N, C), float32.

        With a teacher its predictions follow, (N, 2C).
        """
        targets = self._scaled(self.task.one_hot(targets_of(images), self.num_classes))
        if images.soft is not None:
            targets = np.where(np.isnan(images.soft), targets, images.soft)
        if images.teacher is not None:
            teacher = self._scaled(images.teacher)
            if self.scale is not None and self.scale.bounded:
                teacher = teacher.clip(0, 1)  # the loss is defined for the range of the training numbers
            targets = np.concatenate([targets, teacher], axis=1)
        return torch.from_numpy(targets)

    def _scaled(self, targets: np.ndarray) -> np.ndarray:
        """Return targets (N, C) as the loss takes them, float32: numbers are scaled."""
        return targets.astype(np.float32) if self.scale is None else self.scale.targets(targets)


@dataclass(frozen=True)
class Recipe:
    """Training settings of a fold.

    Attributes:
        trains: Epoch -> number of last stages that train from then on (``model.trains``).
        save_seconds: Seconds between checkpoints.
        seed: Seed of the fold.
    """

    train: TrainConfig
    augment: AugmentConfig
    trains: freezing.StagesByEpoch
    save_seconds: float
    seed: int


@dataclass
class TrainingComponents:
    """Everything that trains a fold.

    Attributes:
        batches: The batches of an epoch, in order.
        targets: Targets of all training images, (N, C), with their metadata behind them.
    """

    amp: Amp
    model: Classifier
    optimizer: Optimizer
    schedule: Schedule
    average: Average | None
    train_step: TrainStep
    batches: EpochBatches
    train_loader: DataLoader[Any]
    validation_loader: DataLoader[Any]
    targets: JoinedTargets

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint; the schedule and all random draws follow from the step."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.amp.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore a checkpoint; the next learning rate comes from the schedule, not from the checkpoint."""
        self.model.load_state_dict(saved["model"])
        load_optimizer(self.optimizer, saved["optimizer"])
        self.amp.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])


def build_components(
    model: Classifier,
    images: FoldImages,
    objective: TrainingObjective,
    recipe: Recipe,
    state: FoldState,
    amp: Amp,
) -> TrainingComponents:
    """Return the components of a fold, with the learning-rate factor and micro-batch size of its state.

    Raises:
        KitError: The recipe does not fit the model, or there are too few images for a batch.
    """
    train = _at_rate(recipe.train, state.rate)
    targets = JoinedTargets(objective.targets(images.train), images.columns)
    batches = epoch_batches(images, train, recipe.seed)
    model.to(amp.device)
    freezing.train_only(model.backbone, freezing.widest(recipe.trains))
    optimizer = build_optimizer(model.backbone, train)
    higher = objective.metric.higher_is_better
    schedule = build_schedule(train.schedule, optimizer, train.lr, train.epochs, len(batches), higher)
    average = build_average(train.average, model, train.epochs)
    if train.compile:
        model.backbone.compile()  # in place, so that parameter names stay the same
    mixing = build_mixing(recipe.augment, targets.width, train.epochs)
    auxiliary, micro_batch_size = model.auxiliary_weight, state.micro_batch_size
    loaders = _loaders(images, batches, train, micro_batch_size, amp.device, model.preprocessing.predicting)
    return TrainingComponents(
        amp,
        model,
        optimizer,
        schedule,
        average,
        TrainStep(
            model,
            optimizer,
            amp,
            objective.loss,
            mixing,
            auxiliary,
            train.clip,
            micro_batch_size,
            images.columns,
        ),
        batches,
        *loaders,
        targets,
    )


def epoch_batches(images: FoldImages, train: TrainConfig, seed: int) -> EpochBatches:
    """Return the batches of an epoch, one per optimizer step.

    Raises:
        KitError: There are too few images for a batch.
    """
    batches = EpochBatches(len(images.train), train.batch_size * train.accumulate, seed, images.plan)
    if len(batches) == 0:
        raise KitError(
            "train.batch_size",
            f"{counted(images.plan.length, 'training image is', 'training images are')} too few for a batch",
            code="too_few_images",
        )
    return batches


def _at_rate(train: TrainConfig, scale: float) -> TrainConfig:
    """Return the config with its learning rates multiplied by ``scale``."""
    head_lr = None if train.head_lr is None else train.head_lr * scale
    return train.model_copy(update={"lr": train.lr * scale, "head_lr": head_lr})


def _loaders(
    images: FoldImages,
    batches: EpochBatches,
    train: TrainConfig,
    micro_batch_size: int,
    device: torch.device,
    size: int,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the training loader and the validation loader."""
    # Without gradients a batch of twice the size fits, unless memory ran out before.
    factor = 2 if micro_batch_size == train.batch_size else 1
    batch_size = inference_batch_size(micro_batch_size * factor, device, size)
    in_order = EpochBatches(len(images.validation), batch_size, None)
    return (
        make_loader(images.train_dataset, batches, train.workers, device),
        make_loader(images.validation_dataset, in_order, train.workers, device),
    )


def targets_of(images: ImageSet) -> np.ndarray:
    """Return the targets of labeled images."""
    assert images.targets is not None
    return images.targets
