"""Verbs after prediction: blend, submit, bundle, resubmit, check, leaderboard, status, record, clean."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config import Component, check_name
from kit.errors import KitError
from kit.pipeline.inputs import ConfigLike, RunLike, WorkspaceLike, open_config, open_run, open_workspace
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import format_bytes

if TYPE_CHECKING:
    from kit.ensemble.blended import Blended
    from kit.evaluation.evaluate import Evaluation
    from kit.leaderboard.correlation import Correlation
    from kit.leaderboard.entries import Entry
    from kit.leaderboard.record import Recorded
    from kit.leaderboard.selection import Selection
    from kit.platforms.write_bundle import Bundle
    from kit.status.runs import RunStatus
    from kit.storage.clean import CacheUsage
    from kit.storage.workspace import SubmissionFile, Workspace
    from kit.submission.submit import Submitted
    from kit.submission_check.problem_codes import Problem
    from kit.training.data import TrainingData


LARGE_FILE = 100_000_000  # bytes; reading takes seconds


@dataclass(frozen=True)
class BlendResult(Displayed):
    """A blend of runs (by label), and its evaluation; None if its members have different folds."""

    blended: Blended
    runs: list[str]
    evaluation: Evaluation | None

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it."""
        blended, evaluation = self.blended, self.evaluation
        values = {"experiment": blended.run.label} if evaluation is None else evaluation.as_dict()
        return values | {"worth": blended.evaluation and blended.evaluation.as_dict()}


@dataclass(frozen=True)
class CheckResult(Displayed):
    """The problems of a submission file, which should have ``num_rows`` rows."""

    num_rows: int
    problems: list[Problem]


