"""Measure on OOF rows how much each view of test-time augmentation improves the score, and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.config import Component, Config
from kit.config.load import load_stored_config
from kit.errors import KitError, counted
from kit.evaluation.oof_with_labels import LabeledPredictions, label_oof
from kit.inference.experiment_models import ViewPredictions
from kit.inference.predict import predict_by_view
from kit.metrics import Scorer
from kit.metrics.bootstrap import Interval, bootstrap_scores, interval, num_draws_for, plain_dict
from kit.runtime.deadline import Deadline
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.engine.models.build import Classifier
    from kit.training.data import TrainingData

IDENTITY = "identity"
DEFAULT_VIEWS = [
    Component(name=name)
    for name in (IDENTITY, "hflip", "vflip", "rot180", "transpose", "five_crop", "multi_scale")
]


Views = tuple[int, ...]  # indices of candidates
PLAIN: Views = (0,)  # identity is the first candidate
NESTED: Views = ()  # the nested predictions, which come from several sets


@dataclass(frozen=True)
class Gain:
    """The improvement of one score over another; positive is better, also if lower scores are better.

    Attributes:
        interval: The paired 95 % bootstrap interval.
    """

    value: float
    interval: Interval

    @property
    def is_noise(self) -> bool:
        """Whether the interval includes 0, or there is none."""
        return not (self.interval.is_above_zero or self.interval.is_below_zero)


@dataclass(frozen=True)
class ViewScore:
    """The score and cost of one view.

    Attributes:
        images: The number of images per sample that the model predicts.
        score: The score of the view alone.
        alone: The gain of the view alone over identity.
        added: The gain of identity and the view, merged, over identity.
        seconds: The time per 1,000 samples to create the view and predict, without reading the images.
    """

    view: str
    images: int
    score: float
    alone: Gain
    added: Gain
    seconds: float


@dataclass(frozen=True)
class ViewSetScore:
    """The score and cost of a set of views, merged.

    Attributes:
        gain: The gain over identity.
        to_best: The gain over the best set; 0 or negative.
        seconds: The sum of ``ViewScore.seconds`` over the views.
    """

    views: tuple[str, ...]
    score: float
    gain: Gain
    to_best: Gain
    seconds: float


@dataclass(frozen=True)
class NestedScore:
    """The score of choosing the best set, on rows that the choice did not use.

    Attributes:
        gain: The gain over identity.
        chosen: For each part of the rows, the best set on the other parts.
    """

    score: float
    gain: Gain
    chosen: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TtaReport(Displayed):
    """Scores and costs of views on the OOF rows of an experiment.

    Attributes:
        reading: Seconds to read 1,000 images, once for all views.
        path: Forward selection: identity, then each larger set with the view that improves the score most.
        configured: The views of the config.
        best: The set with the best score, chosen on the same rows; ``nested`` is the unbiased score.
        cheapest: The fastest set whose difference from the best is noise.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    merge: str
    rows: int
    reading: float
    views: tuple[ViewScore, ...]
    path: tuple[ViewSetScore, ...]
    configured: ViewSetScore
    best: ViewSetScore
    cheapest: ViewSetScore
    nested: NestedScore

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self, dict_factory=plain_dict)


def tta_report(
    run: RunFolder,
    workspace: Workspace,
    candidates: Sequence[Component] | None = None,
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
    data: TrainingData | None = None,
) -> TtaReport:
    """Return the scores and costs of views on the rows that the models were validated on.

    Sets of views are grown by forward selection from identity. Predictions are merged by ``predict.merge``
    and scored without postprocessing.

    Args:
        candidates: Views to measure beside the config's; None: the default ones that suit the model.
        data: The training data, if the caller has prepared it already.

    Raises:
        Interrupted: The deadline has passed.
        KitError: A fold is not trained, a view does not exist, or the metric cannot be computed.
    """
    if not run.config.exists():
        raise KitError(
            run.label,
            "is a blend",
            "Views are measured on one experiment",
            "Name a member of the blend.",
            code="is_blend",
        )
    from kit.engine.tta.views import ModelInput, view_images_of

    config = load_stored_config(run.config)
    model = _untrained(config)
    given = _default_views(model, progress) if candidates is None else candidates
    measured = _distinct([Component(name=IDENTITY), *config.predict.tta, *given])
    by_view = predict_by_view(run, workspace, measured, progress, deadline, data)
    labeled = label_oof(by_view[0].oof, config, workspace)
    progress.stage("measure", f"{counted(len(measured), 'view')} on {counted(len(labeled.targets), 'row')}")
    counts = [len(view_images_of(view, ModelInput.of(model))) for view in measured]
    sets = _ViewSets([each.oof.probs for each in by_view], counts, config.predict.merge, labeled)
    return _report(run.label, config, [view.label for view in measured], by_view, sets)


