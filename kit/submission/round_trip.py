"""The round-trip check: OOF predictions, written as a submission and read back, must score the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kit.errors import KitError, counted_of, first_few
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.postprocess.postprocessing import Postprocessing
from kit.predictions import FinalPredictions, Predictions
from kit.submission_format.reader import read_back
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.writer import text_of
from kit.tasks import tasks

SCORE_TOLERANCE = 1e-9  # for summation in another order; of scores above 1, relative
RULE = "A submission must contain exactly what the model predicts"


@dataclass(frozen=True)
class RoundTrip:
    """The score of predictions that were written and read back.

    Attributes:
        score: The metric; None if it cannot be computed from the format.
        lost: The score lost by rounding to the format's decimals; positive is worse.
    """

    score: float | None
    lost: float = 0.0


def in_format_order(
    predictions: FinalPredictions, rows: Predictions, form: SubmissionFormat
) -> FinalPredictions:
    """Return predictions in the order of the format's images and classes, matched by name.

    Args:
        predictions: In the order of ``rows``.

    Raises:
        KitError: The images or classes are not those of the format.
    """
    rows.aligned_to(form.images, form.classes, rows.origin.experiment)  # raises if they differ
    at = pd.Index(rows.ids).get_indexer(pd.Index(form.images))
    columns = pd.Index(rows.classes).get_indexer(pd.Index(form.classes))
    probs, decided = predictions.probs[at][:, columns], predictions.decided[at]
    if decided.ndim == 2:
        return FinalPredictions(probs, decided[:, columns])
    return FinalPredictions(probs, np.argsort(columns)[decided])


def final_for_format(
    form: SubmissionFormat, predictions: FinalPredictions, postprocessing: Postprocessing, rows: Predictions
) -> FinalPredictions:
    """Return predictions as the format represents them, in the same order.

    In a numeric format, labels that postprocessing chose become 0 and 1. In a format with a fallback class,
    images without a class get it.

    Args:
        rows: The predictions before postprocessing.
    """
    if form.kind.numeric and postprocessing.chooses_labels:
        task = tasks.get(rows.origin.task)
        one_hot = task.one_hot(predictions.decided, len(rows.classes)).astype(np.float32)
        return replace(predictions, probs=one_hot)
    return form.kind.with_fallback(predictions, form, rows.classes)


def round_trip(
    labeled: LabeledPredictions, predictions: FinalPredictions, form: SubmissionFormat, cv: float, where: str
) -> RoundTrip:
    """Write labeled rows as a submission, read them back, and return their score.

    Rows are joined with labels by id, classes by name.

    Args:
        labeled: OOF or held-out predictions with labels.
        predictions: The postprocessed predictions of the same rows.
        cv: The score to reproduce.

    Raises:
        KitError: The rows or the score differ; the message names the rows.
    """
    form = form.with_images(tuple(sorted(labeled.oof.ids)))
    wanted = in_format_order(predictions, labeled.oof, form)
    read = read_back(text_of(wanted, form), form, labeled.task)
    changed = form.kind.changed(wanted, read, form)
    if changed.any():
        raise _rows_differ(changed, form, where)
    if not form.kind.keeps(labeled.metric, form):
        return RoundTrip(None)
    decided = read.decided if form.kind.holds_labels else None
    score = labeled.metric(_truth(labeled, form), read.probs, labeled.task, decided)
    lost = cv - score if labeled.metric.higher_is_better else score - cv
    differs = abs(lost) > SCORE_TOLERANCE * max(1.0, abs(cv))
    if differs and form.decimals is None:
        raise _score_differs(cv, score, labeled.metric.name, where)
    return RoundTrip(score, lost if differs else 0.0)


def _truth(labeled: LabeledPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return the targets in the order of the format's images and classes."""
    rows = pd.Index(labeled.oof.ids).get_indexer(pd.Index(form.images))
    columns = pd.Index(labeled.oof.classes).get_indexer(pd.Index(form.classes))
    if labeled.task.exclusive and not labeled.task.soft:
        return np.asarray(np.argsort(columns)[labeled.targets[rows]])
    return np.asarray(labeled.targets[rows][:, columns])


def _rows_differ(changed: np.ndarray, form: SubmissionFormat, where: str) -> KitError:
    names = [form.images[row] for row in np.flatnonzero(changed)[:5]]
    return KitError(
        where,
        f"{counted_of(changed.sum(), len(changed), 'training row', 'differs', 'differ')} once written "
        "and read back "
        f"({first_few(names)})",
        RULE,
        "Nothing was written. Compare `submission` in the config with the sample file; if they agree, this "
        "is a bug in kit.",
        code="round_trip_rows",
    )


def _score_differs(cv: float, score: float, metric: str, where: str) -> KitError:
    return KitError(
        where,
        f"the OOF predictions score {metric} {cv:.6f}, but {score:.6f} once written and read back",
        RULE,
        "Nothing was written. No row differs, so the format lacks information that the metric needs: compare "
        "`submission.kind` and `decide` with the rules.",
        code="round_trip_score",
    )
