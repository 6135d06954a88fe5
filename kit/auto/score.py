"""Score the choice of the best run honestly: on rows that neither a search nor the choice has used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kit.auto.corrected import Corrected, corrected_score
from kit.errors import KitError
from kit.evaluation.nested_oof import NestedOof
from kit.metrics.metric import Scorer


def score_of_choice(
    runs: Sequence[NestedOof], seed: int, searched_fold: int | None = None
) -> Corrected | None:
    """Return the corrected score of the best of several runs; None if the rows left cannot be scored.

    Args:
        runs: Of the same folds; their rows may be in any order.
        searched_fold: A fold that the runs' settings were chosen on: its rows are left out if other folds
            exist.
    """
    first = runs[0].labeled
    kept = np.ones(len(first.targets), dtype=bool)
    if searched_fold is not None and len(first.validated) > 1:
        kept = ~first.validated[searched_fold]
    try:
        scorers = [_scorer(run, np.asarray(first.oof.ids)[kept]) for run in runs]
    except KitError:
        return None
    units = None if first.units is None else first.units[kept]
    return corrected_score(scorers, int(kept.sum()), first.metric.higher_is_better, seed, units)


def _scorer(run: NestedOof, ids: np.ndarray) -> Scorer:
    """Return the metric on the rows with these ids, in their order."""
    labeled, nested = run.labeled, run.nested
    kept = pd.Index(labeled.oof.ids).get_indexer(pd.Index(ids))
    if (kept < 0).any():
        raise KitError(labeled.oof.origin.experiment, "lacks predictions of other runs", code="ids_missing")
    targets = labeled.targets[kept]
    metric = replace(labeled.metric, scored=None).for_rows(targets, len(labeled.oof.classes), labeled.task)
    decided = None if nested.decided is None else nested.decided[kept]
    return metric.scorer(targets, nested.probs[kept], labeled.task, decided)
