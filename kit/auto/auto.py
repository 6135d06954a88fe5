"""The verb ``auto``: the best checked submission by a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.auto.choices import SIZES
from kit.auto.finish import AutoResult, close, combine_and_submit, submit_best
from kit.auto.heads import train_heads, train_more_heads
from kit.auto.journal import Kind, Trial
from kit.auto.measure import measure
from kit.auto.plan import (
    FIRST_SHARE,
    SAFETY,
    FirstStep,
    Plan,
    epochs_within,
    first_step,
    largest_within,
    plan_of,
    seconds_of,
)
from kit.auto.search import NETWORK, next_params, require_optuna
from kit.auto.session import Session
from kit.auto.status import Watch, ignore
from kit.auto.understand import open_session
from kit.config.load import config_yaml, load_config
from kit.errors import Interrupted, KitError, counted
from kit.parallel.devices import Devices
from kit.parallel.parallel import kept_connection
from kit.pipeline.inputs import TimeLimit, WorkspaceLike, open_deadline, open_workspace
from kit.runtime.deadline import Deadline, duration
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.locks import exclusive_lock

MEASURED_FIRST = 0.03  # of the time limit, for speeds before the first submission
MEASURED_LATER = 0.06
MORE_SHARE = 0.15  # of the time left, for heads on larger and augmented images before whole networks
HOPELESS = 2  # estimated seconds / seconds left; above, nothing is begun


@dataclass(frozen=True)
class AutoPlan(Displayed):
    """What ``auto`` would do with its time (``--dry-run``).

    Attributes:
        networks: Network -> images per second at its own size.
        not_measured: Networks that are not tried, since measuring takes too much of the time.
        first: The network, size and estimated seconds of the first submission.
        then: What follows, as a sentence.
    """

    competition: str
    networks: dict[str, float]
    not_measured: list[str]
    first: FirstStep
    then: str

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as ``--json`` prints it."""
        return asdict(self)


def auto(
    source: Path | str,
    *,
    time_limit: TimeLimit,
    models: Sequence[str] = (),
    export: Path | str | None = None,
    devices: Devices = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
    watch: Watch = ignore,
) -> AutoResult:
    """Try what is most promising until the time limit; the best submission so far is always written.

    Run again, it continues from what it has learned: only the step that was interrupted is lost.

    Args:
        source: A config, or a competition folder, for which ``init`` writes a config.
        models: Networks to try, ``NAME`` or ``NAME=FILE``; empty: those whose weights are on this machine,
            and more accurate ones that can be downloaded in a tenth of the time.
        export: Where to write the config of the best experiment.
        devices: What trains folds at the same time, as for ``train``.
        watch: Called with the state of the run whenever it changes.

    Raises:
        KitError: The data or the time limit does not allow a single submission.
        Interrupted: Ctrl-C or SIGTERM; the same call continues.
    """
    began = time.monotonic()
    require_optuna("kit auto")
    workspace, deadline = open_workspace(workspace), open_deadline(time_limit)
    _check_export(export)
    with kept_connection(devices):
        session = open_session(source, models, workspace, deadline, progress, began, devices)
        session.watch = watch
        with exclusive_lock(session.journal.path.with_suffix(".lock"), "kit auto"):
            _work_until_the_end(session, deadline)
    if not session.journal.scored:
        raise _too_short(session)
    result = close(session)
    progress.note(f"{workspace.shown(workspace.auto_page(result.competition))} written")
    if export is not None:
        _export(session, Path(export))
    return result


def _work_until_the_end(session: Session, deadline: Deadline) -> None:
    """Take steps until the deadline; the journal is written however they end.

    Raises:
        Interrupted: By Ctrl-C or SIGTERM, not by the deadline.
    """
    try:
        _take_steps(session)
    except Interrupted:
        if deadline.signal:
            raise
        combine_and_submit(session, last=True)
    finally:
        session.journal.spent = session.spent
        session.journal.write()


