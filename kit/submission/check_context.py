"""What a submission is compared with: OOF predictions, the run's own answers, the submission before."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kit.competition.samples import Competition
from kit.config import Config
from kit.errors import KitError
from kit.postprocess.steps import Decision
from kit.predictions import FinalPredictions, load_predictions
from kit.storage.files import read_json
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.format import stale_ids
from kit.submission.pooling import pooled, pooled_names, task_of_rows
from kit.submission.round_trip import in_form
from kit.submission_check.context import Surroundings
from kit.submission_format.spec import SubmissionFormat


def surroundings_of(
    config: Config,
    competition: Competition,
    form: SubmissionFormat,
    workspace: Workspace,
    file: Path,
    run: RunFolder | None = None,
    max_bytes: int | None = None,
) -> Surroundings:
    """Return what a submission is compared with.

    Args:
        file: The submission itself, which is not compared with itself.
        run: What it is made from; None for a file from anywhere, which is compared row by row with what the
            config's own run says of the test images, or else the run with the best score.
    """
    pool = config.submission.pool if config.submission else None
    unlisted, vanished = stale_ids(form, pooled_names(pool, competition.test["id"]))
    source = run or _run_to_compare(config, workspace)
    decided = _decided(source, config, competition, form)
    labels = decided is None and competition.task.exclusive and pool is None
    return Surroundings(
        decided=competition.class_counts().to_numpy(np.float64) if labels else decided,
        decided_of="the training labels" if labels else f"the out-of-fold predictions of {source.label}",
        predicted=not labels,
        answers=_own_answers(source, config, competition, form) if run is None else None,
        answers_of=source.label,
        previous=_previous(file, competition.name, workspace),
        unlisted=unlisted,
        vanished=vanished,
        max_bytes=max_bytes,
    )


def _run_to_compare(config: Config, workspace: Workspace) -> RunFolder:
    """Return the config's own run, if it has predictions; else the competition's run with the best score."""
    own = workspace.run(config.competition.name, config.name)
    others = [r for r in workspace.runs() if r.competition == config.competition.name and r.metrics.exists()]
    if own.test.exists() or not others:
        return own
    scores = {each: read_json(each.metrics) for each in others}
    best = max if next(iter(scores.values())).get("higher_is_better", True) else min
    return best(scores, key=lambda each: scores[each].get("cv", 0.0))


def _decided(
    run: RunFolder, config: Config, competition: Competition, form: SubmissionFormat
) -> np.ndarray | None:
    """Return how many OOF rows are decided as each class, in the order of the form's classes."""
    answers = _answers(run, run.oof, config, competition, form)
    if answers is None or answers.decided.ndim == 2:
        return None
    return np.bincount(answers.decided, minlength=len(form.classes)).astype(np.float64)


def _own_answers(
    run: RunFolder, config: Config, competition: Competition, form: SubmissionFormat
) -> FinalPredictions | None:
    """Return what a run says of the test images, if it says it of all of them."""
    return _answers(run, run.test, config, competition, form)


def _answers(
    run: RunFolder, path: Path, config: Config, competition: Competition, form: SubmissionFormat
) -> FinalPredictions | None:
    """Return the answers in a predictions file, decided as was learned last; None if they do not fit."""
    pool = config.submission.pool if config.submission else None
    task = task_of_rows(pool, competition)
    try:
        given = load_predictions(path)
        rows = given if pool is None else pooled(given, pool, task)
        steps = Decision.from_list(read_json(run.decision)["steps"]) if run.decision.exists() else Decision()
        answers = steps.answers(rows.probs, task)
        if path == run.test:
            return in_form(answers, rows, form)
        columns = [rows.classes.index(name) for name in form.classes]
    except (KitError, ValueError, KeyError):
        return None  # there are none, or they are of other images or classes: nothing to compare with
    decided = answers.decided if answers.decided.ndim == 2 else np.argsort(columns)[answers.decided]
    return FinalPredictions(answers.probs[:, columns], decided)


def _previous(file: Path, competition: str, workspace: Workspace) -> Path | None:
    """Return the submission of a competition that was written last, apart from this one."""
    others = [
        each
        for each in workspace.submissions()
        if each.competition == competition and each.path.absolute() != file.absolute()
    ]
    return max(others, key=_written).path if others else None


def _written(file: SubmissionFile) -> float:
    return file.path.stat().st_mtime
