"""The mirror proof: training is handed in as if it were the test, read back, and must score the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kit.errors import KitError, first_few
from kit.evaluation.oof_with_labels import Scored
from kit.postprocess.steps import Decision
from kit.predictions import FinalPredictions, Predictions
from kit.submission_format.kinds import kinds, mirrored
from kit.submission_format.reader import read_back
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.writer import text_of
from kit.tasks import tasks

SCORE_TOLERANCE = 1e-9  # the same numbers, summed in another order


@dataclass(frozen=True)
class Mirror:
    """What a leaderboard would say if training were the test.

    Attributes:
        score: The metric of what was read back; None where the form keeps less than the metric needs.
        lost: How much of the CV score the decimals of the form take; positive is worse.
    """

    score: float | None
    lost: float = 0.0


def in_form(answers: FinalPredictions, predictions: Predictions, form: SubmissionFormat) -> FinalPredictions:
    """Return answers in the order of the form's images and classes: they meet by name.

    Args:
        answers: In the order of the predictions.

    Raises:
        KitError: The predictions lack an image or a class of the form, or have one too many.
    """
    where = predictions.origin.experiment
    predictions.aligned_to(form.images, form.classes, where)  # refuses others
    rows = pd.Index(predictions.ids).get_indexer(pd.Index(form.images))
    columns = pd.Index(predictions.classes).get_indexer(pd.Index(form.classes))
    probs, decided = answers.probs[rows][:, columns], answers.decided[rows]
    if decided.ndim == 2:
        return FinalPredictions(probs, decided[:, columns])
    return FinalPredictions(probs, np.argsort(columns)[decided])


def held_by(
    form: SubmissionFormat, answers: FinalPredictions, decision: Decision, rows: Predictions
) -> FinalPredictions:
    """Return what a form holds of answers, in their order.

    One that takes numbers holds decisions that were learned as 0 and 1; one that names a fallback gives it to
    images without a class.

    Args:
        rows: What the answers are about.
    """
    if form.numeric and decision.decides:
        task = tasks.get(rows.origin.task)
        return replace(answers, probs=task.one_hot(answers.decided, len(rows.classes)).astype(np.float32))
    if form.kind == "labels" and form.fallback in rows.classes and answers.decided.ndim == 2:
        decided = answers.decided.copy()
        decided[decided.sum(axis=1) == 0, rows.classes.index(form.fallback)] = 1
        return replace(answers, decided=decided)
    return answers


def mirror(
    scored: Scored, answers: FinalPredictions, form: SubmissionFormat, cv: float, where: str
) -> Mirror:
    """Return the score of answers for labelled rows, once they are written and read back like a submission.

    Rows meet the truth by id, and classes by name.

    Args:
        scored: The rows, with the truth; OOF rows or those of a held-out set.
        answers: What is handed in for them, in their order.
        cv: The score that must come out.

    Raises:
        KitError: What was read back says something else; the message names the rows.
    """
    asked = mirrored(form, tuple(sorted(scored.oof.ids)))
    wanted = in_form(answers, scored.oof, asked)
    read = read_back(text_of(wanted, asked), asked, scored.task)
    changed = kinds.get(form.kind).changed(wanted, read, asked)
    if changed.any():
        raise _other_rows(changed, asked, where)
    if not kinds.get(form.kind).keeps(scored.metric, form):
        return Mirror(None)
    score = scored.metric(_truth(scored, asked), read.probs, scored.task, _decided(read, form))
    lost = cv - score if scored.metric.higher_is_better else score - cv
    if abs(lost) > SCORE_TOLERANCE and form.decimals is None:
        raise _other_score(cv, score, scored.metric.name, where)
    return Mirror(score, lost if abs(lost) > SCORE_TOLERANCE else 0.0)


def _decided(read: FinalPredictions, form: SubmissionFormat) -> np.ndarray | None:
    """Return the decisions that the file itself holds; of numbers a leaderboard decides by itself."""
    return None if form.numeric or form.kind == "top_k" else read.decided


def _truth(scored: Scored, form: SubmissionFormat) -> np.ndarray:
    """Return the targets in the order of the form's images and classes."""
    rows = pd.Index(scored.oof.ids).get_indexer(pd.Index(form.images))
    columns = pd.Index(scored.oof.classes).get_indexer(pd.Index(form.classes))
    if scored.task.exclusive:
        return np.asarray(np.argsort(columns)[scored.targets[rows]])
    return np.asarray(scored.targets[rows][:, columns])


def _other_rows(changed: np.ndarray, form: SubmissionFormat, where: str) -> KitError:
    names = [form.images[row] for row in np.flatnonzero(changed)[:5]]
    return KitError(
        where,
        f"{changed.sum()} of {len(changed)} training rows say something else once they are written and read "
        f"back ({first_few(names)})",
        "What is written must say what the model says",
        "Nothing was written. Compare `submission` in the config with the sample file; if they agree, this "
        "is a defect of kit.",
    )


def _other_score(cv: float, score: float, metric: str, where: str) -> KitError:
    return KitError(
        where,
        f"the OOF predictions score {metric} {cv:.6f}, but {score:.6f} once written and read back",
        "What is written must say what the model says",
        "Nothing was written. No row differs, so the form holds something else than the metric is about: "
        "compare `submission.kind` and `decide` with the rules.",
    )
