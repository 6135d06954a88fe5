"""The scores of a submission, each verified by a round trip of labeled rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kit.errors import KitError
from kit.evaluation.evaluate import fit_postprocessing, steps_to_fit
from kit.evaluation.oof_with_labels import LabeledPredictions, load_labeled_held_out
from kit.postprocess.nested_cv import FittedPostprocessing
from kit.postprocess.postprocessing import Postprocessing
from kit.storage.workspace import Workspace
from kit.submission.inputs import SubmissionInputs
from kit.submission.round_trip import final_for_format, round_trip


@dataclass(frozen=True)
class SubmissionScores:
    """The scores of a submission.

    Attributes:
        cv: The score on the OOF rows; None for a blend of members from different folds, where it is biased.
        sd: The standard deviation of the fold scores; None if a fold has no score.
        mirror: The score of the OOF rows after the round trip; None if the metric cannot be computed from the
            format.
        lost: The score lost by rounding to the format's decimals.
        held_out: Held-out set -> its score after the round trip.
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
    inputs: SubmissionInputs, workspace: Workspace, where: str
) -> tuple[Postprocessing, SubmissionScores]:
    """Return the postprocessing fitted for a submission, and the verified scores.

    Args:
        where: The submission, for messages.

    Raises:
        KitError: Rows or the score differ after the round trip.
    """
    labeled, has_score = inputs.labeled_oof(workspace)
    fitted = fit_postprocessing(labeled, steps_to_fit(inputs.run, inputs.config) if has_score else [])
    predictions = final_for_format(inputs.form, fitted.nested, fitted.postprocessing, labeled.oof)
    cv = labeled.metric(labeled.targets, fitted.nested.probs, labeled.task, predictions.decided)
    trip = round_trip(labeled, predictions, inputs.form, cv, where)
    return fitted.postprocessing, SubmissionScores(
        metric=labeled.metric.name,
        higher_is_better=labeled.metric.higher_is_better,
        cv=cv if has_score else None,
        sd=_fold_sd(labeled, fitted) if has_score else None,
        mirror=trip.score if has_score else None,
        lost=trip.lost,
        held_out=_held_out_scores(inputs, workspace, labeled, fitted.postprocessing, where),
    )


def _held_out_scores(
    inputs: SubmissionInputs,
    workspace: Workspace,
    like: LabeledPredictions,
    postprocessing: Postprocessing,
    where: str,
) -> dict[str, float | None]:
    """Return the scores of the held-out sets; None if a set has none (`kit evaluate` gives the reason)."""
    scores: dict[str, float | None] = {}
    for name in inputs.run.held_out_sets() if inputs.pool is None else []:
        try:
            rows = load_labeled_held_out(inputs.run, name, workspace, like).of_classes(inputs.form.classes)
            final = postprocessing.apply(rows.oof.probs, rows.task)
            predictions = final_for_format(inputs.form, final, postprocessing, rows.oof)
            score = rows.metric(rows.targets, predictions.probs, rows.task, predictions.decided)
        except KitError:
            scores[name] = None
            continue
        scores[name] = round_trip(rows, predictions, inputs.form, score, f"{where}, held out {name}").score
    return scores


def _fold_sd(labeled: LabeledPredictions, fitted: FittedPostprocessing) -> float | None:
    """Return the standard deviation of the fold scores; None if a fold has no score."""
    nested = fitted.nested
    try:
        folds = [
            labeled.metric(labeled.targets[k], nested.probs[k], labeled.task, nested.decided[k])
            for k in labeled.validated
        ]
    except KitError:
        return None
    return float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