def _untrained(config: Config) -> Classifier:
    from kit.engine.models.build import build_model

    plain = config.model.model_copy(update={"pretrained": False, "weights": None})
    return build_model(plain, config.image, num_classes=2)[0]


def _default_views(model: Classifier, progress: Progress) -> list[Component]:
    """Return the default views whose image size the model accepts."""
    from kit.engine.tta.views import check_sizes

    suitable = []
    for view in DEFAULT_VIEWS:
        try:
            check_sizes([view], model)
            suitable.append(view)
        except KitError as error:
            progress.note(f"view {view.name} is skipped: {error.problem}")
    return suitable


def _distinct(views: Sequence[Component]) -> list[Component]:
    return list({view.label: view for view in views}.values())


class _ViewSets:
    """Merges and scores sets of candidates, each set once; the first candidate is identity.

    Args:
        probs: For each candidate, its merged probabilities (N, C).
        counts: The number of images per sample of each candidate.
    """

    def __init__(
        self, probs: Sequence[np.ndarray], counts: Sequence[int], merge: str, labeled: LabeledPredictions
    ) -> None:
        self.probs = np.stack(probs)
        self.counts = np.array(counts, dtype=np.float32)
        self.merge = merge
        self.labeled = labeled
        self.sign = 1.0 if labeled.metric.higher_is_better else -1.0
        self.parts = np.unique(labeled.parts)
        kept = [labeled.parts != part for part in self.parts]
        self._rows = np.stack([np.ones(len(labeled.parts), dtype=bool), *kept]).astype(np.float64)
        self._scores: dict[Views, np.ndarray] = {}

    def merged(self, views: Views) -> np.ndarray:
        """Return the probabilities (N, C) of a set."""
        import torch

        from kit.engine.tta.merge import merges

        chosen = list(views)
        merge = merges.get(self.merge, "predict.merge")
        probs, counts = torch.from_numpy(self.probs[chosen]), torch.from_numpy(self.counts[chosen])
        result: np.ndarray = merge(probs, counts, self.labeled.task.exclusive).numpy()
        return result if len(views) > 1 else self.probs[views[0]]

    def scorer_of(self, probs: np.ndarray) -> Scorer:
        """Return the scorer of probabilities (N, C), for weighted rows."""
        return self.labeled.metric.scorer(self.labeled.targets, probs, self.labeled.task)

    def values(self, views: Views) -> np.ndarray:
        """Return the values of a set, higher is better, (1 + P,): on all rows, then without each part."""
        if views not in self._scores:
            scores = self.sign * self.scorer_of(self.merged(views))(self._rows)
            self._scores[views] = np.where(np.isnan(scores), -np.inf, scores)
        return self._scores[views]

    def path(self, where: int = 0) -> list[Views]:
        """Return the sets of a forward selection, from identity to all views.

        Args:
            where: The index in ``values`` to maximize: 0 for all rows, p + 1 without part p.
        """
        path: list[Views] = [PLAIN]
        remaining = list(range(1, len(self.probs)))
        while remaining:
            larger = [tuple(sorted((*path[-1], view))) for view in remaining]
            best = int(np.argmax([self.values(views)[where] for views in larger]))
            path.append(larger[best])
            del remaining[best]
        return path

    def best(self, where: int = 0) -> Views:
        """Return the best set of the path; among ties, the smallest."""
        return max(self.path(where), key=lambda views: float(self.values(views)[where]))

    def nested(self) -> tuple[np.ndarray, list[Views]]:
        """Return probabilities (N, C), and for each part the set that predicts it: the best on the others."""
        chosen = [self.best(1 + number) for number in range(len(self.parts))]
        probs = np.empty_like(self.probs[0])
        for part, views in zip(self.parts, chosen, strict=True):
            rows = self.labeled.parts == part
            probs[rows] = self.merged(views)[rows]
        return probs, chosen