@dataclass(frozen=True)
class LeaderboardResult(Displayed):
    """Experiments, blends and submissions in order, with correlations and advice.

    Attributes:
        is_empty: Whether nothing has been scored yet, before filtering.
        correlations: Rank correlations of CV and leaderboard.
        selections: Which two submissions to select for the final.
        problems: Artifacts that could not be read.
        pages: The pages that were written, one per competition.
    """

    entries: list[Entry]
    is_empty: bool
    correlations: list[Correlation]
    selections: list[Selection]
    problems: list[KitError]
    pages: list[Path] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it."""
        pages = {"pages": [str(path) for path in self.pages]} if self.pages else {}
        return pages | {
            "entries": [entry.as_dict() for entry in self.entries],
            "correlation": [each.as_dict() for each in self.correlations],
            "select": [each.as_dict() for each in self.selections],
            "problems": [problem.as_dict() for problem in self.problems],
        }


class StatusResult(list["RunStatus"], Displayed):
    """The state of each run."""


class CleanResult(list["CacheUsage"], Displayed):
    """The caches that were removed, or would be."""


def blend(
    experiments: Sequence[RunLike],
    *,
    method: Component | str = "mean",
    name: str = "blend",
    foreign: Sequence[tuple[Path, Path | None]] = (),
    allow_fold_mismatch: bool = False,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> BlendResult:
    """Combine the predictions of several runs by id and class name, and score the blend.

    Args:
        experiments: Experiments and blends; the first determines the competition.
        foreign: CSVs with OOF and test predictions of other tools.
        allow_fold_mismatch: Blend members with different folds, without a score.
    """
    from kit.ensemble.blend_runs import blend_runs
    from kit.evaluation.oof_with_labels import config_of
    from kit.pipeline.models import evaluate
    from kit.status.current import CurrentCompetitions
    from kit.status.stale import ALL_PREDICTIONS, refuse_stale
    from kit.storage.locks import exclusive_lock

    workspace = open_workspace(workspace)
    check_name(name, "--name")
    chosen = Component(name=method) if isinstance(method, str) else method
    runs = [open_run(each, workspace) for each in experiments]
    competitions = CurrentCompetitions(workspace, progress)
    for run in runs:
        data = competitions.of(config_of(run))
        refuse_stale(run, workspace, ALL_PREDICTIONS, data, any_folds=allow_fold_mismatch)
    evaluation = None
    with ExitStack() as locks:  # over the scores, too: they must be those of the written predictions
        for first in runs[:1]:
            folder = workspace.run(first.competition, name)
            locks.enter_context(exclusive_lock(folder.blend_lock, f"the blend {folder.label}"))
        blended = blend_runs(runs, chosen, name, workspace, foreign, allow_fold_mismatch, progress)
        if blended.evaluation is not None:
            data = competitions.of(config_of(blended.run))
            evaluation = evaluate(blended.run, data=data, workspace=workspace)
    return BlendResult(blended, [run.label for run in runs], evaluation)


def submit(
    experiment: RunLike,
    *,
    data: TrainingData | None = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Submitted:
    """Write ``submissions/COMPETITION/NAME.csv`` in the sample's format, verified by a round trip.

    Args:
        data: The training data, if the caller has prepared it already.
    """
    from kit.evaluation.oof_with_labels import config_of
    from kit.status.current import current_data
    from kit.status.stale import ALL_PREDICTIONS, refuse_stale
    from kit.submission.submit import submit as write_submission

    workspace = open_workspace(workspace)
    run = open_run(experiment, workspace)
    current = data or current_data(config_of(run), workspace, progress)
    refuse_stale(run, workspace, ALL_PREDICTIONS, current)
    return write_submission(run, workspace, progress, opened=None if current is None else current.opened)


def bundle(
    experiment: RunLike,
    *,
    out: Path | str,
    platform: str | None = None,
    time_limit: str | None = None,
    push: bool = False,
    onnx: bool = False,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Bundle:
    """Write a folder that predicts a hidden test folder without network, for code competitions.

    It holds the models, configs and postprocessing of an experiment or blend, the wheels of kit and of what
    the platform lacks, and a script and a notebook that write ``submission.csv``.

    Args:
        out: The folder; an earlier bundle in it is replaced.
        platform: The platform whose notebook runs it; None: the newest of Kaggle that kit knows.
        time_limit: The time limit of a prediction there, such as ``8h30m``.
        push: Also upload it to Kaggle, as a private dataset.
        onnx: Also write the models as ONNX, for programs without kit.
    """
    from kit.evaluation.oof_with_labels import config_of
    from kit.platforms.kaggle.client import KaggleClient
    from kit.platforms.kaggle.push import push_dataset
    from kit.platforms.platform_file import DEFAULT
    from kit.platforms.write_bundle import write_bundle
    from kit.status.current import current_data
    from kit.status.stale import ALL_PREDICTIONS, refuse_stale, refuse_stale_models

    workspace = open_workspace(workspace)
    run = open_run(experiment, workspace)
    client = KaggleClient.open("kit bundle --push") if push else None  # before minutes of work
    current = current_data(config_of(run), workspace, progress)
    refuse_stale_models(run, workspace)
    refuse_stale(run, workspace, ALL_PREDICTIONS, current)
    competition = None if current is None else current.opened.loaded
    made = write_bundle(
        run, workspace, Path(out).absolute(), platform or DEFAULT, time_limit, competition, progress, onnx
    )
    if client is None:
        return made
    progress.stage("upload", f"{made.folder.name} to Kaggle")
    return replace(made, dataset=push_dataset(client, made.folder, run.label))


def resubmit(trace: Path | str, *, workspace: WorkspaceLike = None) -> tuple[SubmissionFile, bool]:
    """Write a submission again from the JSON beside it; False if the file exists already, unchanged."""
    from kit.submission.submit import submit_again

    return submit_again(Path(trace), open_workspace(workspace))


def check(
    file: Path | str,
    config: ConfigLike | None = None,
    *,
    sample: Path | str | None = None,
    max_mb: float = 1000.0,
    overrides: Sequence[str] = (),
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> CheckResult:
    """Return every problem of a submission file, judged by a config or a sample submission.

    With a config the file is also compared with the competition's predictions and earlier submissions.

    Raises:
        KitError: Neither or both of ``config`` and ``sample`` are given.
    """
    from kit.submission.format import format_for, format_of_sample
    from kit.submission_check.check import check_file
    from kit.submission_check.context import CheckContext

    if (config is None) == (sample is None):
        raise KitError(
            "kit check",
            "needs either a CONFIG or --sample",
            next="kit check FILE CONFIG",
            code="check_needs_config_or_sample",
        )
    file, max_bytes = Path(file), int(max_mb * 1e6)
    if file.is_file() and (size := file.stat().st_size) > LARGE_FILE:
        progress.note(f"reading {format_bytes(size)}")
    if config is None:
        form, context = format_of_sample(Path(str(sample))), CheckContext(max_bytes=max_bytes)
    else:
        from kit.competition.samples import load_competition
        from kit.submission.check_context import check_context

        config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
        competition = load_competition(config.competition, workspace)
        form = format_for(config.submission, competition, stale="allow")
        context = check_context(
            config, competition, form, workspace, file, max_bytes=max_bytes, progress=progress
        )
    return CheckResult(form.num_rows, check_file(file, form, context))


def leaderboard(
    *,
    competition: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    sort: str = "cv",
    advice: bool = True,
    page: bool = False,
    workspace: WorkspaceLike = None,
) -> LeaderboardResult:
    """List every experiment, blend and submission with CV and leaderboard scores.

    Args:
        competition: Only this one.
        kind: Only ``experiment``, ``blend`` or ``submission``.
        name: Only names that match this pattern, such as ``b*``.
        sort: ``cv``, ``public``, ``private``, ``date``, ``minutes`` or ``name``.
        advice: Compute correlations and selections, which reads predictions.
        page: Write ``runs/COMPETITION/leaderboard.html`` of each competition: all rows, and CV against
            leaderboard.
    """
    from kit.leaderboard.correlation import correlations
    from kit.leaderboard.entries import read_leaderboard
    from kit.leaderboard.order import entries_of, filter_entries, sort_entries
    from kit.leaderboard.selection import select_submissions

    workspace = open_workspace(workspace)
    found = read_leaderboard(workspace)
    scored = entries_of(found.entries, competition)
    problems = list(found.problems)
    result = LeaderboardResult(
        entries=sort_entries(scored, sort),
        is_empty=not found.entries,
        correlations=correlations(scored) if advice or page else [],
        selections=select_submissions(scored, workspace, problems) if advice or page else [],
        problems=problems,
    )
    pages = _leaderboard_pages(result, workspace) if page else []
    return replace(result, entries=filter_entries(result.entries, kind, name), pages=pages)


def _leaderboard_pages(result: LeaderboardResult, workspace: Workspace) -> list[Path]:
    """Write the page of each competition, with all of its rows; return their paths."""
    from kit.report.leaderboard_page import write_leaderboard_page

    paths = []
    for competition in dict.fromkeys(entry.competition for entry in result.entries):
        paths.append(workspace.page(competition, "leaderboard"))
        entries = [each for each in result.entries if each.competition == competition]
        write_leaderboard_page(paths[-1], entries, result.correlations, result.selections)
    return paths


def status(
    experiment: RunLike | None = None, *, workspace: WorkspaceLike = None, progress: Progress = SILENT
) -> StatusResult:
    """Return the state of every artifact of a run, or of all runs: up to date, stale, damaged or missing.

    Weights and predictions are read and compared with their digests.
    """
    from kit.status.runs import read_status

    workspace = open_workspace(workspace)
    runs = workspace.runs() if experiment is None else [open_run(experiment, workspace)]
    return StatusResult(read_status(runs, workspace, progress))


def record(
    file: Path | str,
    *,
    public: float | None = None,
    private: float | None = None,
    workspace: WorkspaceLike = None,
) -> Recorded:
    """Record the leaderboard scores of a submission in a file beside it; a score not given is kept."""
    from kit.leaderboard.record import record as write_scores

    return write_scores(str(file), open_workspace(workspace), public, private)


def clean(
    competition: str | None = None, *, dry_run: bool = False, workspace: WorkspaceLike = None
) -> CleanResult:
    """Remove caches of images (decoded pixels, foreground masks, features), not models or predictions.

    Args:
        competition: Only this one.
        dry_run: Return what would be removed; remove nothing.
    """
    from kit.storage.clean import clean as remove

    return CleanResult(remove(open_workspace(workspace), competition, dry_run))
