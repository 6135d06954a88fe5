"""Score the submission of ``kit auto`` honestly: on rows that neither the search nor the choice has used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kit.auto.corrected import Corrected, corrected_score
from kit.auto.session import SEARCHED_FOLD, Session
from kit.config import Component
from kit.errors import KitError
from kit.evaluation.evaluate import fit_postprocessing, steps_to_fit
from kit.evaluation.oof_with_labels import LabeledPredictions, config_of, load_labeled_oof
from kit.metrics.metric import Scorer


def score_of_choice(session: Session) -> Corrected | None:
    """Return the corrected score of the best experiment or blend; None if the rows left cannot be scored.

    The trials were compared on one fold, so its rows are left out if trials were made and other folds exist.
    """
    labeled = []
    for each in session.ranked(session.journal.scored):
        run = session.run_folder(each.name)
        rows = load_labeled_oof(run, session.workspace)
        labeled.append((rows, steps_to_fit(run, config_of(run))))
    first = labeled[0][0]
    kept = np.ones(len(first.targets), dtype=bool)
    if session.journal.trials and len(first.validated) > 1:
        kept = ~first.validated[SEARCHED_FOLD]
    try:
        scorers = [_scorer(rows, steps, kept) for rows, steps in labeled]
    except KitError:
        return None
    units = None if first.units is None else first.units[kept]
    higher = session.data.competition.metric.higher_is_better
    return corrected_score(scorers, int(kept.sum()), higher, session.config.seed, units)


def _scorer(labeled: LabeledPredictions, steps: Sequence[Component], kept: np.ndarray) -> Scorer:
    """Return the metric on some rows, of predictions postprocessed by steps fitted on other folds."""
    nested = fit_postprocessing(labeled, steps).nested
    targets = labeled.targets[kept]
    metric = replace(labeled.metric, scored=None).for_rows(targets, len(labeled.oof.classes), labeled.task)
    decided = None if nested.decided is None else nested.decided[kept]
    return metric.scorer(targets, nested.probs[kept], labeled.task, decided)
