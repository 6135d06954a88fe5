"""Training one fold: epochs of steps, a validation after each, a checkpoint after each, resumed exactly.

Everything random is seeded by (seed, fold, epoch), so a fold that was interrupted after an epoch and goes on
ends like one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from kit.config import AugmentConfig, TrainConfig
from kit.engine.augment import prediction_transform, training_transform
from kit.engine.balance import Plan
from kit.engine.checkpoints import load_resume, save_model, save_resume
from kit.engine.images import Batch, EpochBatches, ImageDataset, ImageSet, make_loader
from kit.engine.models import Classifier
from kit.engine.optimisers import build_optimizer, build_schedule
from kit.engine.preprocessing import Preprocessing
from kit.engine.store import ImageStore
from kit.engine.tta import predict_probs
from kit.errors import KitError
from kit.metrics import Metric
from kit.progress import Progress
from kit.seeds import stable_seed
from kit.tasks import Task
from kit.workspace import FoldFolder, write_text

NO_STEP = 2**31 - 1
LossOfBatch = Callable[[Tensor, Tensor], Tensor]


@dataclass
class FoldState:
    """How far a fold is.

    Attributes:
        epoch: Epochs done.
        best: The best validation score so far, and its epoch (from 1).
        history: One row per epoch.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class FoldResult:
    """What training one fold came to; ``score`` is that of the weights that were kept."""

    score: float
    epoch: int
    epochs: int
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class FoldImages:
    """Both sides of a fold: images with targets, as ``Task.targets`` gives them, out of one store.

    Attributes:
        plan: Which images of the training side an epoch takes.
    """

    store: ImageStore
    train: ImageSet
    validation: ImageSet
    plan: Plan


@dataclass(frozen=True)
class Goal:
    """What training is for: the task, its metric, and the loss of logits (B, C) and targets (B, C)."""

    task: Task
    metric: Metric
    loss: LossOfBatch


