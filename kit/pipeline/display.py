"""What each verb's result shows: the tables and lines of the command line, also as HTML for notebooks.

An entry is one function with the type of a result; ``kit.auto`` and other rooms add their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rich.table import Table

from kit.errors import counted
from kit.evaluation.compare import Comparison
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.tta_ablation import TtaReport
from kit.explain.explained import Explanation, summary
from kit.pipeline.kaggle import KaggleSubmission
from kit.pipeline.labels import CorrectResult
from kit.pipeline.models import NewPredictions, PredictResult, TrainResult
from kit.pipeline.prepare import FoldsResult, InitResult, InspectResult
from kit.pipeline.results import BlendResult, CheckResult, LeaderboardResult
from kit.pipeline.run import RunResult
from kit.probe.probe import Probes
from kit.report.blends import blend_tables
from kit.report.comparisons import comparison_tables
from kit.report.corrections import correction_lines
from kit.report.evaluations import evaluation_tables
from kit.report.leaderboard import leaderboard_tables
from kit.report.notebook import Parts, html_of_parts
from kit.report.probes import probe_table
from kit.report.problems import problems_tables
from kit.report.submissions import submission_lines
from kit.report.tables import audit_tables, balance_table, dry_run_tables, findings_table
from kit.report.views import tta_tables
from kit.runtime.displayed import html_of
from kit.submission.submit import Submitted
from kit.training.dry_run import DryRun

R = TypeVar("R")
Shows = Callable[[R], Parts]


def shows(kind: type[R]) -> Callable[[Shows[R]], Shows[R]]:
    """Register a function that returns the tables and lines of a type of results."""

    def register(parts_of: Shows[R]) -> Shows[R]:
        html_of.register(kind)(lambda result: html_of_parts(parts_of(result)))
        return parts_of

    return register


@shows(InitResult)
def _init(result: InitResult) -> Parts:
    not_used = ["Not used:", *result.unused] if result.unused else []
    parts: list[Table | str] = [
        *result.unpacked,
        findings_table(result.findings),
        *not_used,
        f"{result.config}",
    ]
    if result.to_edit is not None:
        parts.append(f"kit run will refuse this config. Edit it first: {result.to_edit}")
    return parts


@shows(InspectResult)
def _inspect(result: InspectResult) -> Parts:
    return [*audit_tables(result.audit, 0), f"Page with images: {result.page}"]


@shows(CorrectResult)
def _correct(result: CorrectResult) -> Parts:
    return correction_lines(result.correction, str(result.file))


@shows(FoldsResult)
def _folds(result: FoldsResult) -> Parts:
    return [*(balance_table(balance) for balance in result.balances), f"{result.path}"]


@shows(DryRun)
def _dry_run(result: DryRun) -> Parts:
    return dry_run_tables(result)


@shows(TrainResult)
def _train(result: TrainResult) -> Parts:
    scores = ", ".join(f"{k}: {score:.4f}" for k, score in result.scores.items())
    trained = f"{len(result.scores)} of {counted(result.num_folds, 'fold')} trained"
    return [f"{result.run.label}: {trained}, {result.metric} {scores}"]


@shows(PredictResult)
def _predict(result: PredictResult) -> Parts:
    return evaluation_tables(result.evaluation)


@shows(NewPredictions)
def _new_predictions(result: NewPredictions) -> Parts:
    return [f"{result.file} written: {counted(result.num_images, 'image')}"]


@shows(Evaluation)
def _evaluation(result: Evaluation) -> Parts:
    return evaluation_tables(result)


@shows(Comparison)
def _comparison(result: Comparison) -> Parts:
    return comparison_tables(result)


@shows(Explanation)
def _explanation(result: Explanation) -> Parts:
    return [summary(result, str(result.folder))]


@shows(TtaReport)
def _tta(result: TtaReport) -> Parts:
    return tta_tables(result)


@shows(Probes)
def _probes(result: Probes) -> Parts:
    return [probe_table(result)]


@shows(RunResult)
def _run(result: RunResult) -> Parts:
    submitted = [] if result.submitted is None else _submitted(result.submitted)
    return [*evaluation_tables(result.evaluation), *submitted]


@shows(BlendResult)
def _blend(result: BlendResult) -> Parts:
    return blend_tables(result.blended, result.evaluation)


@shows(Submitted)
def _submitted(result: Submitted) -> Parts:
    return submission_lines(result, str(result.file.path))


@shows(KaggleSubmission)
def _kaggle_submission(result: KaggleSubmission) -> Parts:
    return [result.text(str(result.file.path))]


@shows(CheckResult)
def _check(result: CheckResult) -> Parts:
    verdict = "no problem found" if not result.problems else counted(len(result.problems), "problem")
    return [*problems_tables(result.problems), f"{counted(result.num_rows, 'row')} expected; {verdict}"]


@shows(LeaderboardResult)
def _leaderboard(result: LeaderboardResult) -> Parts:
    if not result.entries:
        return ["No run has a score yet."]
    return leaderboard_tables(result.entries, result.correlations, result.selections)
