"""What trains a fold: the model, its optimiser and schedule, the images, put together once."""

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
from kit.engine.data.datasets import EpochBatches, ImageSet, Item, make_loader, without_gradients
from kit.engine.data.sampling import EpochPlan
from kit.engine.device.amp import Amp
from kit.engine.fit.fold_state import FoldState
from kit.engine.fit.train_step import LossOfBatch, TrainStep
from kit.engine.models import freezing
from kit.engine.models.build import Classifier
from kit.engine.optim.optimizers import build_optimizer, load_optimizer
from kit.engine.optim.schedules import Schedule, build_schedule
from kit.engine.optim.weight_averaging import Average, build_average
from kit.errors import KitError
from kit.metrics import Metric
from kit.tasks import Task


@dataclass(frozen=True)
class FoldImages:
    """Both sides of a fold: images with targets, as ``Task.targets`` gives them.

    Attributes:
        varied: What the model is shown of ``train``, epoch by epoch.
        plain: What it is shown of ``validation``, as when predicting.
        plan: Which images of the training side an epoch takes.
    """

    train: ImageSet
    validation: ImageSet
    varied: Dataset[Item]
    plain: Dataset[Item]
    plan: EpochPlan


@dataclass(frozen=True)
class TrainingObjective:
    """What training is for: the task, its metric, and the loss of logits (B, C) and targets (B, C)."""

    task: Task
    num_classes: int
    metric: Metric
    loss: LossOfBatch


@dataclass(frozen=True)
class Recipe:
    """How a fold is trained.

    Attributes:
        trains: Epoch -> how many of the last stages train from then on.
        save_seconds: How much work may be lost.
        seed: Of this fold; every draw depends on it.
    """

    train: TrainConfig
    augment: AugmentConfig
    trains: freezing.StagesByEpoch
    save_seconds: float
    seed: int


@dataclass
class TrainingComponents:
    """What trains a fold.

    Attributes:
        batches: What an epoch takes, in order.
        targets: Of all training images, (N, C).
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
    targets: Tensor

    def state_dict(self) -> dict[str, Any]:
        """Return all that has a state of its own; the schedule and every draw follow from the step."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.amp.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put everything where it was; the rate of the next step is the schedule's, not the checkpoint's."""
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
    """Return what trains a fold, under the conditions that its state says: rates and images at once.

    Raises:
        KitError: The recipe does not fit the model, or there is no batch of images.
    """
    train = _at_rate(recipe.train, state.rate)
    num_classes = objective.num_classes
    batches = epoch_batches(images, train, recipe.seed)
    model.to(amp.device)
    freezing.train_only(model.backbone, freezing.widest(recipe.trains))
    optimizer = build_optimizer(model.backbone, train)
    higher = objective.metric.higher_is_better
    schedule = build_schedule(train.schedule, optimizer, train.lr, train.epochs, len(batches), higher)
    average = build_average(train.average, model, train.epochs)
    if train.compile:
        model.backbone.compile()  # in place: names, and so checkpoints, stay as they are
    mixing = build_mixing(recipe.augment, num_classes, train.epochs)
    auxiliary, micro_batch_size = model.auxiliary_weight, state.micro_batch_size
    loaders = _loaders(images, batches, train, micro_batch_size, amp.device)
    return TrainingComponents(
        amp,
        model,
        optimizer,
        schedule,
        average,
        TrainStep(model, optimizer, amp, objective.loss, mixing, auxiliary, train.clip, micro_batch_size),
        batches,
        *loaders,
        torch.from_numpy(objective.task.one_hot(targets_of(images.train), num_classes)),
    )


def epoch_batches(images: FoldImages, train: TrainConfig, seed: int) -> EpochBatches:
    """Return what an epoch takes in which order, a batch per step of the optimiser.

    Raises:
        KitError: There is not a single batch.
    """
    batches = EpochBatches(len(images.train), train.batch_size * train.accumulate, seed, images.plan)
    if len(batches) == 0:
        raise KitError(
            "train.batch_size", f"{images.plan.length} training images make no batch", code="too_few_images"
        )
    return batches


def _at_rate(train: TrainConfig, scale: float) -> TrainConfig:
    """Return the recipe at a share of its learning rates."""
    head_lr = None if train.head_lr is None else train.head_lr * scale
    return train.model_copy(update={"lr": train.lr * scale, "head_lr": head_lr})


def _loaders(
    images: FoldImages, batches: EpochBatches, train: TrainConfig, micro_batch_size: int, device: torch.device
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the loaders of the training side and of the validation side."""
    spare = 2 if micro_batch_size == train.batch_size else 1  # without gradients, unless memory was short
    in_order = EpochBatches(len(images.validation), without_gradients(micro_batch_size * spare, device), None)
    return (
        make_loader(images.varied, batches, train.workers, device),
        make_loader(images.plain, in_order, train.workers, device),
    )


def targets_of(images: ImageSet) -> np.ndarray:
    """Return the targets of images that are labelled, as both sides of a fold are."""
    assert images.targets is not None
    return images.targets
