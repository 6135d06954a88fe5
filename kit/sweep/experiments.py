"""The experiments of a sweep: check their configs, train and predict them, stop the poor ones early."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.competition.images.decode import DecodeOptions
from kit.config import Config
from kit.config.load import load_config
from kit.errors import KitError, raise_mistakes
from kit.metrics import get_metric
from kit.parallel.devices import Cluster, Devices
from kit.parallel.parallel import num_slots
from kit.pipeline.experiments import TROUBLES_OF_A_CONFIG, Attempt, Outcome, attempt, attempt_all
from kit.runtime.deadline import Deadline
from kit.runtime.progress import OnceOnly, Progress, Quiet
from kit.storage.workspace import RunFolder, Workspace
from kit.sweep.record import Combination, Record
from kit.sweep.space import overrides_of, text_of
from kit.tasks import tasks
from kit.training.data import TrainingData, prepare
from kit.training.experiment import check_experiment

FIRST_FOLD = 0
MOST_TOGETHER = 1000  # experiments
MIN_FINISHED = 4  # finished combinations before pruning begins
OTHER_INPUTS = {"config_changed", "data_changed", "fold_of_other_training"}


Report = Callable[[Combination], None]


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

    @property
    def num_together(self) -> int:
        """How many experiments are done at the same time: on a cluster, as many as it has room for now."""
        is_cluster = isinstance(self.devices, Cluster)
        return num_slots(self.devices, MOST_TOGETHER) if is_cluster else 1

    def complete(self, those: Sequence[Combination], report: Report) -> None:
        """Train, predict and score experiments, or resume them, at the same time if there are several.

        What becomes of each is written to the record, and reported.

        Raises:
            Interrupted: The time limit or a signal stopped them; the same call resumes.
            KitError: Something is wrong that would stop every other experiment, too.
        """
        configs = {each.name: config for each in those if (config := self._checked(each)) is not None}
        todo = [each for each in those if each.name in configs]
        try:
            if self.prune:
                first = [each for each in todo if each.state != "finished"]
                self._attempt(first, configs, self._note_first_fold, FIRST_FOLD)
                todo = [each for each in todo if each.state not in ("pruned", "failed")]
            for each in those:
                if each not in todo:
                    report(each)

            def note(each: Combination, outcome: Outcome) -> None:
                _note_all_folds(each, outcome)
                self.record.write()
                report(each)

            self._attempt(todo, configs, note)
        except KitError as error:
            raise _with_way_out(error) from error
        finally:
            self.record.write()

    def _checked(self, each: Combination) -> Config | None:
        """Return the config of an experiment to complete; None if it stays pruned, or has failed.

        TPE may choose values that exclude each other.
        """
        if self.prune and each.state == "pruned" and self.run(each.name).fold(FIRST_FOLD).done.exists():
            return None
        try:
            config = self.config(each.name, each.values)
            check_experiment(config, self.workspace, progress=self.quiet)
        except KitError as error:
            each.state, each.why = "failed", error.problem
            return None
        if each.state != "finished":
            each.state = "begun"
        return config

    def _attempt(
        self,
        those: Sequence[Combination],
        configs: Mapping[str, Config],
        note: Callable[[Combination, Outcome], None],
        *folds: int,
    ) -> None:
        """Attempt experiments and note each outcome; an interrupted one keeps its state and adds its time."""
        attempts = [Attempt(configs[each.name], folds) for each in those]
        data = {each.name: self._data_of(configs[each.name]) for each in those}
        place, began = (self.workspace, self.quiet, self.deadline), time.monotonic()
        waiting = list(those)

        def settle(number: int, outcome: Outcome) -> None:
            waiting.remove(those[number])
            note(those[number], outcome)

        try:
            if len(those) > 1:
                attempt_all(attempts, data, *place, self.devices, settle)
            for each in attempts if len(those) == 1 else ():
                settle(0, attempt(each, data[str(each)], *place, self.devices))
        finally:
            for interrupted in waiting:
                interrupted.seconds += time.monotonic() - began

    def _note_first_fold(self, each: Combination, outcome: Outcome) -> None:
        """Record the first fold of an experiment, and prune the experiment if it is poor."""
        each.seconds += outcome.seconds
        each.fold_score = outcome.scores.get(FIRST_FOLD)
        each.state, each.why = ("failed", outcome.why) if outcome.why else (each.state, "")
        if len(outcome.scores) < outcome.num_folds and (why := self._why_prune(each)):
            each.state, each.why = "pruned", why

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
        """Return the training data, opened once for all configs that read the same images and columns."""
        columns = config.model.model_dump(include={"tabular", "auxiliary"})
        key = f"{DecodeOptions.of(config.image).key} {columns}"
        if key not in self._data:
            self._data[key] = prepare(config, self.workspace, self.once)
        return self._data[key]


def _note_all_folds(each: Combination, outcome: Outcome) -> None:
    """Record an experiment with all folds, or why it has none."""
    if each.state != "finished":
        each.seconds += outcome.seconds
    if outcome.why:
        each.state, each.why = "failed", outcome.why
        return
    each.fold_score, each.cv = outcome.scores[FIRST_FOLD], outcome.cv
    each.state, each.why = "finished", ""


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
