"""Verbs that train, predict, score and explain, from ``train`` to ``explain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.config import Component, Config
from kit.errors import KitError
from kit.pipeline.inputs import (
    ConfigLike,
    RunLike,
    TimeLimit,
    WorkspaceLike,
    open_config,
    open_deadline,
    open_run,
    open_workspace,
)
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.competition.opened import OpenedCompetition
    from kit.evaluation.compare import Comparison
    from kit.evaluation.evaluate import Evaluation
    from kit.evaluation.per_image import PerImage
    from kit.evaluation.tta_ablation import TtaReport
    from kit.explain import Explanation
    from kit.parallel.devices import Devices
    from kit.predictions import Pooling
    from kit.runtime.deadline import Deadline
    from kit.training.data import TrainingData


@dataclass(frozen=True)
class TrainResult(Displayed):
    """The experiment that was trained; ``scores`` maps each trained fold to its validation score."""

    run: RunFolder
    metric: str
    scores: dict[int, float]
    num_folds: int

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it; ``cv`` is known after ``predict`` only."""
        folds = list(self.scores.values())
        return {"experiment": self.run.label, "metric": self.metric, "cv": None, "folds": folds}


@dataclass(frozen=True)
class PredictResult(Displayed):
    """The scored predictions of an experiment; ``predicted`` is False if they existed already."""

    run: RunFolder
    evaluation: Evaluation
    predicted: bool


class PooledResult(list["PerImage"], Displayed):
    """The scores of images, pooled from their crops: out-of-fold and each held-out set."""


@dataclass(frozen=True)
class NewPredictions(Displayed):
    """The predictions of a run for a folder of new images, in a CSV."""

    run: RunFolder
    file: Path
    num_images: int
    classes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it."""
        return {
            "experiment": self.run.label,
            "file": str(self.file),
            "images": self.num_images,
            "classes": list(self.classes),
        }


def train(
    config: ConfigLike,
    *,
    folds: Sequence[int] = (),
    fresh: bool = False,
    time_limit: TimeLimit = None,
    overrides: Sequence[str] = (),
    devices: Devices = None,
    data: TrainingData | None = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train one model per fold; skip trained folds, resume interrupted ones.

    Args:
        folds: The folds to train; none means all.
        fresh: Discard the results of an earlier run of the experiment.
        time_limit: Stop cleanly before this much time has passed.
        devices: What trains folds at the same time: GPUs such as ``0,1``, or ``cpu:2`` for parts of the
            processor; a ``Cluster``: the nodes of a Ray cluster; None: all visible GPUs.
        data: The training data, if the caller has checked the config and prepared the data already.

    Raises:
        Interrupted: The time limit is reached; the same call resumes.
    """
    from kit.training import experiment
    from kit.training.run_state import fold_scores
    from kit.training.teachers import teacher_uses

    config, workspace = open_config(config, overrides, progress), open_workspace(workspace)
    deadline = open_deadline(time_limit)
    if teacher_uses(config):
        data = _with_teachers(config, workspace, folds, fresh, progress, deadline, data)
    run = experiment.train(config, workspace, folds, fresh, progress, deadline, data, devices)
    scores, num_folds = fold_scores(run)
    return TrainResult(run, config.competition.metric.label, scores, num_folds)


def _with_teachers(
    config: Config,
    workspace: Workspace,
    folds: Sequence[int],
    fresh: bool,
    progress: Progress,
    deadline: Deadline,
    data: TrainingData | None,
) -> TrainingData:
    """Write what the teachers of a config predict for the folds to train; return the training data."""
    from kit.inference.teachers import write_teacher_predictions
    from kit.training.data import prepare
    from kit.training.experiment import check_experiment, requested_folds
    from kit.training.trained_folds import is_trained

    if data is None:
        check_experiment(config, workspace, fresh, progress, folds)
        data = prepare(config, workspace, progress)
    run = workspace.run(config.competition.name, config.name)
    todo = [k for k in requested_folds(folds, data.folds.models) if fresh or not is_trained(run, k)]
    write_teacher_predictions(config, workspace, data, todo, progress, deadline, fresh)
    return data


