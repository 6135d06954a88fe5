"""The experiments of a sweep: check their configs, train and predict them, stop the poor ones early."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import pipeline
from kit.auto.session import TROUBLES_OF_A_CONFIG, Quiet
from kit.competition.images.decode import DecodeOptions
from kit.config import Config
from kit.config.load import load_config
from kit.errors import KitError, raise_mistakes
from kit.metrics import get_metric
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.sweep.record import Combination, Record
from kit.sweep.space import overrides_of, text_of
from kit.tasks import tasks
from kit.training.data import TrainingData, prepare
from kit.training.devices import Devices
from kit.training.experiment import check_experiment

FIRST_FOLD = 0
MIN_FINISHED = 4  # finished combinations before pruning begins
OTHER_INPUTS = {"config_changed", "data_changed", "fold_of_other_training"}


class OnceOnly:
    """Passes on each note and warning once: the configs of a sweep differ in few values."""

    def __init__(self, progress: Progress) -> None:
        self.stage, self.track = progress.stage, progress.track
        self._progress, self._told = progress, set[str]()

    def note(self, text: str) -> None:
        """Report a note that was not reported before."""
        if self._is_new(text):
            self._progress.note(text)

    def warn(self, text: str) -> None:
        """Report a problem that was not reported before."""
        if self._is_new(text):
            self._progress.warn(text)

    def _is_new(self, text: str) -> bool:
        is_new = text not in self._told
        self._told.add(text)
        return is_new


@dataclass
class Experiments:
    """The combinations of a sweep as experiments.

    Attributes:
        path: The YAML that all of them share, with ``overrides``.
        base: Its config.
        prune: Whether a combination is stopped after a poor first fold.
    """

    path: Path
    overrides: list[str]
    base: Config
    record: Record
    workspace: Workspace
    deadline: Deadline
    prune: bool
    devices: Devices
    progress: Progress
    _data: dict[str, TrainingData] = field(default_factory=dict)

    def __post_init__(self) -> None:
        competition = self.base.competition
        self.metric = get_metric(competition.metric, tasks.get(competition.task))
        self.once = OnceOnly(self.progress)
        self.quiet = Quiet(self.once)

    def config(self, name: str, values: Mapping[str, Any]) -> Config:
        """Return the config of an experiment, with values as ``--set`` would set them."""
        changes = [*self.overrides, *overrides_of(values), f"name={text_of(name)}"]
        return load_config(self.path, changes, self.once)

    def run(self, name: str) -> RunFolder:
        """Return the folder of an experiment."""
        return self.workspace.run(self.base.competition.name, name)

    # --- before anything is trained

    def check(self, planned: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Check the configs of experiments before data is read.

        What a machine lacks, such as memory or weights, is no mistake: the experiment fails, the others run.

        Args:
            planned: Name and values of each.

        Raises:
            KitError: All wrong configs at once, or two that are the same experiment.
        """
        mistakes: dict[str, KitError] = {}
        configs: dict[str, Config] = {}
        for name, values in self.progress.track(planned, len(planned), "checking configs"):
            try:
                configs[name] = self.config(name, values)
                check_experiment(configs[name], self.workspace, progress=self.quiet)
            except KitError as error:
                if error.code not in TROUBLES_OF_A_CONFIG:
                    mistakes.setdefault(str(error).replace(name, self.base.name), error)
        raise_mistakes(self.path, list(mistakes.values()))
        self._refuse_equal(configs, dict(planned))

    def _refuse_equal(self, configs: Mapping[str, Config], values: Mapping[str, Mapping[str, Any]]) -> None:
        first: dict[str, str] = {}
        for name, config in configs.items():
            text = config.model_dump_json(exclude={"name"})
            if (other := first.setdefault(text, name)) != name:
                both = f"{shown(values[other])}; {shown(values[name])}"
                raise KitError(
                    "--grid",
                    f"two combinations are the same experiment: {both}",
                    "Another value in the config overrides the one that differs, or both mean the same",
                    "Remove one of the values.",
                    code="combinations_equal",
                )

    # --- one experiment

    def complete(self, each: Combination) -> None:
        """Train, predict and score an experiment, or resume it; write what became of it to the record.

        Raises:
            Interrupted: The time limit or a signal stopped it; the same call resumes.
            KitError: Something is wrong that would stop every other experiment, too.
        """
        if self._stays_pruned(each):
            return
        was_finished, began = each.state == "finished", time.monotonic()
        try:
            config = self._checked(each)
            if config is not None:
                self._complete(each, config)
        except KitError as error:
            if error.code not in TROUBLES_OF_A_CONFIG:
                raise _with_way_out(error) from error
            each.state, each.why = "failed", error.problem
        finally:
            if not was_finished:
                each.seconds += time.monotonic() - began
            self.record.write()

    def _stays_pruned(self, each: Combination) -> bool:
        return self.prune and each.state == "pruned" and self.run(each.name).fold(FIRST_FOLD).done.exists()

    def _checked(self, each: Combination) -> Config | None:
        """Return the config; None, with the reason recorded, if TPE chose values that exclude each other."""
        try:
            config = self.config(each.name, each.values)
            check_experiment(config, self.workspace, progress=self.quiet)
        except KitError as error:
            each.state, each.why = "failed", error.problem
            return None
        return config

    def _complete(self, each: Combination, config: Config) -> None:
        shared: dict[str, Any] = {
            "data": self._data_of(config),
            "time_limit": self.deadline,
            "workspace": self.workspace,
            "progress": self.quiet,
        }
        if self.prune and each.state != "finished":
            first = pipeline.train(config, folds=[FIRST_FOLD], devices=self.devices, **shared)
            each.fold_score = first.scores[FIRST_FOLD]
            if len(first.scores) < first.num_folds and (why := self._why_prune(each)):
                each.state, each.why = "pruned", why
                return
        trained = pipeline.train(config, devices=self.devices, **shared)
        evaluation = pipeline.predict(trained.run, **shared).evaluation
        each.fold_score, each.cv = trained.scores[FIRST_FOLD], evaluation.cv
        each.state, each.why = "finished", ""

    def _why_prune(self, each: Combination) -> str:
        """Return why an experiment is not worth the other folds, or "" if it is."""
        others = [
            other.fold_score
            for other in self.record.combinations
            if other is not each and other.state == "finished" and other.fold_score is not None
        ]
        if len(others) < MIN_FINISHED or each.fold_score is None:
            return ""
        median = statistics.median(others)
        if not self.metric.better(median, each.fold_score):
            return ""
        return (
            f"{each.fold_score:.4f} on fold {FIRST_FOLD}, worse than the median {median:.4f} of "
            f"{len(others)} finished"
        )

    def _data_of(self, config: Config) -> TrainingData:
        """Return the training data, opened once for all configs that decode images in the same way."""
        key = DecodeOptions.of(config.image).key
        if key not in self._data:
            self._data[key] = prepare(config, self.workspace, self.once)
        return self._data[key]


def shown(values: Mapping[str, Any]) -> str:
    """Return values on one line."""
    return ", ".join(f"{key} {shown_value(value)}" for key, value in values.items())


def shown_value(value: Any) -> str:
    """Return a value for a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else text_of(value)


def _with_way_out(error: KitError) -> KitError:
    """Return an error with a next step that a sweep has: it has no --fresh."""
    if error.code not in OTHER_INPUTS:
        return error
    way_out = "Restore what has changed, or begin a new sweep: `--set name=…`."
    return KitError(error.where, error.problem, "A sweep compares like with like", way_out, code=error.code)
