"""Train one fold: epochs of steps, validation after each epoch, exact resume from any step.

Random draws are seeded by (seed, epoch, step) or (seed, epoch, id), so a resumed fold ends with the same
weights as an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from kit.engine.data.datasets import Batch, ImageSet
from kit.engine.device.amp import Amp
from kit.engine.device.prefetch import on_device, to_device
from kit.engine.device.threads import StepThreads, threads_restored
from kit.engine.fit.components import FoldImages, Recipe, TrainingObjective, build_components, targets_of
from kit.engine.fit.fold_state import FoldState
from kit.engine.fit.monitoring import DivergedError, SaveClock, Watch, all_finite
from kit.engine.fit.train_step import seed_step
from kit.engine.models import freezing
from kit.engine.models.build import Classifier
from kit.engine.models.checkpoints import load_resume, save_model, save_resume
from kit.engine.models.tabular import without_auxiliary
from kit.engine.optim.schedules import kept_epoch
from kit.engine.optim.weight_averaging import moving_norms, renew_norms
from kit.engine.tta.predict import predict_probs
from kit.errors import Interrupted, KitError
from kit.runtime.deadline import Deadline, duration
from kit.runtime.progress import Progress
from kit.storage.files import write_text
from kit.storage.fold_folder import FoldFolder

FORMAT = 4  # of resume checkpoints; other formats are ignored


@dataclass(frozen=True)
class FoldResult:
    """The result of training one fold; ``score`` belongs to the kept weights."""

    score: float
    epoch: int
    epochs: int
    seconds: float
    images_per_second: float
    validated_per_second: float


@dataclass(frozen=True)
class RetryState:
    """Changes for the next attempt at a fold, after out-of-memory or divergence.

    Attributes:
        micro_batch_size: Micro-batch that fits the memory; None: as configured.
        rate: Factor of the configured learning rates.
    """

    micro_batch_size: int | None = None
    rate: float = 1.0


class FoldTrainer:
    """Trains one fold, from scratch or from its last checkpoint.

    Args:
        about: Metadata of the saved model.
        retry: Changes after a failed attempt.
    """

    def __init__(
        self,
        model: Classifier,
        images: FoldImages,
        objective: TrainingObjective,
        recipe: Recipe,
        amp: Amp,
        folder: FoldFolder,
        about: dict[str, Any],
        retry: RetryState,
        deadline: Deadline,
    ) -> None:
        self.images, self.objective, self.recipe, self.train = images, objective, recipe, recipe.train
        self.folder, self.about, self.deadline = folder, about, deadline
        saved, self.damaged = load_resume(folder)
        if saved is not None and (saved.get("format"), saved["seed"]) != (FORMAT, recipe.seed):
            saved = None
        self.images_digest = images.train.digest()
        self.is_outdated = saved is not None and saved.get("images") != self.images_digest
        if self.is_outdated:
            saved = None
        self.state = _start_state(saved, retry, recipe.train.batch_size)
        self.components = build_components(model, images, objective, recipe, self.state, amp)
        if saved is not None:
            self.components.load_state_dict(saved["components"])
        for row in self.state.history:
            self.components.schedule.epoch_done(row["score"])
        self.watch = Watch(amp.device)
        self.keeps_best = kept_epoch(recipe.train) == "best"
        self.clock = SaveClock(recipe.save_seconds)
        self.is_compiling = recipe.train.compile
        self.training: int | str | None = None  # number of stages that train in this epoch

    def fit(
        self, progress: Progress, label: str, after_epoch: Callable[[FoldState], None] = lambda _: None
    ) -> FoldResult:
        """Train to the last epoch or early stop, save the model and return the result.

        Args:
            after_epoch: Called with the state after every epoch.

        Raises:
            Interrupted: The deadline or a signal; a checkpoint was written.
            DivergedError: The loss is not finite.
            KitError: An image cannot be read, a loader process died, or the disk is full.
        """
        self._note_resume(progress, label)
        with self.deadline.deferring_signals():
            while not self._is_finished():
                epoch = f"{label} epoch {self.state.epoch + 1}/{self.train.epochs}"
                self.train_epoch(progress, epoch)
                self._validate_epoch(progress, epoch)
                after_epoch(self.state)
        save_model(self.folder.model, without_auxiliary(self._weights_to_keep()), self.about)
        result = self._result()
        done = f"{self.objective.metric.name} {result.score:.4f} of epoch {result.epoch}/{result.epochs}"
        progress.note(f"{label}: {done}, {duration(result.seconds)}")
        return result

    def _is_finished(self) -> bool:
        patience, state = self.train.patience, self.state
        impatient = patience is not None and state.epoch - state.best_epoch >= patience
        return state.epoch >= self.train.epochs or impatient

    # --- training

    def train_epoch(self, progress: Progress, label: str) -> None:
        """Take the remaining steps of the current epoch."""
        number, state = self.state.epoch + 1, self.state
        self._enter_epoch(number)
        with threads_restored():
            self._take_steps(number, progress, label)
        if self.components.average is not None and state.averaged < number:
            self.components.average.after_epoch(self.components.model, number)
            state.averaged = number

    def _take_steps(self, number: int, progress: Progress, label: str) -> None:
        device, steps = self.components.amp.device, len(self.components.batches)
        threads = StepThreads(
            device, steps, self.state.threads, lambda text: progress.note(f"{label}: {text}")
        )
        began = time.perf_counter()
        fetched = self._fetched(progress.track(self.components.train_loader, steps - self.state.step, label))
        for _, moved in on_device(fetched, self._moved, device):
            with threads.step(self.state.step):
                self._take_step(number, moved)
            self.state.threads = threads.chosen
            if self.is_compiling:
                progress.note(f"{label}: torch.compile and a step took {time.perf_counter() - began:.0f} s")
                self.is_compiling = False
            if self.clock.is_due() or self.deadline.reason_to_stop(self.clock.reserve):
                self._count_steps(began)
                self._save()
                self._stop_if_asked()
                began = time.perf_counter()
        self._count_steps(began)

    def _enter_epoch(self, number: int) -> None:
        """Set which stages train and which batch norms update in this epoch."""
        self.components.batches.epoch, self.components.batches.start = number, self.state.step
        backbone, count = self.components.model.backbone, freezing.num_training(self.recipe.trains, number)
        if count != self.training:
            freezing.train_only(backbone, count)
            self.training = count
        self.components.model.train()
        freezing.settle_norms(backbone, self.train.frozen_norm)

    def _fetched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches; if one cannot be loaded, save a checkpoint and raise."""
        while True:
            try:
                batch = next(batches, None)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                self._save()
                raise _lost_worker(error) from error
            if batch is None:
                return
            if batch.problems:
                self._save()
                raise _unusable(batch.problems, self.images.train)
            yield batch

    def _moved(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch's images and targets on the device."""
        device, targets = self.components.amp.device, self.components.targets[batch.indices]
        if device.type == "cuda":
            targets = targets.pin_memory()  # so that the copy is asynchronous
        return to_device(batch.images, device), to_device(targets, device)

    def _take_step(self, number: int, batch: tuple[Tensor, Tensor]) -> None:
        (images, targets), components, step = batch, self.components, self.state.step
        seed_step(self.recipe.seed, number, step, images.device)
        overall = (number - 1) * len(components.batches) + step
        components.schedule.at(overall)
        loss = components.train_step(images, targets, number)
        self.watch.note(loss, len(images), step)
        self.state.step += 1
        if components.average is not None:
            components.average.after_step(components.model, overall + 1)

    def _count_steps(self, since: float) -> None:
        """Add the steps since then to the state.

        Raises:
            DivergedError: A loss was not finite.
        """
        loss, images, broken = self.watch.read()
        if broken is not None:
            raise self._diverged(broken)
        self.state.add_steps(loss, images, time.perf_counter() - since)

    def _diverged(self, step: int) -> DivergedError:
        batch = next(
            keys for number, keys in enumerate(self.components.batches.whole_epoch()) if number == step
        )
        ids = [self.images.train.ids[key.position] for key in batch]
        return DivergedError(self.folder.path, self.state.epoch + 1, step, ids)

    # --- validating

    def _validate_epoch(self, progress: Progress, label: str) -> None:
        """Score the epoch, keep its weights if they are the best, write the history."""
        state, began = self.state, time.perf_counter()
        model = self._model_to_validate()
        score = self._score(model, progress, label)
        row = {
            "loss": state.loss / max(1, state.images),
            "lr": max(group["lr"] for group in self.components.optimizer.param_groups),
            "seconds": state.seconds,
            "validation_seconds": time.perf_counter() - began,
            "images_per_second": state.images / max(state.seconds, 1e-9),
            "score": score,
        }
        if state.end_epoch(row, self.objective.metric) and self.keeps_best:
            state.kept = _copied(model)
        self.components.schedule.epoch_done(score)
        write_text(self.folder.history, pd.DataFrame(state.history).to_csv(index=False, lineterminator="\n"))
        progress.update(label, _state_text(self.train.epochs, self.objective.metric.name, state.history[-1]))
        if self.clock.is_worth_it():
            self._save()

    def _score(self, model: nn.Module, progress: Progress, label: str) -> float:
        images, amp, loader = self.images.validation, self.components.amp, self.components.validation_loader
        probs, problems = predict_probs(
            model,
            progress.track(loader, len(loader), f"{label}, validation"),
            self.objective.task,
            amp.device,
            amp.autocast,
            between=self._save_and_stop_if_asked,
            scales=self.objective.scales,
            rows=self.images.columns.validation_rows,
        )
        if problems:
            raise _unusable(problems, images)
        if not np.isfinite(probs).all():
            raise self._diverged(len(self.components.batches) - 1)
        task, targets = self.objective.task, targets_of(images)
        return self.objective.metric.for_rows(targets, probs.shape[1], task)(targets, probs, task)

    def _model_to_validate(self) -> nn.Module:
        """Return the averaged model if there is one, else the model."""
        average, components = self.components.average, self.components
        if average is None or not average.is_begun():
            return components.model
        if average.renews_norms and (names := moving_norms(components.model)):
            components.batches.start = 0
            inputs = (self._inputs(batch) for batch in components.train_loader)
            with components.amp.autocast():
                renew_norms(average.model, names, inputs)
        return average.model

    def _inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what the model reads of a batch, on the device: images, and rows if it has columns."""
        images, joined = self._moved(batch)
        return images, *self.images.columns.split(joined).rows

    # --- saving

    def _save(self) -> None:
        """Write a checkpoint; non-finite weights are a DivergedError instead."""
        if not all_finite(self.components.model.parameters()):
            raise self._diverged(max(0, self.state.step - 1))
        began = time.perf_counter()
        everything = {
            "format": FORMAT,
            "seed": self.recipe.seed,
            "images": self.images_digest,
            "state": self.state.as_dict(),
            "components": self.components.state_dict(),
        }
        save_resume(self.folder, everything)
        self.clock.saved(time.perf_counter() - began)

    def _stop_if_asked(self) -> None:
        if reason := self.deadline.reason_to_stop(self.clock.reserve):
            step = f"epoch {self.state.epoch + 1}, step {self.state.step} of {len(self.components.batches)}"
            raise Interrupted(
                f"{self.folder.path.name} stopped in {step}: {reason}. Run the command again to resume."
            )

    def _save_and_stop_if_asked(self) -> None:
        if self.deadline.reason_to_stop(self.clock.reserve):
            self._save()
            self._stop_if_asked()

    def _weights_to_keep(self) -> dict[str, Tensor]:
        if self.keeps_best:
            assert self.state.kept is not None  # the first epoch is the best so far
            return self.state.kept
        average = self.components.average
        return _copied(average.model if average and average.is_begun() else self.components.model)

    def _result(self) -> FoldResult:
        state = self.state
        kept = state.history[state.best_epoch - 1] if self.keeps_best else state.history[-1]
        rows = pd.DataFrame(state.history)
        return FoldResult(
            score=kept["score"],
            epoch=int(kept["epoch"]),
            epochs=state.epoch,
            seconds=float(rows["seconds"].sum()),
            images_per_second=float(rows["images_per_second"].median()),
            validated_per_second=float(len(self.images.validation) / rows["validation_seconds"].median()),
        )

    def _note_resume(self, progress: Progress, label: str) -> None:
        for name in self.damaged:
            progress.warn(f"{label}: the checkpoint {name} is damaged; the previous one is used")
        if self.is_outdated:
            progress.note(f"{label} starts anew: the labels that it trains on have changed")
        state = self.state
        if state.epoch or state.step:
            step = f", step {state.step}/{len(self.components.batches)} of the next" if state.step else ""
            progress.note(f"{label} resumes after epoch {state.epoch}/{self.train.epochs}{step}")


def _start_state(saved: dict[str, Any] | None, retry: RetryState, batch_size: int) -> FoldState:
    """Return the state to start from, with the smaller micro-batch and rate of checkpoint and retry."""
    micro_batch_size = min(retry.micro_batch_size or batch_size, batch_size)
    if saved is None:
        return FoldState(micro_batch_size, retry.rate)
    state = FoldState(**saved["state"])
    state.micro_batch_size, state.rate = (
        min(state.micro_batch_size, micro_batch_size),
        min(state.rate, retry.rate),
    )
    return state


def _copied(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights in CPU memory."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _lost_worker(error: RuntimeError) -> KitError:
    return KitError(
        "train.workers",
        f"a data-loading process died ({' '.join(str(error).split())})",
        "The usual cause is too little memory",
        "Run again with fewer (`--set train.workers=2`) or none (0); training resumes.",
        code="worker_died",
    )


def _unusable(problems: dict[int, str], images: ImageSet) -> KitError:
    position, problem = next(iter(problems.items()))
    return KitError(
        images.pictures[position].path,
        problem,
        "",
        "Fix the file and run again; training resumes.",
        code="image_unreadable",
    )


def _state_text(epochs: int, metric: str, row: dict[str, float]) -> str:
    """Return the state after an epoch: the time left in the fold, score, speed and loss."""
    left = duration((epochs - int(row["epoch"])) * (row["seconds"] + row["validation_seconds"]))
    speed = f"{row['images_per_second']:.0f} images/s"
    return f"{left} left  {metric} {row['score']:.4f}  {speed}  loss {row['loss']:.4f}"