class _Comparison:
    """Scores of views and sets, and paired bootstrap differences.

    Args:
        labels: The label of each candidate.
        seconds: The time of each candidate per 1,000 samples.
        compared: The sets to compare.
        nested: The nested probabilities (N, C).
    """

    def __init__(
        self,
        labels: Sequence[str],
        seconds: Sequence[float],
        sets: _ViewSets,
        compared: Sequence[Views],
        nested: np.ndarray,
    ) -> None:
        self.labels, self.seconds, self.sets = labels, seconds, sets
        scorers = {views: sets.scorer_of(sets.merged(views)) for views in compared}
        scorers[NESTED] = sets.scorer_of(nested)
        num_rows = len(nested)
        draws = num_draws_for(sets.labeled.metric, *nested.shape)
        drawn = bootstrap_scores(list(scorers.values()), num_rows, draws=draws, units=sets.labeled.units)
        self.scores = {views: float(scorer(np.ones((1, num_rows)))[0]) for views, scorer in scorers.items()}
        self.drawn = dict(zip(scorers, drawn, strict=True))

    def gain(self, views: Views, beside: Views = PLAIN) -> Gain:
        """Return the gain of one set over another."""
        sign = self.sets.sign
        drawn_gains = sign * (self.drawn[views] - self.drawn[beside])
        return Gain(sign * (self.scores[views] - self.scores[beside]), interval(drawn_gains))

    def of_view(self, view: int) -> ViewScore:
        """Return the scores of one candidate."""
        return ViewScore(
            view=self.labels[view],
            images=int(self.sets.counts[view]),
            score=self.scores[(view,)],
            alone=self.gain((view,)),
            added=self.gain(_with_identity(view)),
            seconds=self.seconds[view],
        )

    def of_set(self, views: Views, best: Views) -> ViewSetScore:
        """Return the score of a set, and its gains over identity and over the best set."""
        return ViewSetScore(
            views=self.names(views),
            score=self.scores[views],
            gain=self.gain(views),
            to_best=self.gain(views, best),
            seconds=sum(self.seconds[view] for view in views),
        )

    def names(self, views: Views) -> tuple[str, ...]:
        """Return the labels of a set's views."""
        return tuple(self.labels[view] for view in views)


def _with_identity(view: int) -> Views:
    return tuple(sorted({*PLAIN, view}))


def _report(
    experiment: str,
    config: Config,
    labels: Sequence[str],
    by_view: Sequence[ViewPredictions],
    sets: _ViewSets,
) -> TtaReport:
    all_views, path, best = range(len(labels)), sets.path(), sets.best()
    configured = tuple(sorted({labels.index(view.label) for view in config.predict.tta}))
    considered = list(dict.fromkeys([*path, *map(_with_identity, all_views), configured]))
    nested, chosen = sets.nested()
    seconds = [1000 * each.predict_seconds for each in by_view]
    comparison = _Comparison(labels, seconds, sets, [*considered, *((view,) for view in all_views)], nested)
    compared = [comparison.of_set(views, best) for views in considered]
    as_good = [each for each in compared if each.to_best.is_noise]
    metric = sets.labeled.metric
    return TtaReport(
        experiment=experiment,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        merge=config.predict.merge,
        rows=len(nested),
        reading=1000 * by_view[0].read_seconds,
        views=tuple(map(comparison.of_view, all_views)),
        path=tuple(comparison.of_set(views, best) for views in path),
        configured=comparison.of_set(configured, best),
        best=comparison.of_set(best, best),
        cheapest=min(as_good, key=lambda each: each.seconds),
        nested=NestedScore(
            comparison.scores[NESTED], comparison.gain(NESTED), tuple(map(comparison.names, chosen))
        ),
    )
