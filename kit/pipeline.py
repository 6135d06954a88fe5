"""The verbs of kit as functions: each reads what the one before it wrote; `run` does them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kit.competition.archives import archive_stem, is_archive, unpack
from kit.competition.audit import Audit, audit
from kit.competition.detect_layout import Finding
from kit.competition.infer_config import infer
from kit.competition.samples import load_competition
from kit.competition.scan import scan_images
from kit.competition.starter_config import starter_config
from kit.competition.survey import image_sizes
from kit.config import Component, Config, check_name
from kit.ensemble.blend import Blended
from kit.ensemble.blend import blend as write_blend
from kit.ensemble.members import foreign_member, member_of
from kit.ensemble.methods import SOUP
from kit.ensemble.soup import soup
from kit.errors import KitError
from kit.evaluation.evaluate import Evaluation, evaluate
from kit.evaluation.oof_with_labels import config_of
from kit.folds.make import ensure_folds
from kit.folds.table import Folds
from kit.inference.predict import predict as predict_folds
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import write_text
from kit.storage.workspace import RunFolder, Workspace
from kit.submission.format import format_for
from kit.submission.submit import Submitted, submit
from kit.tasks import tasks
from kit.training import experiment
from kit.training.data import population_of, read_images


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
    from kit.report.sheet import write_sheet
    from kit.training.augmentation_preview import training_examples

    examples = training_examples(config, workspace, images, epochs, progress)
    path = workspace.sheet(config.competition.name, config.name)
    write_sheet(examples, path)
    return path


def predict(
    run: RunFolder,
    workspace: Workspace,
    tta: Sequence[Component] | None = None,
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
    merge: str | None = None,
) -> tuple[Evaluation, bool]:
    """Write a run's predictions, scores and page; the flag is False if the predictions were there already."""
    predicted = predict_folds(run, workspace, tta, progress, deadline, merge)
    return score(run, workspace, config_of(run).decide), predicted


def score(run: RunFolder, workspace: Workspace, decide: Sequence[Component] | None = None) -> Evaluation:
    """Write and return the scores of a run that has predictions, its decisions and its page.

    Args:
        decide: Decisions to learn on OOF; None: those that were learned last, or else the config's.
    """
    from kit.report.pages import write_run_page

    evaluation = evaluate(run, workspace, decide)
    write_run_page(run, evaluation, _image_root(config_of(run), workspace))
    return evaluation


def _image_root(config: Config, workspace: Workspace) -> Path | None:
    """Return the competition's folder; None where it is not at hand, as when a run was copied elsewhere."""
    try:
        return workspace.data(config.competition.data)
    except KitError:
        return None


def blend(
    runs: Sequence[RunFolder],
    method: Component,
    name: str,
    workspace: Workspace,
    foreign: Sequence[tuple[Path, Path | None]] = (),
    any_folds: bool = False,
    progress: Progress = SILENT,
) -> Blended:
    """Write a blend's predictions, and return what it is worth; `score` does the rest, where it has a worth.

    Args:
        runs: Experiments and blends; the first says which competition it is.
        foreign: OOF and test predictions of other tools, as CSVs.
    """
    check_name(name, "--name")
    if not runs:
        raise KitError(
            "kit blend", "has no member of kit's own", "The first one says which competition it is"
        )
    folder = workspace.run(runs[0].competition, name)
    if method.name == SOUP:
        _refuse_beside_soup(method, bool(foreign), any_folds)
        return soup(runs, folder, workspace, progress)
    config = config_of(runs[0])
    members = [member_of(run) for run in runs]
    task = tasks.get(members[0].oof.origin.task)
    members += [foreign_member(oof, test, members[0], task) for oof, test in foreign]
    for oof, _ in foreign:
        progress.note(f"{oof}: that it comes from the same folds is taken on trust")
    return write_blend(members, method, folder, config, workspace, any_folds, progress)


def _refuse_beside_soup(method: Component, foreign: bool, any_folds: bool) -> None:
    for unfit, what in (
        (bool(method.options), "options"),
        (foreign, "predictions of other tools"),
        (any_folds, "members of different folds"),
    ):
        if unfit:
            raise KitError("--method soup", f"takes no {what}", "It averages the weights of trained folds")


def run(
    config: Config,
    workspace: Workspace,
    fresh: bool = False,
    progress: Progress = SILENT,
    deadline: Deadline | None = None,
) -> Finished:
    """Take a config from the competition folder to the checked submission, skipping what is done.

    The submission's form is checked before anything is trained. Without test images there is none to write.
    """
    if config.submission is not None:
        format_for(config.submission, load_competition(config.competition, workspace))
    progress.stage("train", config.name)
    folder = experiment.train(config, workspace, fresh=fresh, progress=progress, deadline=deadline)
    progress.stage("predict", f"views {', '.join(config.predict.labels)}")
    evaluation, predicted = predict(folder, workspace, progress=progress, deadline=deadline)
    if not predicted:
        progress.note("already predicted by these models")
    progress.note(f"out-of-fold {evaluation.metric} {evaluation.cv:.4f}")
    for worth in evaluation.decisions:
        progress.note(f"{worth.name}: {worth.gain:+.4f}, 95 % interval {worth.interval}; {worth.verdict}")
    for name, value in evaluation.held_out.items():
        said = evaluation.not_computed[name] if value is None else f"{evaluation.metric} {value:.4f}"
        progress.note(f"held out {name}: {said}")
    if config.submission is None:
        progress.note("no test images: nothing to hand in")
        return Finished(folder, evaluation, None)
    progress.stage("submit")
    submitted = submit(folder, workspace, progress)
    progress.note(
        f"{workspace.shown(submitted.file.path)} {'written' if submitted.written else 'is there already'}"
    )
    return Finished(folder, evaluation, submitted)
