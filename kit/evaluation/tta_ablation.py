"""What each view of test-time augmentation adds and costs, on OOF: a view is kept because it helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.config import Component, Config
from kit.config.load import load_config
from kit.errors import KitError
from kit.evaluation.oof_with_labels import Scored, scored
from kit.inference.fold_models import ViewPredictions
from kit.inference.predict import predict_by_view
from kit.metrics import Scorer
from kit.metrics.bootstrap import bootstrap_scores, interval, num_draws_for
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.engine.models.build import Classifier

IDENTITY = "identity"
USUAL = (IDENTITY, "hflip", "vflip", "rot180", "transpose", "five_crop", "multi_scale")


Views = tuple[int, ...]  # candidates by their number
PLAIN: Views = (0,)  # identity is the first candidate
NESTED: Views = ()  # stands for the answers that no single set gave


@dataclass(frozen=True)
class Gain:
    """How much better one score is than another: positive is better, whichever way the metric goes.

    Attributes:
        low: Of the 95 % paired bootstrap interval.
        high: Likewise.
    """

    value: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether the interval includes 0, or there is none."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class ViewWorth:
    """What one view is worth.

    Attributes:
        images: How many images it shows the model.
        score: Of the view alone.
        alone: Of the view alone, beside identity.
        added: Of both merged, beside identity.
        seconds: Per 1,000 images, beside reading them: making the view and asking the model.
    """

    view: str
    images: int
    score: float
    alone: Gain
    added: Gain
    seconds: float


@dataclass(frozen=True)
class SetWorth:
    """What a set of views is worth, merged.

    Attributes:
        gain: Beside identity.
        to_best: Beside the best set; 0 or less.
        seconds: As in ``ViewWorth``; work that its views could share is counted in each.
    """

    views: tuple[str, ...]
    score: float
    gain: Gain
    to_best: Gain
    seconds: float


@dataclass(frozen=True)
class NestedWorth:
    """What choosing the best set is worth on rows that had no part in the choice.

    Attributes:
        gain: Beside identity.
        chosen: The set that was chosen when each part of the rows was left out.
    """

    score: float
    gain: Gain
    chosen: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TtaReport:
    """What views are worth on the out-of-fold rows of an experiment.

    Attributes:
        reading: Seconds per 1,000 images for reading them, once, whatever the views.
        path: Identity, then the set with the view that helps most, and so on, until all are in it.
        configured: The views of the config.
        best: The set with the best score. It was chosen on the rows that score it: ``nested`` is honest.
        cheapest: The quickest set whose difference to the best is noise.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    merge: str
    rows: int
    reading: float
    views: tuple[ViewWorth, ...]
    path: tuple[SetWorth, ...]
    configured: SetWorth
    best: SetWorth
    cheapest: SetWorth
    nested: NestedWorth

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def tta_report(
    run: RunFolder,
    workspace: Workspace,
    candidates: Sequence[Component] | None = None,
    progress: Progress = SILENT,
) -> TtaReport:
    """Return what each view adds and costs on the rows that the models were validated on.

    Sets are grown greedily from identity; answers are merged as ``predict.merge`` says, and scored without
    learned decisions.

    Args:
        candidates: Views to measure; None: the config's and the usual ones that suit the model.

    Raises:
        KitError: A fold is not trained yet, a view does not exist, or the metric cannot be computed.
    """
    if not run.config.exists():
        raise KitError(
            run.label,
            "is a blend",
            "Views are measured on an experiment",
            "Name a member of it.",
            code="is_blend",
        )
    from kit.engine.tta.views import ModelInput, view_images_of

    config = load_config(run.config)
    model = _untrained(config)
    given = _usual_views(model, progress) if candidates is None else candidates
    measured = _distinct([Component(name=IDENTITY), *config.predict.tta, *given])
    by_view = predict_by_view(run, workspace, measured, progress)
    found = scored(by_view[0].oof, config, workspace)
    progress.stage("measure", f"{len(measured)} views on {len(found.targets)} rows")
    counts = [len(view_images_of(view, ModelInput.of(model))) for view in measured]
    sets = _Sets([each.oof.probs for each in by_view], counts, config.predict.merge, found)
    return _report(run.label, config, [view.label for view in measured], by_view, sets)


def _untrained(config: Config) -> Classifier:
    from kit.engine.models.build import build_model

    plain = config.model.model_copy(update={"pretrained": False, "weights": None})
    return build_model(plain, config.image, num_classes=2)[0]


def _usual_views(model: Classifier, progress: Progress) -> list[Component]:
    """Return the usual views, without those with an image size that the model does not accept."""
    from kit.engine.tta.views import check_sizes

    fitting = []
    for view in (Component(name=name) for name in USUAL):
        try:
            check_sizes([view], model)
            fitting.append(view)
        except KitError as error:
            progress.note(f"{view.name} is left out: {error.problem}")
    return fitting


def _distinct(views: Sequence[Component]) -> list[Component]:
    return list({view.label: view for view in views}.values())


