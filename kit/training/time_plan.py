"""Estimate from the measured speed whether training and prediction finish before the deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.config import Component, Config, at_epoch
from kit.errors import counted
from kit.runtime.deadline import Deadline, duration
from kit.runtime.progress import Progress
from kit.training.data import TrainingData

if TYPE_CHECKING:
    from kit.engine.fit.fold_state import FoldState


@dataclass(frozen=True)
class TimePlan:
    """Estimate of the remaining time of training and prediction.

    Attributes:
        costs: Relative cost of each epoch of a fold, by image area.
        validated: Mean number of validation images per fold.
        num_predictions: Forward passes of all models on all views of validation, held-out and test images.
    """

    costs: list[float]
    validated: float
    num_predictions: int
    deadline: Deadline
    progress: Progress

    @classmethod
    def of(cls, config: Config, data: TrainingData, deadline: Deadline, progress: Progress) -> TimePlan:
        """Return the plan of an experiment before its speed is measured."""
        models = data.folds.models
        validated = len(data.validated()) * len(data.folds.columns)
        others = len(data.competition.test) + sum(len(table) for table in data.held_out.values())
        num_predictions = (validated + models * others) * num_view_images(config.predict.tta)
        costs = epoch_costs(config.train.epochs, config.image.size_by_epoch or {1: 1})
        return cls(costs, validated / models, num_predictions, deadline, progress)

    def after_epoch(self, k: int, folds_after: int) -> Callable[[FoldState], None]:
        """Return a callback for the epochs of fold ``k`` that reports the plan after the first one."""
        is_done = not self.deadline.is_limited

        def report(state: FoldState) -> None:
            nonlocal is_done
            if not is_done:
                is_done = True
                self._report(k, state, folds_after)

        return report

    def _report(self, k: int, state: FoldState, folds_after: int) -> None:
        last, left = state.history[-1], self.deadline.left
        seconds_per_cost = last["seconds"] / self.costs[state.epoch - 1]
        rest = [*self.costs[state.epoch :], *(self.costs * folds_after)]
        epochs = [seconds_per_cost * cost + last["validation_seconds"] for cost in rest]
        validating = len(rest) * last["validation_seconds"]
        predicting = self.num_predictions * last["validation_seconds"] / max(1.0, self.validated)
        self.progress.note(
            f"plan: {duration(left)} left; {counted(len(rest), 'epoch')} in "
            f"{counted(folds_after + 1, 'fold needs', 'folds need')} "
            f"{duration(sum(epochs))} ({duration(validating)} of that for validation), prediction "
            f"{duration(predicting)}: {self._verdict(k, state.epoch, left, epochs, predicting)}"
        )

    def _verdict(self, k: int, epoch: int, left: float, epochs: list[float], predicting: float) -> str:
        training = sum(epochs)
        if training + predicting <= left:
            return f"both will finish {duration(left - training - predicting)} before the deadline"
        if training <= left:
            return "training will finish, prediction needs another run"
        while left >= epochs[0]:
            left -= epochs.pop(0)
            epoch += 1
        folds, whole = divmod(epoch, len(self.costs))
        where = f"fold {k}" if folds == 0 else f"fold number {folds} after fold {k}"
        return f"training will stop in about epoch {whole + 1} of {where}; the same command resumes it"


def num_view_images(views: Iterable[Component]) -> int:
    """Return the number of model inputs per image with the given views."""
    from kit.engine.tta.views import NOMINAL, view_images_of

    return sum(len(view_images_of(view, NOMINAL)) for view in views)


def epoch_costs(epochs: int, size_by_epoch: Mapping[int, int]) -> list[float]:
    """Return the cost of each epoch, by image area relative to the last epoch.

    >>> epoch_costs(3, {1: 64, 3: 128})
    [0.25, 0.25, 1.0]
    """
    sizes = [at_epoch(size_by_epoch, epoch) for epoch in range(1, epochs + 1)]
    return [(size / sizes[-1]) ** 2 for size in sizes]
