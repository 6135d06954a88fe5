"""The scores of a run: of what would be handed in, on rows that nothing in it was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from kit.competition.duplicates import exact_groups, labels_by_path
from kit.competition.samples import Competition, load_competition
from kit.competition.scan import load_scan
from kit.config import Component, Config
from kit.errors import KitError
from kit.evaluation.classes import ClassScore, Confusion, class_scores, confusion_table, most_confused
from kit.evaluation.label_errors import HardImage, Suspect, hardest, suspects
from kit.evaluation.oof_with_labels import Scored, beside_truth, config_of, held_out
from kit.metrics import Metric, get_metric, metrics
from kit.metrics.bootstrap import score_interval
from kit.postprocess.fit import check_decisions
from kit.postprocess.nested_cv import Outcome, Worth, decide, stored
from kit.postprocess.steps import Decision
from kit.predictions import FinalPredictions
from kit.storage.files import read_json, write_json, write_text
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import Task

HARDEST = 50
FEW_SUSPECTS = 20  # in metrics.json; all of them are in suspects.csv


@dataclass(frozen=True)
class OtherScore:
    """Another metric on the same answers; ``why`` says why there is no ``score``."""

    metric: str
    higher_is_better: bool
    score: float | None
    why: str


@dataclass(frozen=True)
class Evaluation:
    """The scores of an experiment or blend.

    Attributes:
        cv: The metric over all out-of-fold rows, of what is handed in: with learned decisions, each fold's
            as learned on the others.
        low: Of the 95 % bootstrap interval of ``cv``.
        high: Likewise.
        plain: The metric without any learned decision.
        folds: The metric of each fold; None where it cannot be computed.
        not_computed: Why not, by fold or held-out set.
        nested: For a blend, the score that nothing was fitted on, which is ``cv``; None for an experiment.
        held_out: Name of a labelled set that nothing was trained on -> the metric there.
        decisions: What learned decisions were tried, and what each is worth.
        others: Every other metric that suits the task.
        hardest: The images with the highest loss.
        suspects: The labels that are likeliest wrong, and how many there are.
    """

    experiment: str
    metric: str
    higher_is_better: bool
    cv: float
    low: float
    high: float
    plain: float
    folds: list[float | None]
    not_computed: dict[str, str]
    nested: float | None
    held_out: dict[str, float | None]
    rows: int
    tta: list[str]
    decisions: list[Worth]
    others: list[OtherScore]
    classes: list[ClassScore]
    confused: list[Confusion]
    hardest: list[HardImage]
    suspects: list[Suspect]
    num_suspects: int

    @property
    def mean(self) -> float:
        """The mean of the folds' scores, those that there are."""
        known = [score for score in self.folds if score is not None]
        return float(np.mean(known)) if known else float("nan")

    @property
    def sd(self) -> float:
        """The standard deviation of the folds' scores (n - 1); 0 for a single one."""
        known = [score for score in self.folds if score is not None]
        return float(np.std(known, ddof=1)) if len(known) > 1 else 0.0

    @property
    def spread(self) -> str:
        """The folds' mean and standard deviation, for people."""
        known = any(score is not None for score in self.folds)
        return f"{self.mean:.4f} ± {self.sd:.4f}" if known else "no fold can be scored"

    def held_out_lines(self) -> list[str]:
        """Return one line per held-out set: its score, or why it has none."""
        return [
            f"held out {name}: {self.not_computed[name] if score is None else f'{self.metric} {score:.4f}'}"
            for name, score in self.held_out.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation under the keys that ``--json`` promises; ``nested`` only for blends."""
        values = asdict(self) | {"mean": self.mean, "sd": self.sd}
        if self.nested is None:
            del values["nested"]
        return values


def evaluate(
    run: RunFolder,
    workspace: Workspace,
    asked: Sequence[Component] | None = None,
    competition: Competition | None = None,
) -> Evaluation:
    """Return the scores of a run's OOF predictions; write them, its decision and its tables.

    Args:
        asked: Decisions to learn; None: those learned last, or else what the config says.

    Raises:
        KitError: There are no predictions, the folds have changed, or a decision does not suit the task.
    """
    config, found = config_of(run), beside_truth(run, workspace)
    steps = list(asked) if asked is not None else asked_before(run, config)
    outcome = learn_decision(found, steps)
    confusions = confusion_table(found.targets, outcome.nested.decided, found.oof.classes, found.task)
    doubtful = _images_to_look_at(found, competition or _competition(config, workspace), workspace)
    result = _evaluation(run, workspace, found, outcome, confusions, doubtful)
    write_json(run.decision, stored(outcome, steps, found.oof.classes))
    write_text(run.confusion, confusions.to_csv(lineterminator="\n"))
    write_text(run.suspects, _table(doubtful.labels, Suspect))
    write_json(run.metrics, result.as_dict())
    return result


def learn_decision(found: Scored, asked: Sequence[Component]) -> Outcome:
    """Return the decisions that are asked for, learned on OOF and proved on folds left out."""
    check_decisions(list(asked), found.task, len(found.oof.classes))
    return decide(asked, found.rows, found.parts, found.units)


def asked_before(run: RunFolder, config: Config) -> list[Component]:
    """Return the decisions that were asked for last, or else those of the config."""
    if not run.decision.exists():
        return list(config.decide)
    return [Component.model_validate(each) for each in read_json(run.decision)["asked"]]


def _competition(config: Config, workspace: Workspace) -> Competition | None:
    """Return the competition, for the paths of its images; None where its folder is not at hand."""
    try:
        return load_competition(config.competition, workspace)
    except KitError:
        return None


@dataclass(frozen=True)
class _Doubtful:
    """Images to look at: by their loss, and by their labels."""

    images: list[HardImage]
    labels: list[Suspect]


def _images_to_look_at(found: Scored, competition: Competition | None, workspace: Workspace) -> _Doubtful:
    """Return the images to look at, under their paths where the competition is at hand."""
    oof, task, paths, twins = found.oof, found.task, {}, {}
    if competition is not None:
        paths = dict(zip(competition.train["id"], competition.train["path"], strict=True))
        twins = _twins(competition, workspace)
    return _Doubtful(
        hardest(oof.ids, paths, found.targets, oof.probs, oof.classes, task, HARDEST),
        suspects(oof.ids, paths, twins, found.targets, oof.probs, oof.classes, task),
    )


def _evaluation(
    run: RunFolder,
    workspace: Workspace,
    found: Scored,
    outcome: Outcome,
    confusions: pd.DataFrame,
    doubtful: _Doubtful,
) -> Evaluation:
    oof, task, metric, targets = found.oof, found.task, found.metric, found.targets
    answers = outcome.nested
    cv = metric(targets, answers.probs, task, answers.decided)
    scorer = metric.scorer(targets, answers.probs, task, answers.decided)
    span = score_interval(metric, scorer, answers.probs.shape, found.units)
    folds, not_computed = _fold_scores(found, answers)
    held_out, not_there = _held_out_scores(run, workspace, found, outcome.decision)
    return Evaluation(
        experiment=run.label,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        cv=cv,
        low=span.low,
        high=span.high,
        plain=found.score(),
        folds=folds,
        not_computed=not_computed | not_there,
        nested=cv if run.blend.exists() else None,
        held_out=held_out,
        rows=len(targets),
        tta=list(oof.origin.tta),
        decisions=outcome.tried,
        others=_other_scores(found, answers),
        classes=class_scores(targets, answers.probs, answers.decided, oof.classes, task),
        confused=most_confused(confusions) if task.exclusive else [],
        hardest=doubtful.images,
        suspects=doubtful.labels[:FEW_SUSPECTS],
        num_suspects=len(doubtful.labels),
    )


def _fold_scores(found: Scored, answers: FinalPredictions) -> tuple[list[float | None], dict[str, str]]:
    scores: list[float | None] = []
    why = {}
    for k, rows in enumerate(found.validated):
        score, reason = _try(
            found.metric, found.targets[rows], answers.probs[rows], found.task, answers.decided[rows]
        )
        scores.append(score)
        if reason:
            why[f"fold {k}"] = reason
    return scores, why


def _held_out_scores(
    run: RunFolder, workspace: Workspace, found: Scored, decision: Decision
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the metric on every held-out set that the run predicted, and why it is not known."""
    scores: dict[str, float | None] = {}
    why = {}
    for name in run.held_out_sets():
        scores[name] = None
        try:
            rows = held_out(run, name, workspace, found)
        except KitError as error:
            why[name] = error.problem
            continue
        answers = decision.answers(rows.oof.probs, rows.task)
        scores[name], reason = _try(rows.metric, rows.targets, answers.probs, rows.task, answers.decided)
        if reason:
            why[name] = reason
    return scores, why


def _other_scores(found: Scored, answers: FinalPredictions) -> list[OtherScore]:
    """Return every metric that suits the task, with its default options, apart from the competition's.

    F-beta is left out: which beta is for whoever asks for it.
    """
    others = []
    for name in metrics:
        kind = metrics.get(name)
        if name == found.metric.kind or "beta" in kind.options or not kind.suits(found.task):
            continue
        try:
            metric = get_metric(name, found.task)
            score = metric(found.targets, answers.probs, found.task, answers.decided)
            others.append(OtherScore(metric.name, metric.higher_is_better, score, ""))
        except KitError as error:
            others.append(OtherScore(name, kind.higher_is_better, None, error.problem))
    return others


def _try(
    metric: Metric, targets: np.ndarray, probs: np.ndarray, task: Task, decided: np.ndarray
) -> tuple[float | None, str]:
    """Return a score, or None and why there is none."""
    try:
        return metric(targets, probs, task, decided), ""
    except KitError as error:
        return None, error.problem


def _twins(competition: Competition, workspace: Workspace) -> dict[str, str]:
    """Return id -> the path of a byte-identical image that carries another label."""
    scan = load_scan(workspace.image_table(competition.name))
    samples = competition.labeled
    labels = labels_by_path(samples, competition.label_columns)
    twin_of = {}
    for group in exact_groups(scan):
        paths = [path for path in group if path in labels]
        first_of = {frozenset(labels[path]): path for path in reversed(paths)}
        for path in paths if len(first_of) > 1 else []:
            own = frozenset(labels[path])
            twin_of[path] = next(other for label, other in first_of.items() if label != own)
    found = samples[samples["path"].isin(twin_of)]
    return {i: twin_of[path] for i, path in zip(found["id"], found["path"], strict=True)}


def _table(rows: Sequence[Any], kind: type[Any]) -> str:
    columns = list(kind.__dataclass_fields__)
    text: str = pd.DataFrame([asdict(row) for row in rows], columns=columns).to_csv(
        index=False, lineterminator="\n"
    )
    return text
