"""Score parts of the out-of-fold rows: each fold, images of similar size, and groups such as patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kit.errors import KitError
from kit.evaluation.label_errors import losses
from kit.evaluation.oof_with_labels import GROUP, LabeledPredictions
from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.tasks import Task

SIZE_RANGES = 4  # with equally many images each
MIN_IMAGES = 10  # of a group; the score of fewer says little
MOST_GROUPS = 1000  # that are compared, the largest ones
SHOWN_GROUPS = 10  # those with the highest loss
BOX = ["xmin", "ymin", "xmax", "ymax"]


@dataclass(frozen=True)
class Slice:
    """A part of the rows, and how well it is predicted.

    Attributes:
        by: What its images have in common: ``shorter side`` or ``group``.
        loss: The mean of ``losses`` over its images; unlike the score, it compares parts that have other
            classes.
        score: None if the metric cannot be computed on these rows, such as ROC AUC of one class.
    """

    by: str
    name: str
    images: int
    loss: float
    score: float | None


def score_or_reason(
    metric: Metric, targets: np.ndarray, probs: np.ndarray, task: Task, decided: np.ndarray
) -> tuple[float | None, str]:
    """Return the score and an empty reason, or None and the reason."""
    try:
        return metric(targets, probs, task, decided), ""
    except KitError as error:
        return None, error.problem


def score_rows(
    labeled: LabeledPredictions, predictions: FinalPredictions, rows: np.ndarray
) -> tuple[float | None, str]:
    """Return the metric of some rows, given as mask or numbers; see ``score_or_reason``."""
    targets, probs, decided = labeled.targets[rows], predictions.probs[rows], predictions.decided[rows]
    return score_or_reason(labeled.metric, targets, probs, labeled.task, decided)


def fold_scores(
    labeled: LabeledPredictions, predictions: FinalPredictions
) -> tuple[list[float | None], dict[str, str]]:
    """Return the metric of every fold, and the reason for each that cannot be computed."""
    scored = [score_rows(labeled, predictions, rows) for rows in labeled.validated]
    why = {f"fold {k}": reason for k, (_, reason) in enumerate(scored) if reason}
    return [score for score, _ in scored], why


def slice_scores(
    labeled: LabeledPredictions, predictions: FinalPredictions, train: pd.DataFrame, scan: pd.DataFrame
) -> list[Slice]:
    """Return the scores by image size, smallest first, and of the groups with the highest loss.

    Args:
        train: The training samples of the competition.
        scan: As ``scan_images`` returns it.
    """
    samples = train.set_index("id").reindex(list(labeled.oof.ids))
    loss = losses(labeled.targets, predictions.probs, labeled.task)

    def slice_of(by: str, name: str, rows: np.ndarray) -> Slice:
        score, _ = score_rows(labeled, predictions, rows)
        return Slice(by, name, len(rows), float(loss[rows].mean()), score)

    sizes = [slice_of("shorter side", *each) for each in _size_ranges(_shorter_sides(samples, scan))]
    found = _group_rows(samples[GROUP]) if GROUP in samples else ()
    worst = sorted(found, key=lambda each: -loss[each[1]].mean())[:SHOWN_GROUPS]
    return [*sizes, *(slice_of(GROUP, *each) for each in worst)]


def _shorter_sides(samples: pd.DataFrame, scan: pd.DataFrame) -> pd.Series:
    """Return the shorter side of each image or crop in pixels; NaN if it is unknown."""
    if set(BOX) <= set(samples.columns):
        sides = {"width": samples["xmax"] - samples["xmin"], "height": samples["ymax"] - samples["ymin"]}
        return pd.DataFrame(sides).min(axis=1)
    if not len(scan):
        return pd.Series(np.nan, index=samples.index)
    side = scan.set_index("path")[["width", "height"]].min(axis=1)
    return samples["path"].map(side.where(side > 0))


def _size_ranges(sides: pd.Series) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the rows of each range of sizes; nothing if all images have about one size."""
    known = sides.dropna()
    if known.nunique() < 2:
        return
    ends = known.quantile(np.linspace(0, 1, SIZE_RANGES + 1)[1:], interpolation="lower").unique()
    of_row = np.searchsorted(ends, sides.to_numpy(dtype=np.float64))  # NaN: beyond the last range
    if len(ends) < 2:
        return
    for number, end in enumerate(ends):
        low = known[known > ends[number - 1]].min() if number else known.min()
        name = f"{low:.0f} px" if low == end else f"{low:.0f} to {end:.0f} px"
        yield name, np.flatnonzero(of_row == number)


def _group_rows(groups: pd.Series) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the rows of each of the largest groups."""
    names = groups.astype(str).where(groups.notna() & (groups.astype(str) != "")).reset_index(drop=True)
    sizes = names.value_counts()
    for name in sizes[sizes >= MIN_IMAGES].index[:MOST_GROUPS]:
        yield name, np.flatnonzero(names == name)
