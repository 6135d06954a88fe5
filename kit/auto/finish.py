"""Blend and submit what is scored, and make the result of a run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from kit.auto.corrected import Corrected
from kit.auto.journal import Scored
from kit.auto.page import write_auto_page
from kit.auto.score import nested_oof, score_of_choice
from kit.auto.session import SEARCHED_FOLD, Session
from kit.runtime.displayed import Displayed


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


def combine_and_submit(session: Session) -> None:
    """Blend what is scored and submit the best; without time for both the earlier submission stays."""
    if session.deadline.left < session.costs.combining:
        session.learn("the last experiment is in no blend: the time was over")
        return
    began, is_first = time.monotonic(), not session.costs.combining
    blended = session.combine()
    if blended is not None:
        session.say(f"blend of all: {session.metric} {blended.cv:.4f}")
    session.submit_best()
    session.costs.combining = time.monotonic() - began
    if is_first:
        close(session)  # measures what the end takes


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
