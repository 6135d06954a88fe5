"""All folds of one config: trained, resumed, skipped when done, refused when they would not fit together."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from kit import __version__
from kit.competition.samples import Competition
from kit.config import Config
from kit.config_file import config_yaml, differences, load_config
from kit.errors import KitError, first_few
from kit.material import Material, image_set, image_store, prepare
from kit.progress import SILENT, Progress
from kit.seeds import stable_seed
from kit.workspace import FoldFolder, RunFolder, Workspace, file_digest, read_json, write_json, write_text

if TYPE_CHECKING:
    import torch

    from kit.engine.images import ImageSet
    from kit.engine.loop import FoldImages, Goal
    from kit.engine.store import ImageStore

AFTER_TRAINING = (
    "predict.",
    "submission.",
    "competition.data",
    "competition.test.",
    "competition.unlisted",
    "competition.held_out",
    "competition.leaks",
    "competition.near",
    "train.workers",
    "image.cache",
)  # keys that change no trained weight
LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "albumentations",
    "accelerate",
    "numpy",
    "pandas",
    "scikit-learn",
)


def train(
    config: Config,
    workspace: Workspace,
    only: Sequence[int] = (),
    fresh: bool = False,
    progress: Progress = SILENT,
) -> RunFolder:
    """Train every fold that is not done, going on where one was interrupted; return the experiment's folder.

    Args:
        only: The folds to train; none means all.
        fresh: Throw away what an earlier run of the experiment left.

    Raises:
        KitError: The config or the data is wrong, or the experiment was begun with another config or other
            folds (and ``fresh`` is not set).
    """
    run = workspace.run(config.competition.name, config.name)
    if run.blend.exists():
        raise KitError(run.path, "is a blend", "Names are shared", "Give the experiment another name.")
    if fresh or not _is_complete(run, config):
        from kit.engine.recipe import check_recipe

        check_recipe(config, workspace)
    material = prepare(config, workspace, progress)
    odd = [k for k in only if not 0 <= k < material.folds.models]
    if odd:
        raise KitError(f"--fold {odd[0]}", "there is no such fold", f"0..{material.folds.models - 1} are")
    wanted = list(only) or list(range(material.folds.models))
    if fresh:
        _forget(run, wanted)
    _claim(run, config, material)
    todo = [k for k in wanted if trained_fold(run.fold(k)) is None]
    for k in sorted(set(wanted) - set(todo)):
        progress.note(f"fold {k} is already trained: {read_json(run.fold(k).done)['score']:.4f}")
    if todo:
        _train_folds(config, workspace, material, run, todo, progress)
    return run


def trained_fold(folder: FoldFolder) -> dict[str, Any] | None:
    """Return what training a fold came to, or None unless its weights are whole and those it ended with."""
    if not (folder.done.exists() and folder.model.exists()):
        return None
    done: dict[str, Any] = read_json(folder.done)
    return done if file_digest(folder.model) == done["model"] else None


def _is_complete(run: RunFolder, config: Config) -> bool:
    """Tell whether this very config is trained to the end, so that torch need not even be imported."""
    if config.folds.models is None:
        return False
    done = [trained_fold(run.fold(k)) is not None for k in range(config.folds.models)]
    return all(done) and run.config.exists() and load_config(run.config) == config


def _forget(run: RunFolder, folds: list[int]) -> None:
    """Remove some folds' models, and what was made of all of them."""
    for k in folds:
        shutil.rmtree(run.fold(k).path, ignore_errors=True)
    held_out = [run.held_out(name) for name in run.held_out_sets()]
    for path in (run.oof, run.test, run.metrics, run.report, *held_out):
        path.unlink(missing_ok=True)


def _claim(run: RunFolder, config: Config, material: Material) -> None:
    """Make the folder this experiment's, unless it was begun with another config, other folds or images."""
    own = {
        "folds": material.folds.fingerprint,
        "images": material.train_images,
        "models": material.folds.models,
    }
    if any(run.path.glob("fold-*/*")) and run.config.exists():
        _refuse_another_config(run, config)
        refuse_other_material(run, material)
    write_text(run.config, config_yaml(config))
    write_json(run.material, own)


def _refuse_another_config(run: RunFolder, config: Config) -> None:
    free: tuple[str, ...] = AFTER_TRAINING
    if config.train.keep == "last" and config.train.patience is None:
        free = (*free, "competition.metric")  # then it has chosen no epoch
    changed = [line for line in differences(load_config(run.config), config) if not line.startswith(free)]
    if changed:
        listed = "".join(f"\n  - {line}" for line in changed)
        raise KitError(
            run.path,
            f"was begun with another config:{listed}\n",
            "One experiment is one config",
            "Give this one another name (`--set name=…`), or train anew with --fresh.",
        )


def refuse_other_material(run: RunFolder, material: Material) -> None:
    """Refuse to go on with other folds or images than the experiment was begun with.

    Raises:
        KitError: A model of it may have been trained on what is validation now.
    """
    begun = read_json(run.material)
    for key, now, what in (
        ("folds", material.folds.fingerprint, "other folds or labels than the folds CSV holds now"),
        ("images", material.train_images, "other training images than there are now"),
    ):
        if begun[key] != now:
            raise KitError(
                run.path,
                f"was trained on {what}",
                "All folds of an experiment come from one partition of the same images",
                "Train anew with --fresh, or bring them back.",
            )


