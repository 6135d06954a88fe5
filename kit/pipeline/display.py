"""What each verb's result shows: the tables and lines of the command line, also as HTML for notebooks.

An entry is one function with the type of a result; ``kit.auto`` and other rooms add their own.
"""

from __future__ import annotations

from functools import singledispatch

from kit.errors import counted
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.tta_ablation import TtaReport
from kit.pipeline.models import NewPredictions, PredictResult, TrainResult
from kit.pipeline.prepare import FoldsResult, InitResult, InspectResult
from kit.pipeline.results import BlendResult, CheckResult, LeaderboardResult
from kit.pipeline.run import RunResult
from kit.probe.probe import Probes
from kit.report.blends import blend_tables
from kit.report.evaluations import evaluation_tables
from kit.report.leaderboard import leaderboard_tables
from kit.report.notebook import Parts, html_of_parts
from kit.report.probes import probe_table
from kit.report.problems import problems_tables
from kit.report.submissions import submission_lines
from kit.report.tables import audit_tables, balance_table, dry_run_tables, findings_table
from kit.report.views import tta_tables
from kit.submission.submit import Submitted
from kit.training.dry_run import DryRun


def html_of(result: object) -> str:
    """Return the tables and lines of a result as HTML."""
    return html_of_parts(parts_of(result))


@singledispatch
def parts_of(result: object) -> Parts:
    """Return the tables and lines of a result."""
    raise NotImplementedError(type(result).__name__)


@parts_of.register
def _init(result: InitResult) -> Parts:
    not_used = ["Not used:", *result.unused] if result.unused else []
    edit = (
        []
        if result.to_edit is None
        else [f"kit run will refuse this config. Edit it first: {result.to_edit}"]
    )
    return [*result.unpacked, findings_table(result.findings), *not_used, f"{result.config}", *edit]


@parts_of.register
def _inspect(result: InspectResult) -> Parts:
    return [*audit_tables(result.audit, 0), f"Page with images: {result.page}"]


@parts_of.register
def _folds(result: FoldsResult) -> Parts:
    return [*(balance_table(balance) for balance in result.balances), f"{result.path}"]


@parts_of.register
def _dry_run(result: DryRun) -> Parts:
    return dry_run_tables(result)


@parts_of.register
def _train(result: TrainResult) -> Parts:
    scores = ", ".join(f"{k}: {score:.4f}" for k, score in result.scores.items())
    trained = f"{len(result.scores)} of {counted(result.num_folds, 'fold')} trained"
    return [f"{result.run.label}: {trained}, {result.metric} {scores}"]


@parts_of.register
def _predict(result: PredictResult) -> Parts:
    return evaluation_tables(result.evaluation)


@parts_of.register
def _new_predictions(result: NewPredictions) -> Parts:
    return [f"{result.file} written: {counted(result.num_images, 'image')}"]


@parts_of.register
def _evaluation(result: Evaluation) -> Parts:
    return evaluation_tables(result)


@parts_of.register
def _tta(result: TtaReport) -> Parts:
    return tta_tables(result)


@parts_of.register
def _probes(result: Probes) -> Parts:
    return [probe_table(result)]


@parts_of.register
def _run(result: RunResult) -> Parts:
    submitted = [] if result.submitted is None else parts_of(result.submitted)
    return [*evaluation_tables(result.evaluation), *submitted]


@parts_of.register
def _blend(result: BlendResult) -> Parts:
    return blend_tables(result.blended, result.evaluation)


@parts_of.register
def _submitted(result: Submitted) -> Parts:
    return submission_lines(result, str(result.file.path))


@parts_of.register
def _check(result: CheckResult) -> Parts:
    verdict = "no problem found" if not result.problems else counted(len(result.problems), "problem")
    return [*problems_tables(result.problems), f"{counted(result.num_rows, 'row')} expected; {verdict}"]


@parts_of.register
def _leaderboard(result: LeaderboardResult) -> Parts:
    if not result.entries:
        return ["No run has a score yet."]
    return leaderboard_tables(result.entries, result.correlations, result.selections)
