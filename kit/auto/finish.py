"""Blend and submit what is scored, and make the result of a run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from kit import pipeline
from kit.auto.corrected import Corrected
from kit.auto.journal import Scored
from kit.auto.page import write_auto_page
from kit.auto.score import score_of_choice
from kit.auto.session import SEARCHED_FOLD, Session
from kit.ensemble.methods import blend_methods
from kit.ensemble.methods.registry import BlendMethod
from kit.errors import counted
from kit.evaluation.nested_oof import nested_oof
from kit.runtime.displayed import Displayed

BLENDS = {"auto-blend": "weights", "auto-blend-rank": "rank"}  # name -> method
MAX_MEMBERS = 8
COMBINING_SHARE = 0.1  # of the time, at most, for blends before the last one


@dataclass(frozen=True)
class AutoResult(Displayed):
    """What ``auto`` made.

    Attributes:
        best: The experiment or blend to submit.
        corrected: The score to expect of it on new images; None if it cannot be computed.
        submission: The checked file, relative to the workspace; None without test images.
        scored: Every experiment and blend, best first.
        trials: The number of configs that were tried on one fold.
    """

    competition: str
    metric: str
    best: Scored
    corrected: Corrected | None
    submission: str | None
    scored: list[Scored]
    trials: int
    learned: list[str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the result as ``--json`` prints it."""
        return asdict(self) | {"corrected": self.corrected and self.corrected.as_dict()}


def combine_and_submit(session: Session, last: bool = False) -> None:
    """Blend the best experiments and submit the best of all, if there is something new.

    Before the last time, blending waits for more experiments if it would take more than ``COMBINING_SHARE``
    of the time.
    """
    experiments, cost = len(session.experiments), session.costs.combining
    if experiments == session.combined:
        return
    if session.deadline.left < cost:
        session.learn("the last experiment is in no blend: the time was over")
        return
    if not last and session.spent - session.combined_at < cost / COMBINING_SHARE:
        return
    began, is_first = time.monotonic(), not cost
    for name, method in _methods(session).items():
        _blend(session, name, method)
    submit_best(session)
    session.combined, session.combined_at = experiments, session.spent
    session.costs.combining = time.monotonic() - began
    if is_first:
        close(session)  # measures what the end takes


def _methods(session: Session) -> dict[str, str]:
    """Return the blends to make: name -> method."""
    task, metric = session.data.competition.task, session.data.competition.metric

    def suits(method: BlendMethod) -> bool:
        if task.numeric:
            return method.number
        return not (method.order_only and metric.is_log_likelihood(task))

    return {name: method for name, method in BLENDS.items() if suits(blend_methods.get(method))}


def _blend(session: Session, name: str, method: str) -> None:
    """Blend the best experiments and record the blend, if there are several."""
    members = session.ranked(session.experiments)[:MAX_MEMBERS]
    if len(members) < 2:
        return
    began = time.monotonic()
    runs = [session.run_folder(each.name) for each in members]
    blended = pipeline.blend(runs, method=method, name=name, workspace=session.workspace)
    assert blended.evaluation is not None  # all members share the folds
    cv, interval = blended.evaluation.cv, blended.evaluation.interval.text()
    seconds = time.monotonic() - began
    session.journal.add(Scored(name, "blend", "", {}, 0, 0, cv, interval, seconds, session.spent))
    session.say(f"{counted(len(members), 'experiment')} blended ({method}): {session.metric} {cv:.4f}")


def submit_best(session: Session) -> None:
    """Write the submission of the best experiment or blend, unless it is written already."""
    best = session.ranked(session.journal.scored)[0]
    session.journal.best = best.name
    session.journal.write()
    if session.config.submission is None or session.data.opened.loaded.test.empty:
        return
    done = pipeline.submit(session.run_folder(best.name), data=session.data, workspace=session.workspace)
    session.submitted = session.workspace.shown(done.file.path)
    session.say(f"{session.submitted} checked: {best.name}, {session.metric} {best.cv:.4f}")


def close(session: Session) -> AutoResult:
    """Return the result and write the page; store how long both take."""
    began = time.monotonic()
    result = _result(session)
    scored_at = time.monotonic()
    write_auto_page(session.workspace.auto_page(result.competition), session, result.scored, result.corrected)
    session.costs.correcting = (scored_at - began) / len(result.scored)
    session.costs.page = time.monotonic() - scored_at
    return result


def _result(session: Session) -> AutoResult:
    scored = session.ranked(session.journal.scored)
    return AutoResult(
        competition=session.data.competition.name,
        metric=session.metric,
        best=scored[0],
        corrected=_corrected(session),
        submission=session.submitted or None,
        scored=scored,
        trials=len(session.journal.trials),
        learned=session.journal.learned,
        seconds=time.monotonic() - session.began,
    )


def _corrected(session: Session) -> Corrected | None:
    """Return the score to expect of the submission; trials, if there were any, were compared on one fold."""
    ranked = session.ranked(session.journal.scored)
    runs = [nested_oof(session.run_folder(each.name), session.workspace) for each in ranked]
    return score_of_choice(runs, session.config.seed, SEARCHED_FOLD if session.journal.trials else None)