class FoldTrainer:
    """One fold's model, data and optimiser, from untrained to kept.

    Args:
        seed: Of this fold; every draw depends on it and the epoch.
        about: What to write beside the weights; ``classes`` at least.
    """

    def __init__(
        self,
        model: Classifier,
        images: FoldImages,
        goal: Goal,
        recipe: TrainConfig,
        augment: AugmentConfig,
        accelerator: Accelerator,
        folder: FoldFolder,
        seed: int,
        about: dict[str, Any],
    ) -> None:
        self.images, self.goal, self.recipe = images, goal, recipe
        self.accelerator, self.folder, self.seed, self.about = accelerator, folder, seed, about
        num_classes = len(about["classes"])
        self.targets = torch.from_numpy(goal.task.one_hot(_targets(images.train), num_classes))
        self.mix = _mixing(augment, num_classes)

        self.batches = EpochBatches(len(images.train), recipe.batch_size, seed, images.plan)
        if len(self.batches) == 0:
            raise KitError("train.batch_size", f"{images.plan.length} training images make no batch")
        self.train_loader = self._loader(model.preprocessing, self.batches, augment)
        in_order = EpochBatches(len(images.validation), recipe.batch_size * 2, None)
        self.validation_loader = self._loader(model.preprocessing, in_order, None)

        optimizer = build_optimizer(model.backbone, recipe)
        self.schedule = build_schedule(
            optimizer, recipe.schedule, recipe.lr, recipe.epochs, len(self.batches)
        )
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    def _loader(
        self, own: Preprocessing, batches: EpochBatches, augment: AugmentConfig | None
    ) -> DataLoader[Any]:
        """Return the training side under ``augment``, or the validation side without it."""
        chosen = self.images.train if augment else self.images.validation
        transform = training_transform(augment, own) if augment else prediction_transform(own)
        blank = (own.channels, own.size if augment else own.predicting)
        dataset = ImageDataset(chosen, self.images.store, transform, blank, self.seed)
        return make_loader(dataset, batches, self.recipe.workers, self.accelerator.device)

    def fit(self, progress: Progress, label: str) -> FoldResult:
        """Train until the last epoch or until patience ends, from where an earlier run stopped."""
        state = self._resume(progress, label)
        while state.epoch < self.recipe.epochs and not self._out_of_patience(state):
            number = state.epoch + 1
            row = self._train_epoch(number, progress, f"{label} epoch {number}/{self.recipe.epochs}")
            row |= self._validate()
            state.history.append({"epoch": number, **row})
            state.epoch = number
            self._keep(state, row["score"])
            progress.note(_epoch_line(label, self.recipe.epochs, self.goal.metric.name, state.history[-1]))
        return self._result(state)

    def _train_epoch(self, number: int, progress: Progress, label: str) -> dict[str, float]:
        torch.manual_seed(stable_seed(self.seed, "epoch", number))
        self.model.train()
        if self.recipe.frozen_norm:
            _freeze_norm(self.model)
        self.batches.epoch = number
        device = self.accelerator.device
        total = torch.zeros((), device=device)
        broken_step = torch.full((), NO_STEP, device=device)
        began, seen = time.perf_counter(), 0
        step = (number - 1) * len(self.batches)
        for batch in progress.track(self.train_loader, len(self.batches), label):
            self.schedule.step_update(step)
            loss = self._step(batch)
            # Watched on the device, and read once an epoch: reading it here would make the GPU wait.
            total += loss * len(batch.indices)
            broken_step = torch.where(loss.isfinite(), broken_step, broken_step.clamp(max=step))
            seen += len(batch.indices)
            step += 1
        if (first := int(broken_step.item())) != NO_STEP:
            step_of_epoch = first - (number - 1) * len(self.batches) + 1
            raise KitError(
                str(self.folder.path),
                f"the loss is not finite in epoch {number}, step {step_of_epoch}",
                "Training cannot go on from there",
                "Lower train.lr, set train.clip: 1.0, or set train.precision: fp32.",
            )
        seconds = time.perf_counter() - began
        rate = self.optimizer.param_groups[-1]["lr"]
        return {
            "loss": total.item() / seen,
            "lr": rate,
            "seconds": seconds,
            "images_per_second": seen / seconds,
        }

    def _step(self, batch: Batch) -> Tensor:
        if batch.problems:
            position, problem = next(iter(batch.problems.items()))
            path = self.images.train.pictures[position].path
            raise KitError(path, f"could be read before and cannot now: {problem}", "", "Mend it and go on.")
        device = self.accelerator.device
        images = batch.images.to(device, non_blocking=True).float()
        targets = self.targets[batch.indices].to(device, non_blocking=True)
        if self.mix is not None and len(images) > 1:
            images, targets = self.mix(images, targets)
        with self.accelerator.autocast():
            logits = self.model(images)
        loss = self.goal.loss(logits.float(), targets)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if self.recipe.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        return loss.detach()

    def _validate(self) -> dict[str, float]:
        probs, problems = predict_probs(
            self.model,
            self.validation_loader,
            ["identity"],
            self.goal.task,
            self.accelerator.device,
            self.autocast,
        )
        if problems:
            position, problem = next(iter(problems.items()))
            raise KitError(
                self.images.validation.pictures[position].path,
                f"could be read before and cannot now: {problem}",
            )
        return {"score": self.goal.metric(_targets(self.images.validation), probs, self.goal.task)}

    def autocast(self) -> torch.autocast:
        """Open the context of the precision in force."""
        context: torch.autocast = self.accelerator.autocast()
        return context

    def _keep(self, state: FoldState, score: float) -> None:
        """Write what this epoch is worth keeping; the resume file last, so that it never runs ahead."""
        if state.best is None or self.goal.metric.better(score, state.best):
            state.best, state.best_epoch = score, state.epoch
        if self.recipe.keep == "last" or state.best_epoch == state.epoch:
            model = self.accelerator.unwrap_model(self.model)
            save_model(self.folder.model, model.state_dict(), self.about)
        write_text(self.folder.history, pd.DataFrame(state.history).to_csv(index=False, lineterminator="\n"))
        save_resume(
            self.folder.resume,
            {
                "seed": self.seed,
                "epoch": state.epoch,
                "best": state.best,
                "best_epoch": state.best_epoch,
                "history": state.history,
                "model": self.accelerator.unwrap_model(self.model).state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
            },
        )

    def _resume(self, progress: Progress, label: str) -> FoldState:
        saved = load_resume(self.folder.resume)
        if saved is None or saved["seed"] != self.seed:
            return FoldState()
        self.accelerator.unwrap_model(self.model).load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.accelerator.scaler and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        progress.note(f"{label} goes on after epoch {saved['epoch']}/{self.recipe.epochs}")
        return FoldState(saved["epoch"], saved["best"], saved["best_epoch"], saved["history"])

    def _out_of_patience(self, state: FoldState) -> bool:
        patience = self.recipe.patience
        return patience is not None and state.epoch - state.best_epoch >= patience

    def _result(self, state: FoldState) -> FoldResult:
        kept = state.history[-1] if self.recipe.keep == "last" else state.history[state.best_epoch - 1]
        speeds = [row["images_per_second"] for row in state.history]
        seconds = sum(row["seconds"] for row in state.history)
        return FoldResult(kept["score"], int(kept["epoch"]), state.epoch, seconds, float(np.median(speeds)))


def _targets(images: ImageSet) -> np.ndarray:
    assert images.targets is not None  # both sides of a fold are labelled
    return images.targets


def _freeze_norm(model: nn.Module) -> None:
    """Let batch norm go on with the pretrained mean and variance; its scale and shift still train."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _mixing(
    augment: AugmentConfig, num_classes: int
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Return what mixes a batch: mixup, cutmix, or one of the two at random; None without either."""
    mixers = [v2.MixUp(alpha=augment.mixup, num_classes=num_classes)] if augment.mixup else []
    mixers += [v2.CutMix(alpha=augment.cutmix, num_classes=num_classes)] if augment.cutmix else []
    if not mixers:
        return None
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = v2.RandomChoice(mixers)
    return mix


def _epoch_line(label: str, epochs: int, metric: str, row: dict[str, float]) -> str:
    """Return what an epoch came to, and how long the fold still takes at its pace."""
    number = int(row["epoch"])
    minutes, seconds = divmod(round((epochs - number) * row["seconds"]), 60)
    count = f"{number:>{len(str(epochs))}}/{epochs}"
    scores = f"loss {row['loss']:.4f}  {metric} {row['score']:.4f}"
    pace = f"{row['images_per_second']:.0f} images/s  {minutes}:{seconds:02d} left"
    return f"{label} epoch {count}  {scores}  {pace}"
