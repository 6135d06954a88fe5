"""Select two submissions for the final ranking, by CV and not by leaderboard score.

The public part of the test images is small, often a tenth of the training images, so the best of many
submissions is best there by chance. CV uses more images, and no model was trained on its validation images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.leaderboard.entries import Entry, best_first
from kit.storage.run_artifacts import read_postprocessing
from kit.storage.workspace import RunFolder, Workspace

MAX_CORRELATION = 0.7  # of errors; above, a second submission adds little
MAX_CANDIDATES = 10  # compared with the first; each takes the time to read its predictions and the folds


@dataclass(frozen=True)
class Pick:
    """One of the two selected submissions.

    Attributes:
        correlation: Correlation of its errors with those of the first; None for the first, or if unknown.
        why: The reason for the selection, as text.
    """

    experiment: str
    submission: str
    cv: float
    correlation: float | None
    why: str


@dataclass(frozen=True)
class Selection:
    """The two submissions to select in a competition."""

    competition: str
    metric: str
    first: Pick
    second: Pick

    @property
    def summary(self) -> str:
        """The selection and its reasons in one line of text."""
        first, second = (f"{pick.experiment} ({pick.why})" for pick in (self.first, self.second))
        return f"select: {first} and {second}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"told": self.summary}


def select_submissions(
    entries: Sequence[Entry], workspace: Workspace, problems: list[KitError]
) -> list[Selection]:
    """Return the two submissions to select, for every competition with at least two submitted runs.

    The first has the best CV (nested for a blend). The second is the one whose errors correlate least with
    the first's, among those whose 95 % interval reaches the first's CV: if the first is unlucky on the
    private part, the second is least likely to be. If none is that close, it is the one with the next best
    CV. Stale runs are not candidates. Errors of runs that cannot be compared are appended to ``problems``.
    """
    candidates = [
        e
        for e in best_first(entries)
        if e.kind != "submission" and e.submission and e.cv is not None and not e.stale
    ]
    groups = groupby(candidates, key=lambda e: (e.competition, e.metric))
    competitions = [list(group) for _, group in groups]
    return [_select(rows, workspace, problems) for rows in competitions if len(rows) > 1]


def _select(rows: Sequence[Entry], workspace: Workspace, problems: list[KitError]) -> Selection:
    first, others = rows[0], rows[1:]
    close = [row for row in others if _within_noise(row, first)][:MAX_CANDIDATES]
    related = _error_correlations(first, close, workspace, problems) if close else {}
    if related:
        label = min(related, key=lambda candidate: related[candidate])
        second = next(row for row in close if row.label == label)
        how = (
            "different errors"
            if related[label] < MAX_CORRELATION
            else "the least similar errors of the equally good"
        )
        why = f"{_score(second)}; {how}: correlation {related[label]:.2f}"
    else:
        second = others[0]
        reason = "the errors could not be compared" if close else "no other is within noise of the best"
        why = f"{_score(second)}, the next best CV; {reason}"
    return Selection(
        first.competition,
        first.metric,
        _pick(first, None, f"best CV {_score(first)}"),
        _pick(second, related.get(second.label), why),
    )


def _pick(row: Entry, correlation: float | None, why: str) -> Pick:
    return Pick(row.label, str(row.submission), float(row.cv or 0.0), correlation, why)


def _score(row: Entry) -> str:
    return f"{row.cv:.4f}"


def _within_noise(row: Entry, first: Entry) -> bool:
    """Return whether a row may be as good as the first: its 95 % interval reaches the first's CV."""
    reached = row.high if row.higher_is_better else row.low
    if reached is None or first.cv is None:
        return False
    return reached >= first.cv if row.higher_is_better else reached <= first.cv


def _error_correlations(
    first: Entry, others: Sequence[Entry], workspace: Workspace, problems: list[KitError]
) -> dict[str, float]:
    """Return label -> the correlation of its errors with the first's, where they can be compared."""
    found = {}
    wrong: dict[str, pd.Series] = {}
    for row in (first, *others):
        try:
            wrong[row.label] = oof_errors(workspace.run(row.competition, row.name), workspace)
        except KitError as error:
            problems.append(error)
            if row is first:
                return {}
    for row in others:
        if row.label in wrong:
            related = error_correlation(wrong[first.label], wrong[row.label])
            if related is not None:
                found[row.label] = related
    return found


def oof_errors(run: RunFolder, workspace: Workspace) -> pd.Series:
    """Return which OOF rows a run predicts wrongly, by id; with several labels, all must be right.

    For numbers: predicted minus true.

    The postprocessing is the submission's. Nested postprocessing, as in `kit evaluate`, takes longer and
    hardly changes the errors.

    Raises:
        KitError: The run has no predictions, or the folds have changed since.
    """
    from kit.evaluation.oof_with_labels import load_labeled_oof
    from kit.postprocess.postprocessing import Postprocessing

    found = load_labeled_oof(run, workspace)
    steps = read_postprocessing(run)[0]["steps"] if run.decision.exists() else []
    decided = Postprocessing.from_list(steps).apply(found.oof.probs, found.task).decided
    if found.task.numeric:
        return pd.Series((decided - found.targets)[:, 0], index=pd.Index(found.oof.ids))
    wrong = decided != found.task.majority(found.targets)
    return pd.Series(wrong if wrong.ndim == 1 else wrong.any(axis=1), index=pd.Index(found.oof.ids))


def error_correlation(a: pd.Series, b: pd.Series) -> float | None:
    """Return the correlation (of wrong labels: phi) of two runs' errors on the ids that both have.

    Returns:
        1 if they err on the same images, 0 if they err together as often as by chance; None if one of them
        is always right or always wrong.
    """
    both = pd.concat([a, b], axis=1, join="inner").to_numpy(dtype=np.float64)
    if len(both) == 0 or (both == both[0]).all(axis=0).any():
        return None
    return float(np.corrcoef(both, rowvar=False)[0, 1])
