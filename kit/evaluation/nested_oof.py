"""A run's out-of-fold predictions as they are scored: with labels, after postprocessing of other folds."""

from __future__ import annotations

from dataclasses import dataclass

from kit.evaluation.evaluate import fit_postprocessing, steps_to_fit
from kit.evaluation.oof_with_labels import LabeledPredictions, config_of, load_labeled_oof
from kit.predictions import FinalPredictions
from kit.storage.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class NestedOof:
    """A run's OOF predictions with labels, and after postprocessing that was fitted on other folds."""

    labeled: LabeledPredictions
    nested: FinalPredictions

    def score(self) -> float:
        """Return the metric over all rows."""
        labeled, nested = self.labeled, self.nested
        return labeled.metric(labeled.targets, nested.probs, labeled.task, nested.decided)


def nested_oof(run: RunFolder, workspace: Workspace) -> NestedOof:
    """Return a run's labeled OOF predictions with nested postprocessing."""
    labeled = load_labeled_oof(run, workspace)
    steps = steps_to_fit(run, config_of(run))
    return NestedOof(labeled, fit_postprocessing(labeled, steps).nested)