def predict(
    experiment: RunLike,
    *,
    tta: Sequence[Component] | None = None,
    merge: str | None = None,
    embeddings: bool = False,
    time_limit: TimeLimit = None,
    data: TrainingData | None = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> PredictResult:
    """Predict with every fold's model: out-of-fold predictions (scored) and test predictions (averaged).

    Args:
        tta: Test-time-augmentation views instead of the config's.
        merge: How views are merged, instead of the config's way.
        embeddings: Also write ``fold-K/embeddings.parquet``: every image as a vector, for searches and kNN.
        data: The training data, if the caller has prepared it already.
    """
    from kit.evaluation.oof_with_labels import config_of
    from kit.inference.predict import predict as predict_folds

    workspace = open_workspace(workspace)
    run = open_run(experiment, workspace)
    deadline = open_deadline(time_limit)
    predicted = predict_folds(run, workspace, tta, progress, deadline, merge, data, embeddings)
    opened = None if data is None else data.opened
    evaluation = _evaluated(run, workspace, config_of(run).decide, opened)
    return PredictResult(run, evaluation, predicted)


def predict_images(
    experiment: RunLike,
    *,
    images: Path | str,
    out: Path | str,
    tta: Sequence[Component] | None = None,
    merge: str | None = None,
    time_limit: TimeLimit = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> NewPredictions:
    """Predict the images below a folder with all models of an experiment or a blend; write a CSV.

    Only the run folder is read, of a blend also those of its members: the training images may be gone.

    Args:
        images: The folder.
        out: The CSV: ``id`` (the path below the folder), a column per class or ``value``, and the label.
        tta: Views instead of the config's; for an experiment only.
        merge: How views are merged, instead of the config's way.
        time_limit: Stop cleanly before this much time has passed; the same call continues.

    Raises:
        Interrupted: The time limit is reached.
    """
    from kit.ensemble.new_images import final_predictions, predict_run
    from kit.inference.new_images import NewImages, images_in
    from kit.inference.predictions_csv import write_predictions_csv
    from kit.status.stale import refuse_stale_models
    from kit.tasks import tasks

    workspace, folder, file = open_workspace(workspace), Path(images), Path(out)
    deadline = open_deadline(time_limit)
    run = open_run(experiment, workspace)
    if file.is_dir():
        raise KitError(file, "is a folder", "--out is the CSV to write", code="is_folder")
    refuse_stale_models(run, workspace)
    partial = file.with_name(f".{file.name}.partial")
    new = NewImages(folder, images_in(folder), partial, progress=progress, deadline=deadline)
    predictions = predict_run(run, workspace, new, tta, merge)
    final = final_predictions(run, predictions)
    write_predictions_csv(file, predictions, final, tasks.get(predictions.origin.task))
    new.remove_partial()
    return NewPredictions(run, file, len(predictions.ids), predictions.classes)


def evaluate(
    experiment: RunLike,
    *,
    decide: Sequence[Component] | None = None,
    data: TrainingData | None = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """Score out-of-fold predictions; write the scores, postprocessing steps, label errors and report page.

    Args:
        decide: Postprocessing steps to fit; None: the last fitted steps, or else the config's.
        data: The training data, if the caller has prepared it already.
    """
    from kit.evaluation.oof_with_labels import config_of
    from kit.status.current import current_data
    from kit.status.stale import OOF_PREDICTIONS, refuse_stale

    workspace = open_workspace(workspace)
    run = open_run(experiment, workspace)
    current = data or current_data(config_of(run), workspace, progress)
    refuse_stale(run, workspace, OOF_PREDICTIONS, current)
    return _evaluated(run, workspace, decide, None if current is None else current.opened)


def _evaluated(
    run: RunFolder,
    workspace: Workspace,
    decide: Sequence[Component] | None,
    opened: OpenedCompetition | None = None,
) -> Evaluation:
    from kit.competition.images.decode import DecodeOptions
    from kit.evaluation.evaluate import evaluate as score
    from kit.evaluation.oof_with_labels import config_of
    from kit.leaderboard.entries import parent_of
    from kit.report.run_page import write_run_page

    evaluation = score(run, workspace, decide, opened.loaded if opened else None)
    config = config_of(run)
    options, parent = DecodeOptions.of(config.image), parent_of(run, workspace)
    write_run_page(run, evaluation, _image_root(config, workspace), options, parent)
    return evaluation


def compare(
    experiments: Sequence[RunLike],
    *,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare runs on the same out-of-fold rows, best first, and write ``runs/COMPETITION/compare.html``.

    Args:
        experiments: Experiments and blends of one competition, with the same folds.

    Raises:
        KitError: A run has no current predictions, or their rows differ.
    """
    from kit.competition.images.decode import DecodeOptions
    from kit.evaluation.compare import compare_runs
    from kit.evaluation.oof_with_labels import config_of
    from kit.report.comparisons import write_comparison_page
    from kit.status.current import current_data
    from kit.status.stale import OOF_PREDICTIONS, refuse_stale

    workspace = open_workspace(workspace)
    runs = [open_run(each, workspace) for each in experiments]
    config = config_of(runs[0])
    current = current_data(config, workspace, progress)
    for run in runs:
        if run.competition != runs[0].competition:
            raise KitError(
                run.label,
                f"is of another competition than {runs[0].label}",
                "Runs are compared on the same rows",
                code="rows_differ",
            )
        refuse_stale(run, workspace, OOF_PREDICTIONS, current)
    made = compare_runs(runs, workspace)
    train = None if current is None else current.opened.loaded.train
    paths = {} if train is None else dict(zip(train["id"], train["path"], strict=True))
    page = workspace.page(runs[0].competition, "compare")
    write_comparison_page(made, page, _image_root(config, workspace), paths, DecodeOptions.of(config.image))
    return made


def _image_root(config: Config, workspace: Workspace) -> Path | None:
    """Return the competition's folder; None if it is missing, as when a run was copied elsewhere."""
    try:
        return workspace.data(config.competition.data)
    except KitError:
        return None


def tta_ablation(
    experiment: RunLike,
    *,
    candidates: Sequence[Component] | None = None,
    time_limit: TimeLimit = None,
    data: TrainingData | None = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> TtaReport:
    """Measure on out-of-fold rows what each TTA view adds to the score and what it costs.

    Args:
        candidates: Views to measure beside the config's; None: the default ones.
        data: The training data, if the caller has prepared it already.
    """
    from kit.evaluation.tta_ablation import tta_report

    workspace = open_workspace(workspace)
    run, deadline = open_run(experiment, workspace), open_deadline(time_limit)
    return tta_report(run, workspace, candidates, progress, deadline, data)


def explain(
    experiment: RunLike,
    *,
    images: Sequence[Path | str] = (),
    mistakes: int | None = None,
    class_name: str | None = None,
    method: str = "grad_cam",
    out: Path | str | None = None,
    workspace: WorkspaceLike = None,
    progress: Progress = SILENT,
) -> Explanation:
    """Draw which pixels predictions rest on; without a choice of images, for the most confident mistakes.

    Args:
        images: Image files, or folders of them.
        mistakes: How many of the training images whose prediction is wrong.
        class_name: Training images of this class.
        method: ``grad_cam``, or ``occlusion``, which needs no gradients.
        out: The folder to write, in place of an earlier explanation; None: ``explain`` of the experiment.

    Raises:
        KitError: Several choices are made, or the run is a blend.
    """
    from kit.explain import explain as explain_run

    choices = {
        "--images": bool(images),
        "--mistakes": mistakes is not None,
        "--class": class_name is not None,
    }
    given = [name for name, chosen in choices.items() if chosen]
    if len(given) > 1:
        raise KitError(
            " and ".join(given),
            "choose the images in different ways",
            "One of them can be given",
            f"Omit {given[1]}.",
            code="explain_choices",
        )
    workspace = open_workspace(workspace)
    return explain_run(
        open_run(experiment, workspace),
        workspace,
        images=[Path(each) for each in images],
        mistakes=mistakes,
        class_name=class_name,
        method=method,
        out=None if out is None else Path(out),
        progress=progress,
    )


def pool_crops(experiment: RunLike, *, how: Pooling, workspace: WorkspaceLike = None) -> PooledResult:
    """Pool the predictions of crops into predictions of whole images, by ``mean`` or ``max``; score them."""
    from kit.evaluation.per_image import pool_run

    workspace = open_workspace(workspace)
    return PooledResult(pool_run(open_run(experiment, workspace), workspace, how))
