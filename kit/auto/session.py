"""One run of ``kit auto``: what it knows, and the steps that it can take."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pandas as pd

from kit import pipeline
from kit.auto.candidates import Candidate
from kit.auto.choices import Choice, scaled_size
from kit.auto.costs import Costs, Work
from kit.auto.findings import findings
from kit.auto.journal import Journal, Kind, Scored, Trial
from kit.auto.recipes import Recipes
from kit.auto.search import NETWORK
from kit.auto.status import Status, Watch, ignore
from kit.auto.views import VIEW_CANDIDATES, views_worth_their_time
from kit.config import Component, Config
from kit.config.load import with_values
from kit.errors import Interrupted, KitError
from kit.parallel.devices import Devices
from kit.pipeline.experiments import TROUBLES_OF_A_CONFIG, Attempt, Outcome, attempt, attempt_all
from kit.pipeline.models import PredictResult, TrainResult
from kit.runtime.deadline import STOPPING_SECONDS, Deadline, duration
from kit.runtime.progress import Progress, Quiet
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData
from kit.training.run_state import forget
from kit.training.time_plan import num_view_images

SEARCHED_FOLD = 0  # trials are compared on the validation images of this fold
VIEWS_SHARE = 0.1  # of the time left, for measuring views, and for predicting with them
GIVE_UP = 2  # times the estimated seconds


@dataclass
class Session:
    """The competition, what may be tried, what is known, and the time left.

    Attributes:
        total: Seconds of the time limit.
        limit: The time limit of the command.
        devices: What trains folds at the same time, as for ``pipeline.train``.
        candidates: Networks of known speed, best first as far as known.
        combined: The number of experiments when they were last blended.
        combined_at: Seconds of the run then.
        unmeasured: Networks whose speed is not known yet, those to measure first at the front.
    """

    config: Config
    data: TrainingData
    workspace: Workspace
    journal: Journal
    recipes: Recipes
    work: Work
    choices: list[Choice]
    unmeasured: list[Candidate]
    total: float
    limit: Deadline
    progress: Progress
    devices: Devices = None
    watch: Watch = ignore
    began: float = field(default_factory=time.monotonic)
    candidates: list[Candidate] = field(default_factory=list)
    submitted: str = ""
    combined: int = 0
    combined_at: float = -math.inf
    doing: str = ""
    plan: str = ""

    def __post_init__(self) -> None:
        self._spent_before = self.journal.spent

    @property
    def spent(self) -> float:
        """Seconds that this run and earlier ones of the same journal have used."""
        return self._spent_before + time.monotonic() - self.began

    @property
    def costs(self) -> Costs:
        """The measured speeds."""
        return self.journal.costs

    @property
    def deadline(self) -> Deadline:
        """When to stop working: early enough to write the result before the time limit."""
        return self.limit.within(self.limit.left - self.costs.closing(len(self.journal.scored)))

    @property
    def usable(self) -> float:
        """Seconds left for work, without those reserved for the last blend and submission."""
        return self.deadline.left - STOPPING_SECONDS - self.costs.fixed - self.costs.combining

    @property
    def experiments(self) -> list[Scored]:
        """The scored experiments without blends."""
        return [each for each in self.journal.scored if each.kind != "blend"]

    @property
    def num_views(self) -> int:
        """Number of images per sample that whole networks predict."""
        views = self.journal.views
        if views is None:
            return 2 if self.config.augment.hflip else 1
        return num_view_images([Component(name=name) for name in views])

    def new_name(self, kind: Kind) -> str:
        """Return a name for an experiment that no scored one has, since training would replace it."""
        names = (f"auto-{kind}-{number}" for number in count(1))
        return next(name for name in names if self.journal.scored_as(name) is None)

    def ranked(self, scored: list[Scored]) -> list[Scored]:
        """Return experiments and blends, best first."""
        sign = -1 if self.data.competition.metric.higher_is_better else 1
        return sorted(scored, key=lambda each: sign * each.cv)

    def sort_candidates(self) -> None:
        """Put the networks with the best scored heads first, then the others in their order."""
        heads = self.ranked([each for each in self.journal.scored if each.kind == "head"])
        order = list(dict.fromkeys(each.network for each in heads))
        self.candidates.sort(key=lambda each: order.index(each.model) if each.model in order else len(order))

    def fewest_epochs(self, model: str) -> int:
        """Return the epochs below which a whole network is not worth training.

        A network from scratch has no head to fall back on: twice as long as before is worth it.
        """
        if self.candidate(model).pretrained:
            return self.recipes.fewest_epochs
        done = max((each.epochs for each in self.journal.scored if each.network == model), default=0)
        return min(self.recipes.fewest_epochs, 2 * done + 1)

    def candidate(self, model: str) -> Candidate:
        """Return the candidate with a network."""
        return next(each for each in self.candidates if each.model == model)

    def has_features(self, candidate: Candidate) -> bool:
        """Return whether a head can be trained on a network's cached features."""
        return candidate.pretrained and candidate.model not in self.costs.without_features

    def fits_memory(self, candidate: Candidate, size: int) -> bool:
        """Return whether the device has the memory to train a whole network on one image at a time."""
        from kit.engine.device.device import find_device
        from kit.engine.device.resources import free_device_memory

        memory = free_device_memory(find_device())
        return memory is None or self.costs.memory_per_image(candidate.model, size) <= memory[0]

    def say(self, text: str) -> None:
        """Report one line with the time left until the limit."""
        self.progress.note(f"{duration(max(0.0, self.limit.left))} left  {text}")
        self.publish()

    def begin(self, doing: str) -> None:
        """Report what runs now."""
        self.doing = doing
        self.publish()

    def publish(self) -> None:
        """Show the state of the run to whoever watches it."""
        best = self.ranked(self.journal.scored)[:1]
        self.watch(
            Status(
                ends=time.monotonic() + self.limit.left,
                total=self.total,
                doing=self.doing,
                plan=self.plan,
                best="".join(f"{each.name}: {self.metric} {each.cv:.4f}, {each.interval}" for each in best),
                submission=self.submitted,
                learned=tuple(self.journal.learned),
            )
        )

    def shown(self, params: Mapping[str, Any]) -> str:
        """Return params on one line: the network, its image size, and what differs from the start values."""
        candidate = self.candidate(params[NETWORK])
        size = scaled_size(self.recipes.native_size(candidate), params.get("size", 1.0))
        start = {choice.name: choice.prior for choice in self.choices} | {NETWORK: candidate.model}
        changed = [
            f"{name} {value:.2g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in params.items()
            if name != "size" and value != start.get(name)
        ]
        return ", ".join([f"{candidate.model} at {size} px", *changed])

    def learn(self, text: str) -> None:
        """Report a finding once, and keep it for the report."""
        if text not in self.journal.learned:
            self.journal.learned.append(text)
            self.progress.note(f"learned: {text}")
            self.publish()

    # --- steps

    def try_params(self, asked: Sequence[tuple[Mapping[str, Any], int]], budget: float) -> list[Trial]:
        """Train configs on the first fold, several at the same time; record and return the trials.

        Args:
            asked: Params and epochs of each.
            budget: Seconds of each; after twice as many it is given up.
        """
        trials: list[Trial] = []
        attempts = []
        for number, (params, epochs) in enumerate(asked, len(self.journal.trials) + 1):
            name, candidate = f"auto-trial-{number:03d}", self.candidate(params[NETWORK])
            config = self.recipes.whole(name, candidate, self.choices, params, epochs)
            attempts.append(Attempt(config, (SEARCHED_FOLD,), 2 * budget + STOPPING_SECONDS, fresh=True))
            trials.append(Trial(name, dict(params), epochs, budget))

        def settle(number: int, outcome: Outcome) -> None:
            self._settle(trials[number], attempts[number].config, outcome)

        place = self.workspace, Quiet(self.progress), self.deadline
        if len(attempts) == 1:
            settle(0, attempt(attempts[0], self.data, *place, self.devices))
        else:
            data = {str(each): self.data for each in attempts}
            attempt_all(attempts, data, *place, self.devices, settle)
        self.journal.trials += trials
        self.journal.write()
        return trials

    def _settle(self, trial: Trial, config: Config, outcome: Outcome) -> None:
        """Complete a trial by what became of it, and learn how fast its network is."""
        trial.seconds, trial.why = outcome.seconds, outcome.why
        trial.score = outcome.scores.get(SEARCHED_FOLD)
        if outcome.trouble is not None:
            self.progress.warn(str(outcome.trouble))
        in_epochs = self._learn_speed(config)
        if trial.score is not None:
            self.costs.start = trial.seconds - in_epochs

    def run_all_folds(
        self, config: Config, kind: Kind, params: Mapping[str, Any], estimated: float
    ) -> Scored | None:
        """Train every fold, predict, score; return and record the experiment.

        Args:
            estimated: The seconds that this should take; after twice as long it is given up, unless it is
                the first.

        Returns:
            None if the config cannot be trained, or was given up.
        """
        began = time.monotonic()
        patience = GIVE_UP * estimated + STOPPING_SECONDS if self.journal.scored else self.deadline.left
        deadline = self.deadline.within(patience)
        shared: dict[str, Any] = {
            "data": self.data,
            "workspace": self.workspace,
            "progress": Quiet(self.progress),
            "time_limit": deadline,
        }
        try:
            trained = self._train_all(config, kind, estimated, **shared)
            trained_at = time.monotonic()
            if kind == "whole":
                config = self._with_views(config, trained.run, **shared)
            predicted = pipeline.predict(trained.run, **shared)
        except Interrupted:
            if self.deadline.reason_to_stop(STOPPING_SECONDS):
                raise
            if kind == "head":
                self.costs.learn_total(estimated, time.monotonic() - began)
            else:
                self._learn_speed(config)
            wanted = duration(estimated)
            self.learn(f"{config.name} was given up: it is much slower than the {wanted} estimated")
            return None
        except KitError as error:
            self._pass_over(error)
            return None
        self._learn_costs(config, kind, trained_at - began, time.monotonic() - trained_at)
        self.costs.learn_total(estimated, time.monotonic() - began)
        self.costs.decoding = 0.0
        return self._record(predicted, kind, config, params, time.monotonic() - began)

    def _train_all(self, config: Config, kind: Kind, estimated: float, **shared: Any) -> TrainResult:
        """Train every fold of a config; of a whole network go on after the first ones only if time allows.

        Raises:
            Interrupted: All folds together would take more than the time limit.
        """
        limit, began = shared["time_limit"], time.monotonic()
        forget(self.run_folder(config.name), list(range(self.work.folds)))  # an earlier journal's experiment
        if kind == "whole" and self.work.rounds > 1:
            share = limit.left / self.work.rounds
            first = {**shared, "time_limit": limit.within(share + STOPPING_SECONDS)}
            pipeline.train(config, folds=range(self.work.parallel), devices=self.devices, **first)
            needed = (time.monotonic() - began) * (self.work.rounds - 1)
            limit.begin(f"the other folds of {config.name}", needed)
        return pipeline.train(config, devices=self.devices, **shared)

    @property
    def metric(self) -> str:
        """The name of the competition's metric."""
        return self.data.competition.metric.name

    def run_folder(self, name: str) -> RunFolder:
        """Return the folder of an experiment or blend."""
        return self.workspace.run(self.data.competition.name, name)

    def _record(
        self, predicted: PredictResult, kind: Kind, config: Config, params: Mapping[str, Any], seconds: float
    ) -> Scored:
        scored = Scored(
            name=config.name,
            kind=kind,
            network=config.model.name,
            params=dict(params),
            px=config.image.size or 0,
            epochs=config.train.epochs,
            cv=predicted.evaluation.cv,
            interval=predicted.evaluation.interval.text(),
            seconds=seconds,
            at=self.spent,
        )
        earlier = list(self.journal.scored)
        self.journal.add(scored)
        for text in findings(scored, earlier):
            self.learn(text)
        return scored

    def _with_views(self, config: Config, run: RunFolder, **shared: Any) -> Config:
        """Return the config of a trained network with the views that are worth their time.

        Views are measured once, on the first network that leaves the time for it.
        """
        work, model, size = self.work, config.model.name, config.image.size
        assert size is not None  # recipes set it
        one_view = self.costs.predicted(model, size, 1, work) - self.costs.fixed
        measuring = self.costs.forward_seconds(model, size, num_view_images(VIEW_CANDIDATES) * work.validated)
        allowed = VIEWS_SHARE * self.usable
        if self.journal.views is None and config.augment.hflip and measuring + one_view < allowed:
            self.begin(f"{config.name}: measuring views")
            self._measure_views(run, allowed, **shared)
        if self.journal.views is None:
            return config
        config = with_values(config, {"predict.tta": self.journal.views})
        pipeline.train(config, **shared)  # nothing to train: stores the views in the config
        return config

    def _measure_views(self, run: RunFolder, allowed: float, **shared: Any) -> None:
        try:
            report = pipeline.tta_ablation(run, candidates=VIEW_CANDIDATES, **shared)
        except KitError as error:  # such as a network that takes one image size only
            self._pass_over(error)
            return
        work = self.work
        chosen = views_worth_their_time(report, work.validated + work.folds * work.others, allowed)
        self.journal.views = list(chosen.views)
        cost = chosen.seconds / report.path[0].seconds
        names = ", ".join(chosen.views)
        self.learn(f"views {names}: {chosen.gain.value:+.4f} for {cost:.1f} x the prediction time")

    def _pass_over(self, error: KitError) -> None:
        """Go on without a config that cannot be trained; raise what would stop every other config, too."""
        if error.code not in TROUBLES_OF_A_CONFIG:
            raise error
        self.progress.warn(str(error))

    def _learn_speed(self, config: Config) -> float:
        """Store the measured speed of training; return the seconds that the first fold spent in epochs.

        The speed is that of the fastest fold: the first one also decodes the images and warms up.
        """
        run = self.run_folder(config.name)
        files = [run.fold(k).history for k in range(self.work.folds)]
        histories = [pd.read_csv(file) for file in files if file.exists()]
        medians = [float(rows["seconds"].median()) for rows in histories if len(rows)]
        if medians and config.image.size is not None:
            self.costs.learn_training(config.model.name, config.image.size, self.work.train, min(medians))
        if not files[SEARCHED_FOLD].exists():
            return 0.0
        first = histories[SEARCHED_FOLD]
        return float(first["seconds"].sum() + first["validation_seconds"].sum())

    def _learn_costs(self, config: Config, kind: Kind, training: float, predicting: float) -> None:
        """Revise the costs that the estimate of the next experiment starts from."""
        model, size = config.model.name, config.image.size
        assert size is not None  # recipes set it
        if kind == "head":
            self.costs.learn_head(model, size, self.work, training, config.augment.views or 0)
        else:
            self._learn_speed(config)
            num_images = num_view_images(config.predict.tta)
            self.costs.learn_predicted(model, size, num_images, self.work, predicting)
