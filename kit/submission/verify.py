"""The scores of a submission, each proved by a round trip of labelled rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kit.errors import KitError
from kit.evaluation.evaluate import fit_postprocessing, steps_to_fit
from kit.evaluation.oof_with_labels import LabeledPredictions, load_labeled_held_out
from kit.postprocess.nested_cv import FittedPostprocessing
from kit.postprocess.steps import Postprocessing
from kit.storage.workspace import Workspace
from kit.submission.inputs import SubmissionInputs
from kit.submission.round_trip import final_for_format, round_trip


@dataclass(frozen=True)
class SubmissionScores:
    """The scores of a submission.

    Attributes:
        cv: On the OOF rows; None for a blend of members from different folds, which has no honest score.
        sd: Standard deviation of the folds' scores; None where a fold has no score.
        mirror: ``cv`` again, of the OOF rows written and read back; None where the format keeps less than
            the metric needs.
        lost: The score lost by rounding to the format's decimals.
        held_out: Held-out set -> its score, written and read back.
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


def verify(
    inputs: SubmissionInputs, workspace: Workspace, shown: str
) -> tuple[Postprocessing, SubmissionScores]:
    """Return the postprocessing that is learned for a submission, and its scores after a round trip.

    Args:
        shown: The submission, for messages.

    Raises:
        KitError: Rows or the score differ once written and read back.
    """
    scored, has_score = inputs.labelled(workspace)
    outcome = fit_postprocessing(scored, steps_to_fit(inputs.run, inputs.config) if has_score else [])
    predictions = final_for_format(inputs.form, outcome.nested, outcome.postprocessing, scored.oof)
    cv = scored.metric(scored.targets, outcome.nested.probs, scored.task, predictions.decided)
    trip = round_trip(scored, predictions, inputs.form, cv, shown)
    return outcome.postprocessing, SubmissionScores(
        metric=scored.metric.name,
        higher_is_better=scored.metric.higher_is_better,
        cv=cv if has_score else None,
        sd=_fold_sd(scored, outcome) if has_score else None,
        mirror=trip.score if has_score else None,
        lost=trip.lost,
        held_out=_held_out_scores(inputs, workspace, scored, outcome.postprocessing, shown),
    )


def _held_out_scores(
    inputs: SubmissionInputs,
    workspace: Workspace,
    like: LabeledPredictions,
    postprocessing: Postprocessing,
    shown: str,
) -> dict[str, float | None]:
    """Return the scores of the held-out sets; None where there is none (`kit evaluate` says why)."""
    scores: dict[str, float | None] = {}
    for name in inputs.run.held_out_sets() if inputs.pool is None else []:
        try:
            rows = load_labeled_held_out(inputs.run, name, workspace, like)
            decided = postprocessing.apply(rows.oof.probs, rows.task)
            predictions = final_for_format(inputs.form, decided, postprocessing, rows.oof)
            score = rows.metric(rows.targets, predictions.probs, rows.task, predictions.decided)
        except KitError:
            scores[name] = None
            continue
        scores[name] = round_trip(rows, predictions, inputs.form, score, f"{shown}, held out {name}").score
    return scores


def _fold_sd(scored: LabeledPredictions, outcome: FittedPostprocessing) -> float | None:
    """Return the standard deviation of the folds' scores; None where a fold has no score."""
    nested = outcome.nested
    try:
        folds = [
            scored.metric(scored.targets[k], nested.probs[k], scored.task, nested.decided[k])
            for k in scored.validated
        ]
    except KitError:
        return None
    return float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
