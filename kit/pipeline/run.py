"""The verb ``run``: from the competition folder to the checked submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.pipeline.inputs import (
    ConfigLike,
    TimeLimit,
    WorkspaceLike,
    open_config,
    open_deadline,
    open_workspace,
)
from kit.pipeline.models import PredictResult, predict, train
from kit.pipeline.results import submit
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder

if TYPE_CHECKING:
    from kit.evaluation.evaluate import Evaluation
    from kit.parallel.devices import Devices
    from kit.submission.submit import Submitted


@dataclass(frozen=True)
class RunResult(Displayed):
    """What ``run`` made; ``submitted`` is None if the competition has no test images."""

    run: RunFolder
    evaluation: Evaluation
    submitted: Submitted | None


def run(
    config: ConfigLike,
    *,
    fresh: bool = False,
    time_limit: TimeLimit = None,
    overrides: Sequence[str] = (),
    devices: Devices = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> RunResult:
    """Go from the competition folder to the checked submission, skipping finished stages.

    Names and values of the config are checked before images are read, the submission format before folds
    are written; the competition is opened once. Without test images no submission is written.
    """
    from kit.competition.opened import open_competition
    from kit.submission.format import format_for, warn_of_images_without_class
    from kit.training.data import prepare
    from kit.training.experiment import check_experiment

    config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
    deadline = open_deadline(time_limit)
    progress.stage("train", config.name)
    check_experiment(config, workspace, fresh, progress)
    opened = open_competition(config, workspace, progress)
    can_submit = config.submission is not None and not opened.loaded.test.empty
    if can_submit:
        form = format_for(config.submission, opened.loaded)
        warn_of_images_without_class(form, config, progress)
    data = prepare(config, workspace, progress, opened=opened)
    trained = train(
        config,
        fresh=fresh,
        time_limit=deadline,
        devices=devices,
        data=data,
        workspace=workspace,
        progress=progress,
    )
    progress.stage("predict", f"views {', '.join(config.predict.labels)}")
    predicted = predict(trained.run, time_limit=deadline, data=data, workspace=workspace, progress=progress)
    _note_scores(predicted, progress)
    if not can_submit:
        later = "; with images in the test folder, run this again" if config.submission else ""
        progress.note(f"no test images: no submission to write{later}")
        return RunResult(trained.run, predicted.evaluation, None)
    progress.stage("submit")
    submitted = submit(trained.run, data=data, workspace=workspace, progress=progress)
    state = "written" if submitted.written else "exists already, unchanged"
    progress.note(f"{workspace.shown(submitted.file.path)} {state}")
    return RunResult(trained.run, predicted.evaluation, submitted)


def _note_scores(result: PredictResult, progress: Progress) -> None:
    evaluation = result.evaluation
    if not result.predicted:
        progress.note("predicted already by the same models")
    progress.note(f"out-of-fold {evaluation.metric} {evaluation.cv:.4f}")
    for step in evaluation.decisions:
        interval = step.interval.text(signed=True)
        progress.note(f"{step.name}: {step.gain:+.4f}, 95 % interval {interval}; {step.verdict}")
    for line in evaluation.held_out_lines():
        progress.note(line)
