"""State of an experiment's folder: its config and data, which folds are trained, whether it can resume."""

from __future__ import annotations

import shutil
from typing import Any

from kit.config import Config
from kit.config.load import config_yaml, differences, load_config
from kit.errors import KitError
from kit.storage.files import file_digest, read_json, write_json, write_text
from kit.storage.workspace import FoldFolder, RunFolder
from kit.training.data import TrainingData

AFTER_TRAINING = (
    "predict.",
    "decide",
    "submission.",
    "competition.data",
    "competition.test.",
    "competition.unlisted",
    "competition.held_out",
    "competition.leaks",
    "competition.near",
    "train.workers",
    "image.cache",
    "checkpoint.",
)  # keys that do not affect trained weights


def trained_fold(folder: FoldFolder) -> dict[str, Any] | None:
    """Return the result of a trained fold; None if it is not trained or its weights file differs."""
    if not (folder.done.exists() and folder.model.exists()):
        return None
    done: dict[str, Any] = read_json(folder.done)
    return done if file_digest(folder.model) == done["model"] else None


def is_complete(run: RunFolder, config: Config) -> bool:
    """Return whether exactly this config is fully trained; does not import torch."""
    if config.folds.models is None:
        return False
    done = [trained_fold(run.fold(k)) is not None for k in range(config.folds.models)]
    return all(done) and run.config.exists() and load_config(run.config) == config


def forget(run: RunFolder, folds: list[int]) -> None:
    """Remove the models of some folds, and all predictions and scores."""
    for k in folds:
        shutil.rmtree(run.fold(k).path, ignore_errors=True)
    held_out = [run.held_out(name) for name in run.held_out_sets()]
    for path in (run.oof, run.test, run.memory, *held_out):
        path.unlink(missing_ok=True)
    if not any(run.path.glob("fold-*/*")):  # remaining folds keep their common precision
        run.precision.unlink(missing_ok=True)
    run.remove_scores()
    run.remove_partial_predictions()


def claim(run: RunFolder, config: Config, data: TrainingData) -> None:
    """Write config and data digests to the folder.

    Raises:
        KitError: The experiment was started with another config, other folds or other images.
    """
    current = {
        "folds": data.folds.fingerprint,
        "images": data.train_images,
        "models": data.folds.models,
    }
    if any(run.path.glob("fold-*/*")) and run.config.exists():
        _refuse_other_config(run, config)
        refuse_other_data(run, data)
    write_text(run.config, config_yaml(config))
    write_json(run.training_data, current)


def _refuse_other_config(run: RunFolder, config: Config) -> None:
    ignored: tuple[str, ...] = AFTER_TRAINING
    if config.train.keep == "last" and config.train.patience is None:
        ignored = (*ignored, "competition.metric")  # the metric chose no epoch
    changed = [line for line in differences(load_config(run.config), config) if not line.startswith(ignored)]
    if changed:
        listed = "".join(f"\n  - {line}" for line in changed)
        raise KitError(
            run.path,
            f"was started with another config:{listed}\n",
            "One experiment is one config",
            "Use another name (`--set name=…`), or train again with --fresh.",
            code="config_changed",
        )


def refuse_other_data(run: RunFolder, data: TrainingData) -> None:
    """Refuse to continue with other folds or images than the experiment was started with.

    Raises:
        KitError: Folds or images differ: a model may have been trained on current validation images.
    """
    started = read_json(run.training_data)
    for key, now, what in (
        ("folds", data.folds.fingerprint, "other folds or labels than those in the folds CSV"),
        ("images", data.train_images, "other training images than the current ones"),
    ):
        if started[key] != now:
            raise KitError(
                run.path,
                f"was trained on {what}",
                "All folds of an experiment use one partition of the same images",
                "Train again with --fresh, or restore the old folds and images.",
                code="data_changed",
            )


def fold_scores(run: RunFolder) -> tuple[dict[int, float], int]:
    """Return fold -> validation score of the trained folds, and the number of all folds."""
    models = read_json(run.training_data)["models"]
    done = {k: trained_fold(run.fold(k)) for k in range(models)}
    return {k: values["score"] for k, values in done.items() if values is not None}, models
