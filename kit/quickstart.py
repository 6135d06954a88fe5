"""Run the whole pipeline on bundled digits: config, folds, two models, a blend, a scored submission."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from kit import pipeline
from kit.competition.digits import write_digits
from kit.config import Config
from kit.config.load import load_config
from kit.errors import counted
from kit.evaluation.evaluate import Evaluation
from kit.pipeline.display import shows
from kit.pipeline.inputs import WorkspaceLike, open_workspace
from kit.report.notebook import Parts
from kit.report.tables import scores_table
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.workspace import RunFolder, Workspace
from kit.submission.format import format_for
from kit.submission.heldout import held_out_score
from kit.training.data import TrainingData, prepare
from kit.training.experiment import check_experiment

NAME = "digits"
BLEND = "blend"
EXPERIMENTS = {
    "simple-cnn": """\
# kit run configs/digits-simple-cnn.yaml        CV 0.99, half a minute on 2 cores
base: digits.yaml
name: simple-cnn
model: {name: simple_cnn, pretrained: false, options: {widths: [24, 48, 96]}}
image: {size: 8}
augment: {preset: shift}
train: {epochs: 6, lr: 0.01, schedule: one_cycle, keep: last, precision: fp32}
predict: {tta: [identity, shift_up, shift_down, shift_left, shift_right]}
""",
    "residual-cnn": """\
# kit run configs/digits-residual-cnn.yaml      CV 0.99, half a minute on 2 cores
base: digits.yaml
name: residual-cnn
model: {name: residual_cnn, pretrained: false, options: {widths: [24, 48, 96]}}
image: {size: 8}
augment: {preset: shift}
train: {epochs: 6, lr: 0.01, schedule: one_cycle, keep: last, precision: fp32}
predict: {tta: [identity, shift_up, shift_down, shift_left, shift_right]}
""",
}


@dataclass(frozen=True)
class ScoredRun:
    """A run of the quickstart: its cross-validation, and its file's score on the held-out labels."""

    name: str
    evaluation: Evaluation
    held_out: float


@dataclass(frozen=True)
class QuickstartResult(Displayed):
    """The results of the quickstart: two experiments, their blend, and the blend's submission file."""

    seconds: float
    metric: str
    experiments: list[ScoredRun]
    blend: ScoredRun
    submission: Path

    def as_dict(self) -> dict[str, object]:
        """Return the result as ``--json`` prints it."""
        blended = {
            "cv": self.blend.evaluation.cv,
            "nested": self.blend.evaluation.nested,
            "held_out": self.blend.held_out,
        }
        return {
            "seconds": round(self.seconds, 1),
            "experiments": [
                {"name": s.name, "cv": s.evaluation.cv, "held_out": s.held_out} for s in self.experiments
            ],
            "blend": blended,
            "submission": str(self.submission),
        }


@shows(QuickstartResult)
def _shown(result: QuickstartResult) -> Parts:
    rows = [(s.name, s.evaluation.cv, s.held_out) for s in (*result.experiments, result.blend)]
    return [scores_table(rows, result.metric), f"{result.submission}  checked, ready to submit"]


def quickstart(*, workspace: WorkspaceLike = None, progress: Progress = SILENT) -> QuickstartResult:
    """Write the digits competition and run every stage on it; a second run skips finished stages."""
    start, workspace = time.perf_counter(), open_workspace(workspace)
    configs = _write_configs(workspace, progress)
    first = next(iter(configs.values()))
    _inspect_and_fold(first, workspace, progress)
    data = prepare(first, workspace, progress)  # shared: the configs differ in model and training only
    runs = [_train(config, data, workspace, progress) for config in configs.values()]

    progress.stage("blend", f"mean of {' and '.join(configs)}")
    blend = pipeline.blend([run for run, _ in runs], name=BLEND, workspace=workspace)
    assert blend.evaluation is not None  # its members share the folds
    progress.note(f"out-of-fold {blend.evaluation.metric} {blend.evaluation.cv:.4f}")

    progress.stage("submit")
    all_runs = [*runs, (blend.blended.run, blend.evaluation)]
    *experiments, final = [_submit(run, result, first, data, workspace, progress) for run, result in all_runs]
    return QuickstartResult(
        seconds=time.perf_counter() - start,
        metric=data.competition.metric.name,
        experiments=experiments,
        blend=final,
        submission=workspace.submission(NAME, BLEND).path,
    )


def _write_configs(workspace: Workspace, progress: Progress) -> dict[str, Config]:
    """Write the competition folder and its configs; return experiment name -> config."""
    progress.stage("init", "the handwritten digits that scikit-learn ships")
    folder = workspace.root / "data" / NAME
    progress.note(f"{workspace.shown(folder)} {'written' if write_digits(folder) else 'exists already'}")
    path = workspace.config(NAME)
    if path.exists():
        progress.note(f"{workspace.shown(path)} exists already")
    else:
        pipeline.init(folder, workspace=workspace)
        progress.note(f"{workspace.shown(path)} written")
    configs = {}
    for name, text in EXPERIMENTS.items():
        if not (config := workspace.config(f"{NAME}-{name}")).exists():
            write_text(config, text)
            progress.note(f"{workspace.shown(config)} written")
        configs[name] = load_config(config)
    return configs


def _inspect_and_fold(config: Config, workspace: Workspace, progress: Progress) -> None:
    progress.stage("inspect")
    found = pipeline.inspect(config, workspace=workspace, progress=progress)
    images, unreadable = found.audit.images, len(found.audit.unreadable)
    progress.note(f"{counted(images, 'image')}, {unreadable} unreadable; {workspace.shown(found.page)}")
    progress.stage("folds")
    made = pipeline.folds(config, workspace=workspace, progress=progress)
    state = "written" if made.state == "made" else "exists already"
    progress.note(
        f"{workspace.shown(made.path)} {state}: {counted(made.folds.count, 'fold')} of "
        f"{counted(len(made.folds.table), 'image')}"
    )


def _train(
    config: Config, data: TrainingData, workspace: Workspace, progress: Progress
) -> tuple[RunFolder, Evaluation]:
    """Train and predict one experiment."""
    progress.stage("train", config.name)
    check_experiment(config, workspace, progress=progress)  # the file may have been edited
    run = pipeline.train(config, data=data, workspace=workspace, progress=progress).run
    progress.stage("predict", f"{config.name}, {counted(len(config.predict.tta), 'view')}")
    done = pipeline.predict(run, data=data, workspace=workspace, progress=progress)
    already = "" if done.predicted else " (predicted already)"
    progress.note(f"out-of-fold {done.evaluation.metric} {done.evaluation.cv:.4f}{already}")
    return run, done.evaluation


def _submit(
    run: RunFolder,
    evaluation: Evaluation,
    config: Config,
    data: TrainingData,
    workspace: Workspace,
    progress: Progress,
) -> ScoredRun:
    """Write a run's submission, and score the file on the held-out labels as a leaderboard would."""
    submitted = pipeline.submit(run, data=data, workspace=workspace, progress=progress)
    state = "written and checked" if submitted.written else "exists already, checked again"
    progress.note(f"{workspace.shown(submitted.file.path)} {state}")
    form = format_for(config.submission, data.opened.loaded)
    solution = data.competition.root / "solution.csv"
    score = held_out_score(submitted.file.path, solution, form, data.competition)
    return ScoredRun(run.name, evaluation, score)