class _Sets:
    """Sets of candidates, each merged and scored once; the first candidate is identity.

    Args:
        probs: Of each candidate, (N, C), as its own images are merged.
        counts: How many images each candidate stands for.
    """

    def __init__(self, probs: Sequence[np.ndarray], counts: Sequence[int], merge: str, found: Scored) -> None:
        self.probs = np.stack(probs)
        self.counts = np.array(counts, dtype=np.float32)
        self.merge = merge
        self.found = found
        self.sign = 1.0 if found.metric.higher_is_better else -1.0
        self.parts = np.unique(found.parts)
        kept = [found.parts != part for part in self.parts]
        self._rows = np.stack([np.ones(len(found.parts), dtype=bool), *kept]).astype(np.float64)
        self._scores: dict[Views, np.ndarray] = {}

    def merged(self, views: Views) -> np.ndarray:
        """Return the probabilities (N, C) of a set."""
        import torch

        from kit.engine.tta.merge import merges

        chosen = list(views)
        merge = merges.get(self.merge, "predict.merge")
        probs, counts = torch.from_numpy(self.probs[chosen]), torch.from_numpy(self.counts[chosen])
        result: np.ndarray = merge(probs, counts, self.found.task.exclusive).numpy()
        return result if len(views) > 1 else self.probs[views[0]]

    def scorer_of(self, probs: np.ndarray) -> Scorer:
        """Return what scores probabilities (N, C) on drawn rows."""
        return self.found.metric.scorer(self.found.targets, probs, self.found.task)

    def values(self, views: Views) -> np.ndarray:
        """Return how good a set is, more is better: on all rows, then without each part of them, (1 + P,)."""
        if views not in self._scores:
            scores = self.sign * self.scorer_of(self.merged(views))(self._rows)
            self._scores[views] = np.where(np.isnan(scores), -np.inf, scores)
        return self._scores[views]

    def path(self, where: int = 0) -> list[Views]:
        """Return identity, then the set with the view that helps most, until all views are in it.

        Args:
            where: What is looked at, as ``values`` numbers it: 0 is all rows.
        """
        path: list[Views] = [PLAIN]
        left = list(range(1, len(self.probs)))
        while left:
            grown = [tuple(sorted((*path[-1], view))) for view in left]
            best = int(np.argmax([self.values(views)[where] for views in grown]))
            path.append(grown[best])
            del left[best]
        return path

    def best(self, where: int = 0) -> Views:
        """Return the best set of the path; of equal ones the smallest."""
        return max(self.path(where), key=lambda views: float(self.values(views)[where]))

    def nested(self) -> tuple[np.ndarray, list[Views]]:
        """Return probabilities (N, C), each part's by the set that is best without it, and those sets."""
        chosen = [self.best(1 + number) for number in range(len(self.parts))]
        probs = np.empty_like(self.probs[0])
        for part, views in zip(self.parts, chosen, strict=True):
            rows = self.found.parts == part
            probs[rows] = self.merged(views)[rows]
        return probs, chosen


class _Worths:
    """What views and sets of them are worth: scores and paired differences on the same drawn rows.

    Args:
        labels: Of each candidate.
        seconds: Of each candidate, per 1,000 images.
        compared: The sets that are looked at.
        nested: Probabilities (N, C) that no single set gave.
    """

    def __init__(
        self,
        labels: Sequence[str],
        seconds: Sequence[float],
        sets: _Sets,
        compared: Sequence[Views],
        nested: np.ndarray,
    ) -> None:
        self.labels, self.seconds, self.sets = labels, seconds, sets
        scorers = {views: sets.scorer_of(sets.merged(views)) for views in compared}
        scorers[NESTED] = sets.scorer_of(nested)
        num_rows = len(nested)
        draws = num_draws_for(sets.found.metric, *nested.shape)
        drawn = bootstrap_scores(list(scorers.values()), num_rows, draws=draws, units=sets.found.units)
        self.scores = {views: float(scorer(np.ones((1, num_rows)))[0]) for views, scorer in scorers.items()}
        self.drawn = dict(zip(scorers, drawn, strict=True))

    def gain(self, views: Views, beside: Views = PLAIN) -> Gain:
        """Return how much better one set is than another."""
        sign = self.sets.sign
        span = interval(sign * (self.drawn[views] - self.drawn[beside]))
        return Gain(sign * (self.scores[views] - self.scores[beside]), span.low, span.high)

    def of_view(self, view: int) -> ViewWorth:
        """Return what one candidate is worth."""
        return ViewWorth(
            view=self.labels[view],
            images=int(self.sets.counts[view]),
            score=self.scores[(view,)],
            alone=self.gain((view,)),
            added=self.gain(_with_identity(view)),
            seconds=self.seconds[view],
        )

    def of_set(self, views: Views, best: Views) -> SetWorth:
        """Return what a set is worth, beside identity and beside the best one."""
        return SetWorth(
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
    experiment: str, config: Config, labels: Sequence[str], by_view: Sequence[ViewPredictions], sets: _Sets
) -> TtaReport:
    everyone, path, best = range(len(labels)), sets.path(), sets.best()
    configured = tuple(sorted({labels.index(view.label) for view in config.predict.tta}))
    considered = list(dict.fromkeys([*path, *map(_with_identity, everyone), configured]))
    nested, chosen = sets.nested()
    seconds = [1000 * each.predict_seconds for each in by_view]
    worths = _Worths(labels, seconds, sets, [*considered, *((view,) for view in everyone)], nested)
    as_good = [worth for views in considered if (worth := worths.of_set(views, best)).to_best.is_noise]
    metric = sets.found.metric
    return TtaReport(
        experiment=experiment,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        merge=config.predict.merge,
        rows=len(nested),
        reading=1000 * by_view[0].read_seconds,
        views=tuple(map(worths.of_view, everyone)),
        path=tuple(worths.of_set(views, best) for views in path),
        configured=worths.of_set(configured, best),
        best=worths.of_set(best, best),
        cheapest=min(as_good, key=lambda worth: worth.seconds),
        nested=NestedWorth(worths.scores[NESTED], worths.gain(NESTED), tuple(map(worths.names, chosen))),
    )
