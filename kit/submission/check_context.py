"""Collect what the submission check compares a file with: predictions, class counts, earlier submissions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kit.competition.samples import Competition
from kit.config import Config
from kit.errors import KitError
from kit.postprocess.postprocessing import Postprocessing
from kit.predictions import FinalPredictions, load_oof, load_test
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import json_number
from kit.storage.run_artifacts import read_postprocessing, read_scores
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.format import stale_ids
from kit.submission.pooling import pool_rows, pool_test, submitted_ids, task_of_rows
from kit.submission.round_trip import in_format_order
from kit.submission_check.context import CheckContext
from kit.submission_format.spec import SubmissionFormat


def check_context(
    config: Config,
    competition: Competition,
    form: SubmissionFormat,
    workspace: Workspace,
    file: Path,
    run: RunFolder | None = None,
    max_bytes: int | None = None,
    progress: Progress = SILENT,
) -> CheckContext:
    """Return what a submission is compared with.

    Args:
        file: The submission itself, which is not compared with itself.
        run: The run that made it. None for a file of unknown origin: it is compared row by row with the
            test predictions of the config's own run, or else of the run with the best score.
    """
    pool = config.submission.pool if config.submission else None
    unlisted, vanished = stale_ids(form, submitted_ids(pool, competition))
    source = run or _run_to_compare(config, competition, workspace, progress)
    counts = _predicted_counts(source, config, competition, form, progress)
    from_labels = counts is None and competition.task.exclusive and pool is None
    test = None
    if run is None:
        test = _predictions_of(source, source.test, config, competition, form, progress)
    return CheckContext(
        class_counts=_class_counts(competition, form) if from_labels else counts,
        counts_source="the training labels"
        if from_labels
        else f"the out-of-fold predictions of {source.label}",
        counts_are_predictions=not from_labels,
        training_range=_training_range(competition),
        predictions=test,
        predictions_source=source.label,
        previous=_previous(file, competition.name, workspace),
        unlisted=unlisted,
        vanished=vanished,
        max_bytes=max_bytes,
    )


def _training_range(competition: Competition) -> tuple[float, float] | None:
    """Return the smallest and the largest training number of a regression; None for classes."""
    if not competition.task.numeric:
        return None
    values = competition.task.targets(competition.labeled, competition.classes)
    return float(values.min()), float(values.max())


def _run_to_compare(
    config: Config, competition: Competition, workspace: Workspace, progress: Progress
) -> RunFolder:
    """Return the config's own run if it has predictions; else the run with the best score.

    Only scores of the competition's metric are compared. A run whose scores cannot be read is skipped, with
    a warning.
    """
    own = workspace.run(config.competition.name, config.name)
    if own.test.exists():
        return own
    best, best_cv = own, None
    for run in workspace.runs():
        if run.competition != config.competition.name or not run.metrics.exists():
            continue
        try:
            cv = _cv(run, competition.metric.name)
        except KitError as error:
            progress.warn(f"{run.label} is not compared with the file: {error}")
            continue
        if cv is not None and (best_cv is None or competition.metric.better(cv, best_cv)):
            best, best_cv = run, cv
    return best


def _cv(run: RunFolder, metric: str) -> float | None:
    """Return a run's score; None if it has none, or one of another metric.

    Raises:
        KitError: The scores cannot be read.
    """
    values, _ = read_scores(run)
    try:
        return json_number(values["cv"]) if values["metric"] == metric else None
    except (KeyError, TypeError, ValueError) as error:
        raise KitError(
            run.metrics,
            f"is incomplete ({error!r})",
            "`kit evaluate` writes it",
            f"Run `kit evaluate {run.label}`.",
            code="file_damaged",
        ) from error


def _class_counts(competition: Competition, form: SubmissionFormat) -> np.ndarray:
    """Return the number of training images of each class of the format, (C,)."""
    return competition.class_counts()[list(form.classes)].to_numpy(np.float64)


def _predicted_counts(
    run: RunFolder, config: Config, competition: Competition, form: SubmissionFormat, progress: Progress
) -> np.ndarray | None:
    """Return the number of OOF rows predicted as each class, (C,), in the order of the format's classes."""
    found = _predictions_of(run, run.oof, config, competition, form, progress)
    if found is None or found.decided.ndim == 2:
        return None
    return np.bincount(found.decided, minlength=len(form.classes)).astype(np.float64)


def _predictions_of(
    run: RunFolder,
    path: Path,
    config: Config,
    competition: Competition,
    form: SubmissionFormat,
    progress: Progress,
) -> FinalPredictions | None:
    """Return the postprocessed predictions of a file; None if it is missing.

    If it is damaged, or of other images or classes than the format, a warning says so and the result is None.
    """
    if not path.exists():
        return None
    pool = config.submission.pool if config.submission else None
    task = task_of_rows(pool, competition)
    try:
        if path == run.test:
            rows = pool_test(load_test(run), pool, competition, task)
        else:
            rows = load_oof(run) if pool is None else pool_rows(load_oof(run), pool, task)
        steps = (
            Postprocessing.from_list(read_postprocessing(run)[0]["steps"])
            if run.decision.exists()
            else Postprocessing()
        )
        final = steps.apply(rows.probs, task).of_classes(rows.classes, form.classes)
        rows = rows.of_classes(form.classes, task)
        if path == run.test:
            return in_format_order(final, rows, form)
        columns = [rows.classes.index(name) for name in form.classes]
    except (KitError, ValueError, KeyError, TypeError) as error:
        reason = error if isinstance(error, KitError) else f"they do not fit the format ({error!r})"
        progress.warn(f"the file is not compared with the predictions of {run.label}: {reason}")
        return None
    decided = final.decided[:, columns] if final.decided.ndim == 2 else np.argsort(columns)[final.decided]
    return FinalPredictions(final.probs[:, columns], decided)


def _previous(file: Path, competition: str, workspace: Workspace) -> Path | None:
    """Return the competition's most recent submission other than this one."""
    others = [
        each
        for each in workspace.submissions()
        if each.competition == competition and each.path.absolute() != file.absolute()
    ]
    return max(others, key=_written).path if others else None


def _written(file: SubmissionFile) -> float:
    return file.path.stat().st_mtime
