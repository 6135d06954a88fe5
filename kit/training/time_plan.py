"""How the time that is left is shared, from measured speed: told once it is known, and again fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.config import Component, Config, at_epoch
from kit.runtime.deadline import Deadline, duration
from kit.runtime.progress import Progress
from kit.training.data import TrainingData

if TYPE_CHECKING:
    from kit.engine.fit.fold_state import FoldState


@dataclass(frozen=True)
class TimePlan:
    """What training and predicting will still take.

    Attributes:
        costs: What each epoch of a fold costs beside the others: images that grow cost by their area.
        validated: How many images a fold validates, on average.
        asked: How many predictions an experiment makes: of validation, held-out and test images, all models
            and views.
    """

    costs: list[float]
    validated: float
    asked: int
    deadline: Deadline
    progress: Progress

    @classmethod
    def of(cls, config: Config, data: TrainingData, deadline: Deadline, progress: Progress) -> TimePlan:
        """Return the plan for an experiment of which nothing is measured yet."""
        models = data.folds.models
        validated = len(data.validated()) * len(data.folds.columns)
        others = len(data.competition.test) + sum(len(table) for table in data.held_out.values())
        asked = (validated + models * others) * images_shown(config.predict.tta)
        costs = epoch_costs(config.train.epochs, config.image.size_by_epoch or {1: 1})
        return cls(costs, validated / models, asked, deadline, progress)

    def after_epoch(self, k: int, folds_after: int) -> Callable[[FoldState], None]:
        """Return what to call after each epoch of fold ``k``: it tells the plan after the first."""
        told = not self.deadline.is_limited

        def tell(state: FoldState) -> None:
            nonlocal told
            if not told:
                told = True
                self._tell(k, state, folds_after)

        return tell

    def _tell(self, k: int, state: FoldState, folds_after: int) -> None:
        last, left = state.history[-1], self.deadline.left
        unit = last["seconds"] / self.costs[state.epoch - 1]
        rest = [*self.costs[state.epoch :], *(self.costs * folds_after)]
        epochs = [unit * cost + last["validation_seconds"] for cost in rest]
        validating = len(rest) * last["validation_seconds"]
        predicting = self.asked * last["validation_seconds"] / max(1.0, self.validated)
        self.progress.note(
            f"plan: {duration(left)} left; {len(rest)} epochs in {folds_after + 1} folds take "
            f"{duration(sum(epochs))} ({duration(validating)} of it validation), predicting "
            f"{duration(predicting)}: {self._verdict(k, state.epoch, left, epochs, predicting)}"
        )

    def _verdict(self, k: int, epoch: int, left: float, epochs: list[float], predicting: float) -> str:
        training = sum(epochs)
        if training + predicting <= left:
            return f"all of it fits, {duration(left - training - predicting)} to spare"
        if training <= left:
            return "training fits, predicting is for the next run"
        while left >= epochs[0]:
            left -= epochs.pop(0)
            epoch += 1
        folds, whole = divmod(epoch, len(self.costs))
        where = f"fold {k}" if folds == 0 else f"the {folds}. fold after fold {k}"
        return f"it will stop in about epoch {whole + 1} of {where}, and the same command goes on from there"


def images_shown(views: Iterable[Component]) -> int:
    """Return how many images a model is shown of each one under some views."""
    from kit.engine.tta.views import NOMINAL, view_images_of

    return sum(len(view_images_of(view, NOMINAL)) for view in views)


def epoch_costs(epochs: int, size_by_epoch: Mapping[int, int]) -> list[float]:
    """Return what each epoch costs, by the area of its images; the last costs 1.

    >>> epoch_costs(3, {1: 64, 3: 128})
    [0.25, 0.25, 1.0]
    """
    sizes = [at_epoch(size_by_epoch, epoch) for epoch in range(1, epochs + 1)]
    return [(size / sizes[-1]) ** 2 for size in sizes]
