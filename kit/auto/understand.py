"""Understand the competition: config, folds, networks that can be tried, and what earlier runs learned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kit import pipeline
from kit.auto.candidates import Candidate, find_candidates
from kit.auto.choices import SIZES, choices_for, scaled_size
from kit.auto.costs import Work
from kit.auto.journal import Journal
from kit.auto.recipes import Recipes
from kit.auto.session import Session
from kit.config import Config
from kit.config.load import SUFFIXES, load_config
from kit.errors import first_few
from kit.parallel.devices import Devices
from kit.parallel.parallel import num_slots
from kit.runtime.deadline import Deadline
from kit.runtime.progress import Progress
from kit.storage.files import text_digest
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, prepare


def open_session(
    source: Path | str,
    models: Sequence[str],
    workspace: Workspace,
    deadline: Deadline,
    progress: Progress,
    began: float,
    devices: Devices = None,
) -> Session:
    """Return a session that knows the competition, the networks to try, and what earlier runs learned.

    Args:
        began: When the command started, by ``time.monotonic``.
        devices: What trains folds at the same time.
    """
    from kit.engine.device.device import find_device

    progress.stage("understand")
    config = _config_of(source, workspace, progress)
    find_device()  # refuses a GPU that torch has no code for, before images are read
    data = prepare(config, workspace, progress)
    side = _median_side(data)
    candidates, notes = find_candidates(config, workspace, models, side, deadline.left)
    path = workspace.auto(data.competition.name)
    journal, anew = Journal.open(path, _key(config, data))
    if anew:
        progress.warn(f"{workspace.shown(path)} is not continued: {anew}")
    _forget_removed(journal, workspace, data.competition.name, progress)
    for text in notes:
        progress.note(text)
    work = work_of(data)
    work = replace(work, parallel=num_slots(devices, work.folds))
    return Session(
        config=config,
        data=data,
        workspace=workspace,
        journal=journal,
        recipes=_recipes(config, side, work, candidates),
        work=work,
        choices=choices_for(config, data.competition.task, any(each.pretrained for each in candidates)),
        unmeasured=candidates,
        total=deadline.left + time.monotonic() - began,
        limit=deadline,
        devices=devices,
        progress=progress,
        began=began,
    )


def _forget_removed(journal: Journal, workspace: Workspace, competition: str, progress: Progress) -> None:
    """Forget experiments whose folder or predictions somebody has removed, and blends of them."""
    removed = [each for each in journal.scored if not workspace.run(competition, each.name).oof.exists()]
    if removed:
        names = first_few([each.name for each in removed])
        progress.warn(f"{names} of the last run cannot be found any more, and is not used")
        kept = [each for each in journal.scored if each not in removed and each.kind != "blend"]
        journal.scored = kept


def _recipes(config: Config, side: int, work: Work, candidates: Sequence[Candidate]) -> Recipes:
    """Return the recipes, which decode images for the largest size that may be tried, once for all."""
    recipes = Recipes(config, side, work.train)
    if not any(each.pretrained for each in candidates):
        return recipes
    largest = max(scaled_size(recipes.native_size(each), max(SIZES)) for each in candidates)
    return replace(recipes, decode_size=largest)


def _config_of(source: Path | str, workspace: Workspace, progress: Progress) -> Config:
    """Return the config: the given one, or that of a competition folder, written by ``init`` if missing."""
    if str(source).endswith(SUFFIXES):
        return load_config(Path(source), progress=progress)
    existing = workspace.config(Path(source).resolve().name)
    if existing.exists():
        progress.note(f"{workspace.shown(existing)} exists already and is used")
        return load_config(existing, progress=progress)
    made = pipeline.init(source, workspace=workspace, progress=progress)
    for finding in made.findings:
        progress.note(f"{finding.key}: {finding.value}  ({finding.because})")
    for line in made.unused:
        progress.warn(line)
    progress.note(f"{workspace.shown(made.config)} written")
    if made.to_edit is not None:
        raise made.to_edit
    return load_config(made.config)


def _median_side(data: TrainingData) -> int:
    """Return the median shorter side of the readable images, in pixels."""
    sizes = data.opened.scan[["width", "height"]].min(axis=1)
    return int(sizes[sizes > 0].median())


def _key(config: Config, data: TrainingData) -> str:
    facts = config.model_dump_json(include={"competition", "submission", "folds"})
    return text_digest(
        f"{facts} {data.folds.fingerprint} {data.train_images} {sorted(data.other_images.items())}"
    )


def work_of(data: TrainingData) -> Work:
    """Return how many images an experiment reads."""
    folds, samples = data.folds, data.samples
    validation = [int(folds.validation(samples, k).sum()) for k in range(folds.models)]
    held_out = sum(len(table) for table in data.held_out.values())
    return Work(
        train=int(folds.training(samples, 0).sum()),
        validation=validation[0],
        validated=sum(validation),
        others=len(data.competition.test) + held_out,
        folds=folds.models,
    )