def dry_run(
    source: Path | str,
    *,
    time_limit: TimeLimit,
    models: Sequence[str] = (),
    devices: Devices = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> AutoPlan:
    """Return what ``auto`` would do first, from the measured speed of each network; nothing is trained."""
    workspace, deadline = open_workspace(workspace), open_deadline(time_limit)
    session = open_session(source, models, workspace, deadline, progress, time.monotonic(), devices)
    measure(session, MEASURED_FIRST + MEASURED_LATER)
    plan = plan_of(session, searched=False)
    speeds = {
        each.model: session.costs.images_per_second(each.model, session.recipes.native_size(each))
        for each in session.candidates
    }
    then = plan.text() if plan else "no time to train whole networks: heads on frozen features only"
    not_measured = [each.model for each in session.unmeasured]
    return AutoPlan(session.data.competition.name, speeds, not_measured, first_step(session), then)


def _take_steps(session: Session) -> None:
    with session.limit.deferring_signals():
        measure(session, MEASURED_FIRST)
        _first_submission(session)
        measure(session, MEASURED_LATER)
        _note_unmeasured(session)
        train_heads(session)
        session.sort_candidates()
        train_more_heads(session, MORE_SHARE)
        for plan in _plans(session):
            _search(session, plan)
            _confirm(session, plan)
        train_more_heads(session)
        combine_and_submit(session, last=True)


# --- steps


def _first_submission(session: Session) -> None:
    """Write a first submission within a tenth of the time, or five minutes."""
    if session.journal.scored:
        session.say(f"continued: {counted(len(session.journal.scored), 'scored experiment')}")
        submit_best(session)
        return
    session.progress.stage("first submission")
    step = first_step(session)
    if step.seconds > HOPELESS * session.deadline.left:
        raise _too_short(session, step.seconds)
    recipes = session.recipes
    kind: Kind = "whole" if step.epochs else "head"
    if kind == "head":
        config = recipes.head(session.new_name(kind), step.candidate, step.size)
    else:
        config = recipes.whole(
            "auto-whole-1", step.candidate, session.choices, {"size": step.scale}, step.epochs
        )
    if step.seconds > FIRST_SHARE * session.total:
        text = f"the fastest first submission takes about {duration(step.seconds)}"
        session.learn(f"{text}, more than {FIRST_SHARE:.0%} of the time")
    session.begin(f"{step.candidate.model} at {step.size} px, about {duration(step.seconds)}")
    session.say(session.doing)
    session.run_all_folds(config, kind, {"size": step.scale, "views": 0}, step.seconds)
    if session.journal.scored:
        submit_best(session)


def _note_unmeasured(session: Session) -> None:
    if session.unmeasured:
        names = ", ".join(each.model for each in session.unmeasured)
        session.learn(f"not tried, since measuring their speed takes too much of the time: {names}")


def _plans(session: Session) -> Iterator[Plan]:
    """Yield plans for the time left, until nothing fits any more."""
    searched = False
    while (plan := plan_of(session, searched)) is not None:
        session.plan = plan.text()
        session.progress.stage("plan", session.plan)
        before = _known(session)
        yield plan
        searched = searched or plan.num_trials > 0
        if _known(session) == before:
            return  # nothing was possible


def _known(session: Session) -> tuple[int, int, dict[str, float]]:
    """Return what a step adds to: experiments, trials, and measured speeds."""
    return len(session.journal.scored), len(session.journal.trials), dict(session.costs.training)


def _search(session: Session, plan: Plan) -> None:
    """Try configs on one fold, each for the same time, until the share of the search is used."""
    ends = session.deadline.left - plan.search_seconds
    tried = 0
    while tried < plan.num_trials and session.deadline.left - plan.trial_seconds > ends:
        count = min(session.work.parallel, plan.num_trials - tried)
        asked = _next_configs(session, plan, count)
        first = len(session.journal.trials) + 1
        texts = [f"trial {first + i}: {session.shown(params)}" for i, (params, _) in enumerate(asked)]
        session.begin("; ".join(texts))
        for text, trial in zip(texts, session.try_params(asked, plan.trial_seconds), strict=True):
            result = f"{trial.score:.4f}" if trial.score is not None else f"no score: {trial.why}"
            session.say(f"{text}, {counted(trial.epochs, 'epoch')}: {result}")
        tried += count


def _next_configs(session: Session, plan: Plan, count: int) -> list[tuple[dict[str, Any], int]]:
    """Return the params and epochs of the next trials, which run at the same time."""
    networks = [each for each in session.candidates if each.model in plan.searched]
    higher = session.data.competition.metric.higher_is_better
    found: list[tuple[dict[str, Any], int]] = []
    for _ in range(count):
        waiting = [Trial("", params, epochs, plan.trial_seconds) for params, epochs in found]
        known = [*session.journal.trials, *waiting]
        params = next_params(networks, session.choices, known, higher, session.config.seed)
        epochs = epochs_within(session, params, plan.trial_seconds)
        if epochs < 1 and "size" in params:  # too slow for a trial: smaller images
            params |= {"size": min(SIZES)}
            epochs = epochs_within(session, params, plan.trial_seconds)
        found.append((params, max(1, epochs)))
    return found


def _confirm(session: Session, plan: Plan) -> None:
    """Train the best tried configs on all folds; blend and submit after each."""
    for number, params in enumerate(plan.confirmed(session)):
        share = min(session.usable, plan.whole_seconds / SAFETY) / (plan.num_whole - number)
        params, epochs = largest_within(session, params, share)
        if epochs < session.fewest_epochs(params[NETWORK]):
            session.learn(f"{session.shown(params)} is not trained on all folds: too slow for the time left")
            continue
        wholes = [each for each in session.journal.scored if each.kind == "whole"]
        name = session.new_name("whole")
        seed = sum(each.params == params for each in wholes)
        candidate = session.candidate(params["network"])
        config = session.recipes.whole(name, candidate, session.choices, params, epochs, seed)
        session.begin(f"{name}: {session.shown(params)}, {counted(epochs, 'epoch')} on every fold")
        session.say(session.doing)
        scored = session.run_all_folds(config, "whole", params, seconds_of(session, params, epochs))
        if scored is not None:
            session.say(f"{name}: {session.metric} {scored.cv:.4f}")
            combine_and_submit(session)


def _export(session: Session, path: Path) -> None:
    """Write the config of the best single experiment."""
    single = [each for each in session.ranked(session.journal.scored) if each.kind != "blend"]
    config = load_config(session.run_folder(single[0].name).config)
    write_text(path, config_yaml(config.model_copy(update={"name": path.stem})))
    session.progress.note(f"{session.workspace.shown(path.absolute())} written: {single[0].name}")


def _check_export(path: Path | str | None) -> None:
    """Refuse, before hours of work, to export over another file.

    Raises:
        KitError: The file exists.
    """
    if path is not None and Path(path).exists():
        raise KitError(
            f"--export {path}",
            "exists already",
            "An export overwrites no config",
            "Name another file.",
            code="export_exists",
        )


def _too_short(session: Session, needed: float | None = None) -> KitError:
    least = f"the fastest network needs about {duration(needed)}" if needed else "it ended before"
    return KitError(
        "--time-limit",
        f"{duration(session.total)} is too short for a first submission: {least}",
        "All folds must be trained and predicted once",
        f"Give at least --time-limit {int((needed or session.total) * 1.5 / 60) + 1}m.",
        code="time_limit_too_short",
    )
