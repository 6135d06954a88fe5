"""Score the models of each fold alone on the images that were kept back.

A cross-validation score is that of models trained on one fold's training images, while a submission averages
the models of all folds and scores higher. To learn whether an interval covers what it promises, it is
compared with models like those that it was computed from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kit.ensemble.members import align
from kit.ensemble.new_images import combination_of, experiments_of, final_predictions
from kit.evaluation.oof_with_labels import config_of
from kit.inference.new_images import NewImages, images_in, predict_new
from kit.metrics.bootstrap import Interval, bootstrap_scores, interval
from kit.metrics.metric import Scorer
from kit.predictions import Predictions
from kit.storage.partial_predictions import read_partial_predictions
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder
from kit.tasks import tasks
from tests.benchmarks.kept_back import KeptBack


@dataclass(frozen=True)
class KeptBackScore:
    """The mean score of the single-fold models on the images that were kept back, and its 95 % interval."""

    score: float
    interval: Interval

    def is_covered_by(self, low: float, high: float) -> bool:
        """Whether the score lies between two bounds."""
        return low <= self.score <= high

    def agrees_with(self, score: float, low: float, high: float) -> bool:
        """Whether another score differs by no more than the noise of both.

        The images that were kept back are a small sample too: with a fifth of the images, the noise of their
        score is twice that of the other four fifths. Both intervals' half widths add as squares.
        """
        below = self.score < score
        own = self.interval.high - self.score if below else self.score - self.interval.low
        other = score - low if below else high - score
        return abs(self.score - score) <= float(np.hypot(own, other))


def single_fold_score(kept: KeptBack, run: RunFolder) -> KeptBackScore:
    """Return what the models of one fold reach on the images that were kept back, after postprocessing.

    Args:
        run: An experiment, or a blend of experiments, whose models of the same fold are blended.
    """
    scorers, rows = _scorers(kept, run), len(kept.truth)
    drawn = bootstrap_scores(scorers, rows, units=kept.groups).mean(axis=0)
    score = np.mean([scorer(np.ones((1, rows))) for scorer in scorers])
    return KeptBackScore(float(score), interval(drawn))


def _scorers(kept: KeptBack, run: RunFolder) -> list[Scorer]:
    """Return the scorer of each fold's models."""
    members = experiments_of(run, kept.workspace)
    predicted = [_by_fold(kept, member) for member in members]
    scorers = []
    for of_fold in zip(*predicted, strict=True):
        first, probs = align(list(of_fold), [member.label for member in members])
        if run.blend.exists():
            values, _ = read_blend(run)
            combine = combination_of(values, members, config_of(run), kept.workspace)
            task = tasks.get(first.origin.task)
            first = replace(first, probs=task.normalized(combine(probs)))
        final = final_predictions(run, first).of_classes(first.classes, tuple(kept.truth.columns))
        scorers.append(kept.scorer_of(list(first.ids), final))
    return scorers


def _by_fold(kept: KeptBack, run: RunFolder) -> list[Predictions]:
    """Return the predictions of each fold's model of an experiment."""
    folder = kept.kept_images
    images = NewImages(folder, images_in(folder), Path(run.path) / "kept-back")
    try:
        mean = predict_new(config_of(run), run, images)
        files = sorted(images.partial.glob("fold-*.npz"), key=lambda file: int(file.name.split("-")[1]))
        found = [each for each in map(read_partial_predictions, files) if each is not None]
    finally:
        images.remove_partial()
    return [replace(mean, probs=np.asarray(each.probs, dtype=np.float32)) for each in found]