def _train_folds(
    config: Config,
    workspace: Workspace,
    material: Material,
    run: RunFolder,
    todo: list[int],
    progress: Progress,
) -> None:
    from kit.engine.precision import open_accelerator
    from kit.engine.store import pictures_of

    accelerator, precision = open_accelerator(config.train.precision)
    progress.note(f"device {accelerator.device}, precision {precision}")
    write_json(run.environment, _environment(workspace, config.seed, str(accelerator.device), str(precision)))
    store = image_store(config, workspace, material.competition)
    store.preload(pictures_of(material.samples), progress)
    for k in todo:
        _train_fold(config, workspace, material, store, run.fold(k), k, progress)


def _train_fold(
    config: Config,
    workspace: Workspace,
    material: Material,
    store: ImageStore,
    folder: FoldFolder,
    k: int,
    progress: Progress,
) -> None:
    import torch

    from kit.engine.loop import FoldTrainer
    from kit.engine.models import build_model
    from kit.engine.precision import open_accelerator

    competition = material.competition
    seed = stable_seed(config.seed, "fold", k)
    torch.manual_seed(seed)
    weights = workspace.weights(config.model.weights) if config.model.weights else None
    model, notes = build_model(config.model, config.image, len(competition.classes), weights)
    for note in notes if k == 0 else []:
        progress.note(note)
    accelerator, _ = open_accelerator(config.train.precision)  # anew: it holds on to what it has prepared
    images = _sides(config, material, store, k, seed)
    balanced = _class_counts(material, images, seed) if config.train.balance.name != "none" else {}
    if balanced and k == 0:
        progress.note(_balance_note(config.train.balance.name, balanced, images.plan.class_weights))
    trainer = FoldTrainer(
        model=model,
        images=images,
        goal=_goal(config, competition, images, accelerator.device),
        recipe=config.train,
        augment=config.augment,
        accelerator=accelerator,
        folder=folder,
        seed=seed,
        about={
            "classes": competition.classes,
            "model": config.model.model_dump(),
            "preprocessing": model.preprocessing.as_dict(),
        },
    )
    try:
        result = trainer.fit(progress, f"fold {k}")
    except torch.OutOfMemoryError as error:
        raise KitError(
            "train.batch_size",
            f"{config.train.batch_size} images of {model.preprocessing.size} px do not fit the GPU's memory",
            "",
            "Halve it; nothing finished is lost.",
        ) from error
    accelerator.free_memory()
    done = {
        "fold": k,
        "metric": competition.metric.name,
        **asdict(result),
        "model": file_digest(folder.model),
        "classes": balanced,
    }
    write_json(folder.done, done)
    folder.resume.unlink(missing_ok=True)


def _sides(config: Config, material: Material, store: ImageStore, k: int, seed: int) -> FoldImages:
    """Return both sides of a fold, and what an epoch takes of the training side."""
    from kit.engine.balance import plan_epochs
    from kit.engine.loop import FoldImages

    train = image_set(material, material.folds.training(material.samples, k))
    validation = image_set(material, material.folds.validation(material.samples, k))
    return FoldImages(
        store, train, validation, plan_epochs(config.train.balance, _truth(material, train), seed)
    )


def _goal(config: Config, competition: Competition, images: FoldImages, device: torch.device) -> Goal:
    """Return the loss and the metric of a fold, classes weighted as its plan says."""
    import torch

    from kit.engine.loop import Goal
    from kit.engine.losses import build_loss

    weights = images.plan.class_weights
    on_device = None if weights is None else torch.from_numpy(weights).to(device)
    loss = build_loss(config.train.loss, competition.task, on_device)
    return Goal(competition.task, competition.metric, loss)


def _truth(material: Material, images: ImageSet) -> np.ndarray:
    assert images.targets is not None  # both sides of a fold are labelled
    competition = material.competition
    return competition.task.one_hot(images.targets, len(competition.classes))


def _class_counts(material: Material, images: FoldImages, seed: int) -> dict[str, list[int]]:
    """Return class -> images of the training side, as they are and as the first epoch shows them."""
    truth = _truth(material, images.train)
    before, after = truth.sum(axis=0).astype(int), images.plan.class_counts(truth, seed)
    counts = zip(before.tolist(), after.tolist(), strict=True)
    return {name: list(pair) for name, pair in zip(material.competition.classes, counts, strict=True)}


def _balance_note(name: str, counts: dict[str, list[int]], weights: np.ndarray | None) -> str:
    """Return what balancing changes, class by class, the largest class first."""
    order = sorted(counts, key=lambda c: -counts[c][0])
    if weights is not None:
        by_class = dict(zip(counts, weights, strict=True))
        shown = [f"{c} {counts[c][0]} images x {by_class[c]:.2f}" for c in order]
    else:
        shown = [f"{c} {counts[c][0]} -> {counts[c][1]}" for c in order]
    return f"balance {name}: {first_few(shown, limit=10)}"


def fold_scores(run: RunFolder) -> tuple[dict[int, float], int]:
    """Return fold -> validation score, for the folds that are trained, and how many there are to be."""
    models = read_json(run.material)["models"]
    done = {k: trained_fold(run.fold(k)) for k in range(models)}
    return {k: values["score"] for k, values in done.items() if values is not None}, models


def _environment(workspace: Workspace, seed: int, device: str, precision: str) -> dict[str, Any]:
    return {
        "kit": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "commit": _commit(workspace),
        "device": device,
        "precision": precision,
        "seed": seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit(workspace: Workspace) -> str | None:
    command = ["git", "-C", str(workspace.root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no repository: nothing to record
