"""The verbs of kit as functions: each reads what the one before it wrote; `run` does them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit import experiment
from kit.allowance import Allowance
from kit.competition.archives import archive_stem, is_archive, unpack
from kit.competition.audit import Audit, audit
from kit.competition.inference import infer
from kit.competition.recognise import Finding
from kit.competition.samples import load_competition
from kit.competition.scan import scan_images
from kit.competition.survey import image_sizes
from kit.config import Config, check_name
from kit.ensemble.blend import blend as write_blend
from kit.errors import KitError
from kit.evaluation import Evaluation, evaluate
from kit.folds.make import ensure_folds
from kit.folds.table import Folds
from kit.foldwise import predict as predict_folds
from kit.material import population_of, read_images
from kit.progress import SILENT, Progress
from kit.starter import starter_config
from kit.submission.format import format_for
from kit.submission.submit import Submitted, submit
from kit.workspace import RunFolder, Workspace, write_text


@dataclass(frozen=True)
class Started:
    """A config written by ``init``; ``written`` is False if the very same file was there already."""

    config: Path
    findings: list[Finding]
    written: bool


@dataclass(frozen=True)
class Finished:
    """What ``run`` came to; ``submitted`` is None where nothing is to be handed in."""

    run: RunFolder
    evaluation: Evaluation
    submitted: Submitted | None


def init(
    data: str,
    workspace: Workspace,
    name: str | None = None,
    label: str | None = None,
    model: str | None = None,
    weights: str | None = None,
    layout: str | None = None,
    max_gb: float = 50.0,
    force: bool = False,
    progress: Progress = SILENT,
) -> Started:
    """Write ``configs/<name>.yaml`` for a competition folder, or for an archive unpacked under ``data/``.

    Args:
        data: The folder or archive: a path, or a name under a data root.
        layout: Take this layout, whatever else might be recognised.
        max_gb: What an archive may unpack to.
        name: What to call it; by default the folder's own name.
        force: Overwrite another config of that name.

    Raises:
        KitError: The folder says nothing that kit understands, or a config of that name says otherwise.
    """
    given = Path(data).expanduser()
    root = (given if given.exists() else workspace.data(data)).absolute()
    if is_archive(root):
        root = _unpacked(root, workspace, max_gb, progress)
    called = name or root.resolve().name
    check_name(called, "--name")
    findings = infer(root, called, _name_for_config(root, workspace), label, layout)
    text = starter_config(findings, image_sizes(root), model, weights)
    path = workspace.config(called)
    there = path.read_text(encoding="utf-8") if path.exists() else None
    if there not in (None, text) and not force:
        raise KitError(
            workspace.shown(path),
            "is there already, and says something else",
            "kit init does not overwrite what you may have edited",
            "Give --name another name, or --force to overwrite it.",
        )
    if there != text:
        write_text(path, text)
    return Started(path, findings, written=there != text)


def _unpacked(archive: Path, workspace: Workspace, max_gb: float, progress: Progress) -> Path:
    """Return the folder under ``data/`` that an archive is unpacked to, now or before."""
    folder = workspace.unpacked(archive_stem(archive))
    done = unpack(archive, folder, int(max_gb * 1e9), progress)
    progress.note(f"{workspace.shown(folder)} {'unpacked' if done else 'is there already'}")
    return folder


def _name_for_config(root: Path, workspace: Workspace) -> str:
    """Return how a config names the folder: relative to a data root, so that no machine's path is in it."""
    for data_root in workspace.data_roots:
        resolved, inside = root.resolve(), data_root.resolve()
        if resolved != inside and resolved.is_relative_to(inside):
            name = resolved.relative_to(inside).as_posix()
            if workspace.data(name).resolve() == resolved:  # and not another one in an earlier root
                return name
    return str(root)


def inspect(config: Config, workspace: Workspace, progress: Progress = SILENT) -> tuple[Audit, Path]:
    """Return the audit of a competition's images, and the page that shows it."""
    from kit.report.pages import write_audit_page

    competition = load_competition(config.competition, workspace)
    scan = scan_images(competition, workspace.image_table(competition.name), progress)
    found = audit(competition, scan, config.competition.near)
    page = workspace.audit_page(competition.name)
    write_audit_page(found, competition, page)
    return found, page


def folds(
    config: Config, workspace: Workspace, force: bool = False, progress: Progress = SILENT
) -> tuple[Folds, Path, Literal["made", "there", "different"]]:
    """Return the folds of a competition, written to its CSV; with ``force`` whatever it held before."""
    competition, scan = read_images(config, workspace, progress)
    population = population_of(competition, scan, config, progress)
    path = workspace.folds(competition.name)
    on_difference: Literal["refuse", "replace"] = "replace" if force else "refuse"
    made, state = ensure_folds(path, population, config.folds, on_difference)
    return made, path, state


def augment(
    config: Config, workspace: Workspace, images: int, epochs: int, progress: Progress = SILENT
) -> Path:
    """Return the picture of some training images as the model will see them, now written."""
    from kit.examples import training_examples
    from kit.report.sheet import write_sheet

    examples = training_examples(config, workspace, images, epochs, progress)
    path = workspace.sheet(config.competition.name, config.name)
    write_sheet(examples, path)
    return path


def predict(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[str] | None = None,
    progress: Progress = SILENT,
    allowance: Allowance | None = None,
) -> tuple[Evaluation, bool]:
    """Write a run's predictions, scores and page; the flag is False if the predictions were there already."""
    predicted = predict_folds(run, workspace, tta, progress, allowance)
    return score(run, workspace), predicted


def score(run: RunFolder, workspace: Workspace) -> Evaluation:
    """Write and return the scores of a run that has predictions, and its page."""
    from kit.report.pages import write_run_page

    evaluation = evaluate(run, workspace)
    write_run_page(run, evaluation, len(evaluation.folds))
    return evaluation


def blend(
    members: Sequence[RunFolder], method: str, name: str, workspace: Workspace
) -> tuple[RunFolder, Evaluation]:
    """Write a blend's predictions, scores and page."""
    run = write_blend(members, method, name, workspace)
    return run, score(run, workspace)


def run(
    config: Config,
    workspace: Workspace,
    fresh: bool = False,
    progress: Progress = SILENT,
    allowance: Allowance | None = None,
) -> Finished:
    """Take a config from the competition folder to the checked submission, skipping what is done.

    The submission's form is checked before anything is trained. Without test images there is none to write.
    """
    if config.submission is not None:
        format_for(config.submission, load_competition(config.competition, workspace))
    progress.stage("train", config.name)
    folder = experiment.train(config, workspace, fresh=fresh, progress=progress, allowance=allowance)
    progress.stage("predict", f"views {', '.join(config.predict.tta)}")
    evaluation, predicted = predict(folder, workspace, progress=progress, allowance=allowance)
    if not predicted:
        progress.note("already predicted by these models")
    progress.note(f"out-of-fold {evaluation.metric} {evaluation.cv:.4f}")
    for name, value in evaluation.held_out.items():
        progress.note(f"held out {name}: {evaluation.metric} {value:.4f}")
    if config.submission is None:
        progress.note("no test images: nothing to hand in")
        return Finished(folder, evaluation, None)
    progress.stage("submit")
    submitted = submit(folder, workspace, progress)
    progress.note(
        f"{workspace.shown(submitted.file)} {'written' if submitted.written else 'is there already'}"
    )
    return Finished(folder, evaluation, submitted)
