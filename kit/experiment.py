"""All folds of one config: trained, resumed, predicted; whatever is done already is not done again."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from kit import __version__
from kit.config import Config, config_yaml, differences, load_config
from kit.errors import KitError
from kit.folds import Folds
from kit.material import Material, image_set, prepare
from kit.progress import SILENT, Progress
from kit.seeds import stable_seed
from kit.workspace import FoldFolder, RunFolder, Workspace, read_json, write_json, write_text

if TYPE_CHECKING:
    from kit.engine.images import ImageStore

AFTER_TRAINING = (
    "predict.",
    "submission.",
    "competition.data",
    "competition.metric",
    "train.workers",
    "image.cache",
)
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
    if fresh or not _is_complete(run, config):
        from kit.engine.recipe import check_recipe

        check_recipe(config)
    material = prepare(config, workspace, progress)
    odd = [k for k in only if not 0 <= k < material.folds.count]
    if odd:
        raise KitError(
            f"--fold {odd[0]}", "there is no such fold", f"Folds are 0..{material.folds.count - 1}"
        )
    wanted = list(only) or list(range(material.folds.count))
    _claim(run, config, material.folds, fresh)
    todo = [k for k in wanted if not run.fold(k).done.exists()]
    for k in sorted(set(wanted) - set(todo)):
        progress.note(f"fold {k} is already trained: {read_json(run.fold(k).done)['score']:.4f}")
    if todo:
        _train_folds(config, workspace, material, run, todo, progress)
    return run


def _is_complete(run: RunFolder, config: Config) -> bool:
    """Tell whether this very config is trained to the end, so that torch need not even be imported."""
    done = [run.fold(k).done.exists() for k in range(config.folds.count)]
    return all(done) and run.config.exists() and load_config(run.config) == config


def _claim(run: RunFolder, config: Config, folds: Folds, fresh: bool) -> None:
    """Make the folder this experiment's, unless it belongs to another config or other folds."""
    if run.blend.exists():
        raise KitError(run.path, "is a blend", "Names are shared", "Give the experiment another name.")
    if fresh and run.path.exists():
        shutil.rmtree(run.path)
    begun = sorted(run.path.glob("fold-*/*"))
    if begun and run.config.exists():
        changed = [
            line
            for line in differences(load_config(run.config), config)
            if not line.startswith(AFTER_TRAINING)
        ]
        if changed:
            listed = "".join(f"\n  - {line}" for line in changed)
            raise KitError(
                run.path,
                f"was begun with another config:{listed}\n",
                "One experiment is one config",
                "Give this one another name (`--set name=…`), or train anew with --fresh.",
            )
        trained_on = {read_json(done)["folds"] for done in run.path.glob("fold-*/done.json")}
        if trained_on - {folds.fingerprint}:
            raise KitError(
                run.path,
                "was trained on other folds than the folds CSV holds now",
                "All folds of an experiment come from one partition",
                "Train anew with --fresh, or bring the folds CSV back.",
            )
    write_text(run.config, config_yaml(config))


def _train_folds(
    config: Config,
    workspace: Workspace,
    material: Material,
    run: RunFolder,
    todo: list[int],
    progress: Progress,
) -> None:
    from kit.engine.images import ImageStore
    from kit.engine.precision import open_accelerator

    accelerator, precision = open_accelerator(config.train.precision)
    progress.note(f"device {accelerator.device}, precision {precision}")
    write_json(run.environment, _environment(workspace, config.seed, str(accelerator.device), str(precision)))
    store = ImageStore(material.competition.root, config.image.mode, config.image.cache)
    store.preload(list(material.samples["path"]), progress)
    for k in todo:
        _train_fold(config, workspace, material, store, accelerator, run.fold(k), k, progress)


def _train_fold(
    config: Config,
    workspace: Workspace,
    material: Material,
    store: ImageStore,
    accelerator: Any,
    folder: FoldFolder,
    k: int,
    progress: Progress,
) -> None:
    import torch

    from kit.engine.checkpoints import digest
    from kit.engine.loop import FoldTrainer
    from kit.engine.losses import build_loss
    from kit.engine.models import build_model

    competition = material.competition
    seed = stable_seed(config.seed, "fold", k)
    torch.manual_seed(seed)
    weights = workspace.weights(config.model.weights) if config.model.weights else None
    model, notes = build_model(config.model, config.image, len(competition.classes), weights)
    for note in notes if k == 0 else []:
        progress.note(note)
    trainer = FoldTrainer(
        model=model,
        store=store,
        train=image_set(material, material.samples["fold"] != k),
        validation=image_set(material, material.samples["fold"] == k),
        recipe=config.train,
        augment=config.augment,
        task=competition.task,
        metric=competition.metric,
        loss=build_loss(config.train.loss, competition.task),
        accelerator=accelerator,
        folder=folder,
        seed=seed,
        about={
            "classes": competition.classes,
            "model": config.model.model_dump(),
            "preprocessing": model.preprocessing.as_dict(),
            "mode": config.image.mode,
        },
    )
    result = trainer.fit(progress, f"fold {k}")
    done = {"fold": k, **asdict(result), "folds": material.folds.fingerprint, "model": digest(folder.model)}
    write_json(folder.done, done)
    folder.resume.unlink(missing_ok=True)


def fold_scores(run: RunFolder, count: int) -> dict[int, float]:
    """Return fold -> validation score of the weights kept, for the folds that are trained."""
    return {k: read_json(run.fold(k).done)["score"] for k in range(count) if run.fold(k).done.exists()}


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
