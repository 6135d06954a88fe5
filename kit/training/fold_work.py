"""The folds of an experiment as a job whose parts can be done at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit.config import Config
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData


@dataclass(frozen=True)
class FoldWork:
    """Trains folds; a fold that is trained again continues from its checkpoint."""

    config: Config
    workspace: Workspace
    data: TrainingData
    run: RunFolder
    noun = "fold"

    @property
    def shared(self) -> Path:
        """What every node must see: the experiment's folder has it before folds are trained."""
        return self.run.training_data

    def start(self, progress: Progress, deadline: Deadline) -> Callable[[int], None]:
        """Return a function that trains one fold."""
        from kit.engine.device.device import prepare_process
        from kit.training.data import image_store
        from kit.training.fold import FoldRunner

        prepare_process()
        store = image_store(self.config, self.workspace, self.data, progress)
        runner = FoldRunner(self.config, self.workspace, self.data, self.run, store, progress, deadline)
        return lambda k: runner.train(k, lambda state: None)
