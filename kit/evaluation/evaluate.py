"""Evaluate a run: score its OOF and held-out predictions, after postprocessing, without optimistic bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit.competition.duplicates import exact_groups, labels_by_path
from kit.competition.images.decode import DecodeOptions
from kit.competition.samples import Competition, load_competition
from kit.competition.scan import load_scan
from kit.competition.shares import tied_classes
from kit.config import Component, Config
from kit.errors import KitError, counted
from kit.evaluation.classes import ClassScore, Confusion, class_scores, confusion_table, most_confused
from kit.evaluation.curves import Curves, curves_of
from kit.evaluation.label_errors import HardImage, Suspect, hardest, loss_name, suspects
from kit.evaluation.oof_with_labels import (
    LabeledPredictions,
    config_of,
    load_labeled_held_out,
    load_labeled_oof,
)
from kit.evaluation.residuals import ResidualRange, residual_ranges, residual_table
from kit.evaluation.slices import Slice, fold_scores, score_or_reason, slice_scores
from kit.evaluation.taught import Taught, taught_by
from kit.metrics import get_metric, metrics
from kit.metrics.bootstrap import Interval, plain_dict, score_interval
from kit.postprocess.nested_cv import FittedPostprocessing, StepsEvaluation, as_json, fit_and_evaluate
from kit.postprocess.postprocessing import Postprocessing, check_steps
from kit.predictions import FinalPredictions, prediction_digests
from kit.runtime.displayed import Displayed
from kit.storage.csv_text import csv_text
from kit.storage.files import write_text
from kit.storage.run_artifacts import read_postprocessing, write_postprocessing, write_scores
from kit.storage.workspace import RunFolder, Workspace

HARDEST = 50
FEW_SUSPECTS = 20  # in metrics.json; all of them are in suspects.csv


@dataclass(frozen=True)
class OtherScore:
    """Another metric of the same predictions; ``why`` gives the reason if ``score`` is None."""

    metric: str
    higher_is_better: bool
    score: float | None
    why: str


@dataclass(frozen=True)
class Evaluation(Displayed):
    """The scores of an experiment or blend.

    Attributes:
        cv: The metric over all OOF rows. Each fold is postprocessed by steps fitted on the other folds.
        interval: The 95 % bootstrap interval of ``cv``.
        plain: The metric without postprocessing.
        folds: The metric of each fold; None if it cannot be computed.
        not_computed: The reason, by fold, held-out set, or class that the metric leaves out.
        nested: For a blend, ``cv``: no row is scored by weights fitted on it; None for an experiment.
        held_out: Held-out set -> the metric on it.
        decisions: The postprocessing steps that were evaluated.
        others: Every other metric that suits the task.
        residuals: For a regression, the errors by range of the true number; then there are no classes.
        loss: What the loss of an image in ``hardest`` is.
        hardest: The images with the highest loss.
        suspects: The labels that are most likely wrong.
        remarks: What the scores are of, if labels are distributions.
        slices: Loss and score by image size and of the groups with the highest loss; empty without the
            competition.
        taught: What the experiment learned from besides its labels; None if nothing.
        curves: ROC, precision and reliability, for the page; None for numbers and distributions.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    cv: float
    interval: Interval
    plain: float
    folds: list[float | None]
    not_computed: dict[str, str]
    nested: float | None
    held_out: dict[str, float | None]
    rows: int
    tta: list[str]
    decisions: list[StepsEvaluation]
    others: list[OtherScore]
    classes: list[ClassScore]
    confused: list[Confusion]
    residuals: list[ResidualRange]
    loss: str
    hardest: list[HardImage]
    suspects: list[Suspect]
    num_suspects: int
    remarks: list[str] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    taught: Taught | None = None
    curves: Curves | None = None

    @property
    def mean(self) -> float:
        """The mean of the known fold scores."""
        known = [score for score in self.folds if score is not None]
        return float(np.mean(known)) if known else float("nan")

    @property
    def sd(self) -> float:
        """The standard deviation of the known fold scores (ddof 1); 0 for a single one."""
        known = [score for score in self.folds if score is not None]
        return float(np.std(known, ddof=1)) if len(known) > 1 else 0.0

    @property
    def spread(self) -> str:
        """Mean and standard deviation over folds, as text."""
        known = any(score is not None for score in self.folds)
        return f"{self.mean:.4f} ± {self.sd:.4f}" if known else "no fold can be scored"

    def held_out_lines(self) -> list[str]:
        """Return one line per held-out set: its score, or the reason why there is none."""
        return [
            f"held out {name}: {self.not_computed[name] if score is None else f'{self.metric} {score:.4f}'}"
            for name, score in self.held_out.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation under the keys that ``--json`` promises; ``nested`` only for blends."""
        values = asdict(replace(self, curves=None), dict_factory=plain_dict)
        del values["curves"]
        values |= {"mean": self.mean, "sd": self.sd}
        if self.nested is None:
            del values["nested"]
        return values


def evaluate(
    run: RunFolder,
    workspace: Workspace,
    steps: Sequence[Component] | None = None,
    competition: Competition | None = None,
) -> Evaluation:
    """Return the scores of a run's OOF predictions; write them, the fitted postprocessing and the tables.

    Args:
        steps: Postprocessing steps to fit; None: those of the last evaluation, or of the config.

    Raises:
        KitError: There are no predictions, the folds have changed, or a step does not suit the task.
    """
    inputs = prediction_digests(run)  # first: if another process replaces predictions, the scores are stale
    config, labeled = config_of(run), load_labeled_oof(run, workspace)
    steps = list(steps) if steps is not None else steps_to_fit(run, config)
    fitted = fit_postprocessing(labeled, steps)
    task = labeled.task
    shown = fitted.nested.probs if task.numeric or task.soft else labeled.oof.probs
    scan = workspace.image_table(config.competition.name, DecodeOptions.of(config.image).key)
    competition = competition or _competition(config, workspace)
    review = _images_to_review(labeled, shown, competition, scan)
    errors = _errors(labeled, fitted.nested)
    evaluation = _evaluation(run, workspace, labeled, fitted, errors, review)
    evaluation = replace(evaluation, taught=taught_by(run, workspace, evaluation.cv))
    if competition is not None:
        slices = slice_scores(labeled, fitted.nested, competition.train, load_scan(scan))
        evaluation = replace(evaluation, slices=slices)
    write_postprocessing(run, as_json(fitted, steps, labeled.oof.classes), {"oof": inputs["oof"]})
    write_text(run.residuals if labeled.task.numeric else run.confusion, errors.table)
    write_text(run.suspects, _csv(review.labels, Suspect))
    write_scores(run, evaluation.as_dict(), inputs)
    return evaluation


def fit_postprocessing(labeled: LabeledPredictions, steps: Sequence[Component]) -> FittedPostprocessing:
    """Return steps fitted on OOF predictions and evaluated by nested cross-validation."""
    check_steps(list(steps), labeled.task, len(labeled.oof.classes))
    return fit_and_evaluate(steps, labeled.rows, labeled.parts, labeled.units)


def steps_to_fit(run: RunFolder, config: Config) -> list[Component]:
    """Return the postprocessing steps of the last evaluation, or else those of the config."""
    if not run.decision.exists():
        return list(config.decide)
    return [Component.model_validate(each) for each in read_postprocessing(run)[0]["asked"]]


def _competition(config: Config, workspace: Workspace) -> Competition | None:
    """Return the competition, for the paths of its images; None if its folder cannot be loaded."""
    try:
        return load_competition(config.competition, workspace)
    except KitError:
        return None


@dataclass(frozen=True)
class _ImagesToReview:
    """Images with a high loss, and labels that are likely wrong."""

    images: list[HardImage]
    labels: list[Suspect]


def _images_to_review(
    labeled: LabeledPredictions, probs: np.ndarray, competition: Competition | None, scan: Path
) -> _ImagesToReview:
    """Return the images to review; their paths are known only with the competition.

    Args:
        probs: (N, C); numbers and distributions after postprocessing, as they are scored.
    """
    oof, task, paths, twins = labeled.oof, labeled.task, {}, {}
    if competition is not None:
        paths = dict(zip(competition.train["id"], competition.train["path"], strict=True))
        twins = _contradicting_duplicates(competition, scan)
    return _ImagesToReview(
        hardest(oof.ids, paths, labeled.targets, probs, oof.classes, task, HARDEST),
        suspects(oof.ids, paths, twins, labeled.targets, probs, oof.classes, task),
    )


@dataclass(frozen=True)
class _Errors:
    """The errors by class and confusion, or for numbers by range; ``table`` is the CSV of all of them."""

    table: str
    classes: list[ClassScore] = field(default_factory=list)
    confused: list[Confusion] = field(default_factory=list)
    residuals: list[ResidualRange] = field(default_factory=list)


def _errors(labeled: LabeledPredictions, nested: FinalPredictions) -> _Errors:
    task, targets, classes = labeled.task, labeled.targets, labeled.oof.classes
    if task.numeric:
        table = residual_table(labeled.oof.ids, targets, nested.probs)
        return _Errors(csv_text(table), residuals=residual_ranges(targets, nested.probs))
    task, targets = task.hard, task.majority(targets)
    confusions = confusion_table(targets, nested.decided, classes, task)
    return _Errors(
        csv_text(confusions, index=True),
        class_scores(targets, nested.probs, nested.decided, classes, task),
        most_confused(confusions) if task.exclusive else [],
    )


def _evaluation(
    run: RunFolder,
    workspace: Workspace,
    labeled: LabeledPredictions,
    fitted: FittedPostprocessing,
    errors: _Errors,
    review: _ImagesToReview,
) -> Evaluation:
    oof, task, metric, targets = labeled.oof, labeled.task, labeled.metric, labeled.targets
    nested = fitted.nested
    cv = metric(targets, nested.probs, task, nested.decided)
    scorer = metric.scorer(targets, nested.probs, task, nested.decided)
    folds, folds_not_computed = fold_scores(labeled, nested)
    held_out, sets_not_computed = _held_out_scores(run, workspace, labeled, fitted.postprocessing)
    return Evaluation(
        experiment=run.label,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        cv=cv,
        interval=score_interval(metric, scorer, nested.probs.shape, labeled.units),
        plain=labeled.score(),
        folds=folds,
        not_computed=_classes_left_out(labeled) | folds_not_computed | sets_not_computed,
        nested=cv if run.blend.exists() else None,
        held_out=held_out,
        rows=len(targets),
        tta=list(oof.origin.tta),
        decisions=fitted.tried,
        others=_other_scores(labeled, nested),
        classes=errors.classes,
        confused=errors.confused,
        residuals=errors.residuals,
        loss=loss_name(task),
        hardest=review.images,
        suspects=review.labels[:FEW_SUSPECTS],
        num_suspects=len(review.labels),
        remarks=_remarks(labeled) if task.soft else [],
        curves=curves_of(labeled, nested, _worst_first(errors.classes)),
    )


def _worst_first(classes: Sequence[ClassScore]) -> list[str]:
    return [each.name for each in sorted(classes, key=lambda each: each.f1)]


def _remarks(labeled: LabeledPredictions) -> list[str]:
    """Return what is scored against distributions, and what against the class with the largest share."""
    soft = [name for name in metrics if metrics.get(name).soft and metrics.get(name).suits(labeled.task)]
    tied = tied_classes(labeled.targets)
    ties = f" (of equal ones the first: {counted(tied, 'image')})" if tied else ""
    return [
        f"labels are distributions: {', '.join(soft)} compare with them; the other metrics, the classes and "
        f"the confusions take the class with the largest share{ties}",
        "likely label errors are not looked for: people who disagree about an image are no error",
    ]


def _classes_left_out(labeled: LabeledPredictions) -> dict[str, str]:
    """Return the reason for each class that the metric leaves out."""
    scored = labeled.metric.scored
    left_out = [] if scored is None else [n for c, n in enumerate(labeled.oof.classes) if c not in scored]
    return {f"class {name}": "not in the score: none or all of the images have it" for name in left_out}


def _held_out_scores(
    run: RunFolder, workspace: Workspace, labeled: LabeledPredictions, postprocessing: Postprocessing
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the metric on every predicted held-out set, and the reason for each that cannot be computed."""
    scores: dict[str, float | None] = {}
    why = {}
    for name in run.held_out_sets():
        scores[name] = None
        try:
            rows = load_labeled_held_out(run, name, workspace, labeled)
        except KitError as error:
            why[name] = error.problem
            continue
        predictions = postprocessing.apply(rows.oof.probs, rows.task)
        scores[name], reason = score_or_reason(
            rows.metric, rows.targets, predictions.probs, rows.task, predictions.decided
        )
        if reason:
            why[name] = reason
    return scores, why


def _other_scores(labeled: LabeledPredictions, predictions: FinalPredictions) -> list[OtherScore]:
    """Return every other metric that suits the task, with default options; F-beta has none and is skipped."""
    others = []
    for name in metrics:
        kind = metrics.get(name)
        if name == labeled.metric.kind or "beta" in kind.options or not kind.suits(labeled.task):
            continue
        try:
            metric = get_metric(name, labeled.task)
            score = metric(labeled.targets, predictions.probs, labeled.task, predictions.decided)
            others.append(OtherScore(metric.name, metric.higher_is_better, score, ""))
        except KitError as error:
            others.append(OtherScore(name, kind.higher_is_better, None, error.problem))
    return others


def _contradicting_duplicates(competition: Competition, table: Path) -> dict[str, str]:
    """Return id -> the path of a byte-identical image that has another label."""
    scan = load_scan(table)
    samples = competition.labeled
    labels = labels_by_path(samples, competition.label_columns)
    twin_of = {}
    for group in exact_groups(scan):
        paths = [path for path in group if path in labels]
        first_of = {frozenset(labels[path]): path for path in reversed(paths)}
        for path in paths if len(first_of) > 1 else []:
            own = frozenset(labels[path])
            twin_of[path] = next(other for label, other in first_of.items() if label != own)
    having = samples[samples["path"].isin(twin_of)]
    return {i: twin_of[path] for i, path in zip(having["id"], having["path"], strict=True)}


def _csv(rows: Sequence[Any], kind: type[Any]) -> str:
    columns = list(kind.__dataclass_fields__)
    return csv_text(pd.DataFrame([asdict(row) for row in rows], columns=columns))
