"""What a submission is worth, and the proof of it: every labelled set is written and read back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kit.errors import KitError
from kit.evaluation.evaluate import asked_before, learn_decision
from kit.evaluation.oof_with_labels import Scored, held_out
from kit.postprocess.nested_cv import Outcome
from kit.postprocess.steps import Decision
from kit.storage.workspace import Workspace
from kit.submission.inputs import Work
from kit.submission.round_trip import held_by, mirror


@dataclass(frozen=True)
class Proof:
    """The scores of what is handed in.

    Attributes:
        cv: On the OOF rows; None for a blend of members from different folds, whose form alone is proved.
        sd: Of the folds' scores; None where one has no score.
        mirror: ``cv`` once more, of the OOF rows written and read back; None where the form keeps less than
            the metric needs.
        lost: How much of it the decimals of the form cost.
        held_out: Labelled sets that nothing was trained on -> their score, written and read back likewise.
    """

    metric: str
    higher_is_better: bool
    cv: float | None
    sd: float | None
    mirror: float | None
    lost: float
    held_out: dict[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def prove(work: Work, workspace: Workspace, shown: str) -> tuple[Decision, Proof]:
    """Return the decision that is learned for a submission, and its scores, which are proved.

    Args:
        shown: The submission, for messages.

    Raises:
        KitError: Some rows, or the score, are not the same once they are written and read back.
    """
    scored, has_score = work.labelled(workspace)
    outcome = learn_decision(scored, asked_before(work.run, work.config) if has_score else [])
    answers = held_by(work.form, outcome.nested, outcome.decision, scored.oof)
    cv = scored.metric(scored.targets, outcome.nested.probs, scored.task, answers.decided)
    proved = mirror(scored, answers, work.form, cv, shown)
    return outcome.decision, Proof(
        metric=scored.metric.name,
        higher_is_better=scored.metric.higher_is_better,
        cv=cv if has_score else None,
        sd=_spread(scored, outcome) if has_score else None,
        mirror=proved.score if has_score else None,
        lost=proved.lost,
        held_out=_held_out(work, workspace, scored, outcome.decision, shown),
    )


def _held_out(
    work: Work, workspace: Workspace, like: Scored, decision: Decision, shown: str
) -> dict[str, float | None]:
    """Return the scores of the labelled sets; None where there is none, as `kit evaluate` explains."""
    scores: dict[str, float | None] = {}
    for name in work.run.held_out_sets() if work.pool is None else []:
        try:
            rows = held_out(work.run, name, workspace, like)
            answers = held_by(work.form, decision.answers(rows.oof.probs, rows.task), decision, rows.oof)
            score = rows.metric(rows.targets, answers.probs, rows.task, answers.decided)
        except KitError:
            scores[name] = None
            continue
        scores[name] = mirror(rows, answers, work.form, score, f"{shown}, held out {name}").score
    return scores


def _spread(scored: Scored, outcome: Outcome) -> float | None:
    answers = outcome.nested
    try:
        folds = [
            scored.metric(scored.targets[k], answers.probs[k], scored.task, answers.decided[k])
            for k in scored.validated
        ]
    except KitError:
        return None
    return float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
