"""Train and predict experiments that are tried: what is wrong with one does not stop the others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.config import Config
from kit.errors import Interrupted, KitError
from kit.parallel.devices import Devices
from kit.parallel.parallel import in_parallel
from kit.pipeline.models import predict, train
from kit.runtime.deadline import STOPPING_SECONDS, Deadline
from kit.runtime.progress import Progress, Quiet
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData

# What is wrong with one config rather than with the data or the machine.
TROUBLES_OF_A_CONFIG = {
    "device_memory_low",
    "image_size_unsuitable",
    "loss_not_finite",
    "out_of_memory",
    "weights_do_not_fit",
    "weights_unavailable",
}
TOO_SLOW = "it was slower than measured before"


@dataclass(frozen=True)
class Attempt:
    """An experiment to try.

    Attributes:
        folds: The folds to train; empty: all, which are then predicted and scored.
        seconds: After which it is given up.
        fresh: Whether results of an earlier run are discarded.
    """

    config: Config
    folds: tuple[int, ...] = ()
    seconds: float = math.inf
    fresh: bool = False

    def __str__(self) -> str:
        return self.config.name


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        scores: Fold -> the metric on its validation images.
        num_folds: Of the experiment.
        cv: The out-of-fold score; None without one.
        seconds: How long it took.
        trouble: What is wrong with the config; None: nothing.
        is_too_slow: Whether it was given up.
    """

    seconds: float
    scores: Mapping[int, float]
    num_folds: int = 0
    cv: float | None = None
    trouble: KitError | None = None
    is_too_slow: bool = False

    @property
    def why(self) -> str:
        """Why it has not finished; empty if it has."""
        return TOO_SLOW if self.is_too_slow else self.trouble.problem if self.trouble else ""


def attempt(
    each: Attempt,
    data: TrainingData,
    workspace: Workspace,
    progress: Progress,
    deadline: Deadline,
    devices: Devices = None,
) -> Outcome:
    """Train an experiment and, if all of its folds are trained, predict with it.

    Raises:
        Interrupted: The deadline or a signal stopped it; the same call resumes.
        KitError: Something is wrong that would stop every other experiment, too.
    """
    began, limit = time.monotonic(), deadline.within(each.seconds)
    shared: dict[str, Any] = {"data": data, "workspace": workspace, "progress": progress, "time_limit": limit}
    try:
        trained = train(each.config, folds=each.folds, fresh=each.fresh, devices=devices, **shared)
        cv = None if each.folds else predict(trained.run, **shared).evaluation.cv
    except Interrupted:
        if deadline.reason_to_stop(STOPPING_SECONDS):
            raise
        return Outcome(time.monotonic() - began, {}, is_too_slow=True)
    except KitError as error:
        if error.code not in TROUBLES_OF_A_CONFIG:
            raise
        return Outcome(time.monotonic() - began, {}, trouble=error)
    return Outcome(time.monotonic() - began, trained.scores, trained.num_folds, cv)


@dataclass(frozen=True)
class AttemptWork:
    """Attempts as a job whose parts can be done at the same time.

    Attributes:
        data: Name of an experiment -> its training data.
    """

    workspace: Workspace
    competition: str
    data: Mapping[str, TrainingData]
    noun = "experiment"

    @property
    def shared(self) -> Path:
        """What every node must see: the folds."""
        return self.workspace.folds(self.competition)

    def start(self, progress: Progress, deadline: Deadline) -> Callable[[Attempt], Outcome]:
        """Return a function that attempts one experiment."""
        quiet = Quiet(progress)

        def attempt_one(each: Attempt) -> Outcome:
            data = self.data[each.config.name]
            return attempt(each, data, self.workspace, quiet, deadline)

        return attempt_one


def attempt_all(
    attempts: Sequence[Attempt],
    data: Mapping[str, TrainingData],
    workspace: Workspace,
    progress: Progress,
    deadline: Deadline,
    devices: Devices,
    on_outcome: Callable[[int, Outcome], None],
) -> None:
    """Attempt experiments at the same time, on the devices of this machine or on a cluster.

    Args:
        data: Name of an experiment -> its training data.
        on_outcome: Called with the number of an attempt and what became of it.

    Raises:
        Interrupted: As ``attempt``.
        KitError: As ``attempt``, or no device is left.
    """
    work = AttemptWork(workspace, attempts[0].config.competition.name, data)
    in_parallel(work, attempts, devices, progress, deadline, on_outcome)
