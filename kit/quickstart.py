"""The whole way on the bundled digits: folder, folds, two models, a blend, a scored submission."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from kit import pipeline
from kit.competition.digits import write_digits
from kit.competition.samples import Competition, load_competition
from kit.config import Component, Config
from kit.config.load import load_config
from kit.evaluation.evaluate import Evaluation
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.workspace import RunFolder, Workspace
from kit.submission.format import format_for
from kit.submission.heldout import held_out_score
from kit.submission.submit import submit
from kit.submission_format.spec import SubmissionFormat
from kit.training import experiment

NAME = "digits"
BLEND = "blend"
EXPERIMENTS = {
    "simple-cnn": """\
# kit run configs/digits-simple-cnn.yaml        CV 0.99, a minute on 2 cores
base: digits.yaml
name: simple-cnn
model: {name: simple_cnn, pretrained: false, options: {widths: [24, 48, 96]}}
image: {size: 16}
train: {epochs: 14, keep: last, precision: fp32}
predict: {tta: [identity, shift_up, shift_down, shift_left, shift_right]}
""",
    "residual-cnn": """\
# kit run configs/digits-residual-cnn.yaml      CV 0.99, a minute on 2 cores
base: digits.yaml
name: residual-cnn
model: {name: residual_cnn, pretrained: false, options: {widths: [24, 48, 96]}}
image: {size: 16}
train: {epochs: 14, keep: last, precision: fp32}
predict: {tta: [identity, shift_up, shift_down, shift_left, shift_right]}
""",
}


@dataclass(frozen=True)
class Scores:
    """One run of the quickstart: its cross-validation and its score on the held-back labels."""

    name: str
    evaluation: Evaluation
    held_out: float


@dataclass(frozen=True)
class Quickstarted:
    """What the quickstart came to."""

    seconds: float
    metric: str
    experiments: list[Scores]
    blend: Scores
    submission: Path

    def as_dict(self) -> dict[str, object]:
        """Return it under the keys that ``--json`` promises."""
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


@dataclass(frozen=True)
class Judge:
    """Scores a run's CSV against the solution that was held back."""

    workspace: Workspace
    competition: Competition
    form: SubmissionFormat

    def judge(self, run: RunFolder, evaluation: Evaluation, progress: Progress) -> Scores:
        """Write the run's submission and score the file as a leaderboard would."""
        submitted = submit(run, self.workspace, progress)
        verb = "written and checked" if submitted.written else "is there already, checked again"
        progress.note(f"{self.workspace.shown(submitted.file.path)} {verb}")
        solution = self.competition.root / "solution.csv"
        held_out = held_out_score(submitted.file.path, solution, self.form, self.competition)
        return Scores(run.name, evaluation, held_out)


def quickstart(workspace: Workspace, progress: Progress = SILENT) -> Quickstarted:
    """Write the digits competition and take it all the way; what is done already is only said."""
    began = time.perf_counter()
    _start(workspace, progress)
    configs = _configs(workspace)
    first = next(iter(configs.values()))
    _look(first, workspace, progress)
    runs = [_train(config, workspace, progress) for config in configs.values()]

    progress.stage("blend", f"mean of {' and '.join(configs)}")
    blended = pipeline.blend([run for run, _ in runs], Component(name="mean"), BLEND, workspace).run
    blend_evaluation = pipeline.score(blended, workspace)
    progress.note(f"out-of-fold {blend_evaluation.metric} {blend_evaluation.cv:.4f}")

    progress.stage("submit")
    competition = load_competition(first.competition, workspace)
    judge = Judge(workspace, competition, format_for(first.submission, competition))
    experiments = [judge.judge(run, evaluation, progress) for run, evaluation in runs]
    final = judge.judge(blended, blend_evaluation, progress)
    file = workspace.submission(NAME, BLEND).path
    return Quickstarted(time.perf_counter() - began, competition.metric.name, experiments, final, file)


def _start(workspace: Workspace, progress: Progress) -> None:
    progress.stage("init", "the handwritten digits that scikit-learn ships")
    folder = workspace.root / "data" / NAME
    written = write_digits(folder)
    progress.note(f"{workspace.shown(folder)} {'written' if written else 'is there already'}")
    path = workspace.config(NAME)
    if path.exists():
        progress.note(f"{workspace.shown(path)} is there already")
    else:
        pipeline.init(str(folder), workspace)
        progress.note(f"{workspace.shown(path)} written")
    for name, text in EXPERIMENTS.items():
        if not (config := _config_path(workspace, name)).exists():
            write_text(config, text)
            progress.note(f"{workspace.shown(config)} written")


def _config_path(workspace: Workspace, experiment_name: str) -> Path:
    return workspace.config(f"{NAME}-{experiment_name}")


def _configs(workspace: Workspace) -> dict[str, Config]:
    return {name: load_config(_config_path(workspace, name)) for name in EXPERIMENTS}


def _look(config: Config, workspace: Workspace, progress: Progress) -> None:
    progress.stage("inspect")
    found, page = pipeline.inspect(config, workspace, progress)
    progress.note(f"{found.images} images, {len(found.unreadable)} unreadable; {workspace.shown(page)}")
    progress.stage("folds")
    made, path, state = pipeline.folds(config, workspace, progress=progress)
    said = "written" if state == "made" else "is there already"
    progress.note(f"{workspace.shown(path)} {said}: {made.count} folds of {len(made.table)} images")


def _train(config: Config, workspace: Workspace, progress: Progress) -> tuple[RunFolder, Evaluation]:
    progress.stage("train", config.name)
    run = experiment.train(config, workspace, progress=progress)
    progress.stage("predict", f"{config.name}, {len(config.predict.tta)} views")
    evaluation, predicted = pipeline.predict(run, workspace, progress=progress)
    said = "" if predicted else " (predicted already)"
    progress.note(f"out-of-fold {evaluation.metric} {evaluation.cv:.4f}{said}")
    return run, evaluation
