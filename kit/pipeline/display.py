"""What each verb's result shows in a notebook: the tables and lines of the command line, plots and pictures.

An entry is one function with the type of a result; ``kit.auto`` and other rooms add their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rich.markup import escape

from kit.bench.measure import Bench
from kit.errors import counted
from kit.evaluation.compare import Comparison
from kit.evaluation.evaluate import Evaluation
from kit.evaluation.tta_ablation import TtaReport
from kit.explain.explained import Explanation, summary
from kit.leaderboard.record import Recorded
from kit.pipeline.components import Components
from kit.pipeline.kaggle import KaggleSubmission
from kit.pipeline.labels import CorrectResult
from kit.pipeline.models import NewPredictions, PooledResult, PredictResult, TrainResult
from kit.pipeline.prepare import AugmentResult, FoldsResult, InitResult, InspectResult
from kit.pipeline.results import BlendResult, CheckResult, CleanResult, LeaderboardResult, StatusResult
from kit.pipeline.run import RunResult
from kit.platforms.write_bundle import Bundle
from kit.probe.probe import Probes
from kit.report.benches import bench_tables
from kit.report.blends import blend_tables
from kit.report.comparisons import comparison_tables
from kit.report.corrections import correction_lines
from kit.report.evaluations import evaluation_tables
from kit.report.leaderboard import leaderboard_tables
from kit.report.leaderboard_page import cv_against_boards
from kit.report.notebook import Part, Parts, html_of_parts
from kit.report.plots import blend_members, class_curves
from kit.report.probes import probe_table
from kit.report.problems import problems_tables
from kit.report.run_page import learning_curves
from kit.report.status import status_tables
from kit.report.submissions import submission_lines
from kit.report.tables import (
    audit_tables,
    balance_table,
    components_table,
    dry_run_tables,
    findings_table,
    per_image_table,
)
from kit.report.views import tta_tables
from kit.runtime.displayed import html_of
from kit.storage.files import format_bytes
from kit.storage.workspace import RunFolder
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
    parts: list[Part] = [
        *result.unpacked,
        findings_table(result.findings),
        *not_used,
        escape(f"{result.config}"),
    ]
    if result.to_edit is not None:
        parts.append(f"kit run will refuse this config. Edit it first: {result.to_edit}")
    return parts


@shows(InspectResult)
def _inspect(result: InspectResult) -> Parts:
    return [*audit_tables(result.audit, 0), escape(f"Page with images: {result.page}")]


@shows(CorrectResult)
def _correct(result: CorrectResult) -> Parts:
    return correction_lines(result.correction, escape(str(result.file)))


@shows(FoldsResult)
def _folds(result: FoldsResult) -> Parts:
    return [*(balance_table(balance) for balance in result.balances), escape(f"{result.path}")]


@shows(DryRun)
def _dry_run(result: DryRun) -> Parts:
    return dry_run_tables(result)


@shows(TrainResult)
def _train(result: TrainResult) -> Parts:
    scores = ", ".join(f"{k}: {score:.4f}" for k, score in result.scores.items())
    trained = f"{len(result.scores)} of {counted(result.num_folds, 'fold')} trained"
    line = f"{result.run.label}: {trained}, {result.metric} {scores}"
    return [line, *_curves(result.run, result.num_folds, result.metric)]


def _curves(run: RunFolder, num_folds: int, metric: str) -> list[Part]:
    drawn = learning_curves(run, num_folds, metric)
    return [] if drawn is None else [drawn]


@shows(PredictResult)
def _predict(result: PredictResult) -> Parts:
    return _evaluation(result.evaluation)


@shows(NewPredictions)
def _new_predictions(result: NewPredictions) -> Parts:
    return [f"{escape(str(result.file))} written: {counted(result.num_images, 'image')}"]


@shows(Evaluation)
def _evaluation(result: Evaluation) -> Parts:
    plots: list[Part] = [] if result.curves is None else [class_curves(result.curves)]
    return [*evaluation_tables(result), *plots]


@shows(Comparison)
def _comparison(result: Comparison) -> Parts:
    return comparison_tables(result)


@shows(Explanation)
def _explanation(result: Explanation) -> Parts:
    return [summary(result, escape(str(result.folder))), result.sheet]


@shows(AugmentResult)
def _augment(result: AugmentResult) -> Parts:
    return [escape(f"{result.sheet}"), result.sheet]


@shows(Bench)
def _bench(result: Bench) -> Parts:
    return bench_tables(result)


@shows(Components)
def _components(result: Components) -> Parts:
    return [components_table(kind, entries) for kind, entries in result.items()]


@shows(PooledResult)
def _pooled(result: PooledResult) -> Parts:
    return [per_image_table(result)]


@shows(TtaReport)
def _tta(result: TtaReport) -> Parts:
    return tta_tables(result)


@shows(Probes)
def _probes(result: Probes) -> Parts:
    return [probe_table(result)]


@shows(RunResult)
def _run(result: RunResult) -> Parts:
    submitted = [] if result.submitted is None else _submitted(result.submitted)
    curves = _curves(result.run, len(result.evaluation.folds), result.evaluation.metric)
    return [*_evaluation(result.evaluation), *curves, *submitted]


@shows(BlendResult)
def _blend(result: BlendResult) -> Parts:
    evaluation = result.blended.evaluation
    plots: list[Part] = [] if evaluation is None else [blend_members(evaluation.as_dict()["members"])]
    return [*blend_tables(result.blended, result.evaluation), *plots]


@shows(Bundle)
def _bundle(result: Bundle) -> Parts:
    uploaded = [f"Uploaded: {result.dataset}"] if result.dataset else []
    size = f"{counted(result.files, 'file')}, {format_bytes(result.bytes)}"
    return [escape(f"{result.folder} written for {result.platform}: {size}"), *uploaded]


@shows(Submitted)
def _submitted(result: Submitted) -> Parts:
    return submission_lines(result, escape(str(result.file.path)))


@shows(KaggleSubmission)
def _kaggle_submission(result: KaggleSubmission) -> Parts:
    return [result.text(escape(str(result.file.path)))]


@shows(CheckResult)
def _check(result: CheckResult) -> Parts:
    verdict = "no problem found" if not result.problems else counted(len(result.problems), "problem")
    return [*problems_tables(result.problems), f"{counted(result.num_rows, 'row')} expected; {verdict}"]


@shows(LeaderboardResult)
def _leaderboard(result: LeaderboardResult) -> Parts:
    if not result.entries:
        return ["No run has a score yet."]
    tables = leaderboard_tables(result.entries, result.correlations, result.selections)
    return [*tables, *cv_against_boards(result.entries, result.selections)]


@shows(Recorded)
def _recorded(result: Recorded) -> Parts:
    return [escape(f"{result.file.path}: {', '.join(result.summary)} recorded.")]


@shows(StatusResult)
def _status(result: StatusResult) -> Parts:
    return status_tables(result, len(result) == 1) if result else ["No run has begun yet."]


@shows(CleanResult)
def _clean(result: CleanResult) -> Parts:
    lines = [f"{each.folder}  {counted(each.files, 'file')}, {format_bytes(each.bytes)}" for each in result]
    return [escape(line) for line in lines] if lines else ["no caches found"]
