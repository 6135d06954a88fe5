"""What an experiment's folder says: what it was begun with, how far it is, and whether to go on."""

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
)  # keys that change no trained weight


def trained_fold(folder: FoldFolder) -> dict[str, Any] | None:
    """Return what training a fold came to, or None unless its weights are whole and those it ended with."""
    if not (folder.done.exists() and folder.model.exists()):
        return None
    done: dict[str, Any] = read_json(folder.done)
    return done if file_digest(folder.model) == done["model"] else None


def is_complete(run: RunFolder, config: Config) -> bool:
    """Tell whether this very config is trained to the end, so that torch need not even be imported."""
    if config.folds.models is None:
        return False
    done = [trained_fold(run.fold(k)) is not None for k in range(config.folds.models)]
    return all(done) and run.config.exists() and load_config(run.config) == config


def forget(run: RunFolder, folds: list[int]) -> None:
    """Remove some folds' models, and what was made of all of them."""
    for k in folds:
        shutil.rmtree(run.fold(k).path, ignore_errors=True)
    held_out = [run.held_out(name) for name in run.held_out_sets()]
    for path in (run.oof, run.test, run.memory, *held_out):
        path.unlink(missing_ok=True)
    if not any(run.path.glob("fold-*/*")):  # those that stay have a precision, which is that of all
        run.precision.unlink(missing_ok=True)
    run.remove_scores()
    run.remove_partial_predictions()


def claim(run: RunFolder, config: Config, data: TrainingData) -> None:
    """Make the folder this experiment's, unless it was begun with another config, other folds or images.

    Raises:
        KitError: It was; the message says what differs.
    """
    own = {
        "folds": data.folds.fingerprint,
        "images": data.train_images,
        "models": data.folds.models,
    }
    if any(run.path.glob("fold-*/*")) and run.config.exists():
        _refuse_another_config(run, config)
        refuse_other_data(run, data)
    write_text(run.config, config_yaml(config))
    write_json(run.training_data, own)


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
            code="config_changed",
        )


def refuse_other_data(run: RunFolder, data: TrainingData) -> None:
    """Refuse to go on with other folds or images than the experiment was begun with.

    Raises:
        KitError: A model of it may have been trained on what is validation now.
    """
    begun = read_json(run.training_data)
    for key, now, what in (
        ("folds", data.folds.fingerprint, "other folds or labels than the folds CSV holds now"),
        ("images", data.train_images, "other training images than there are now"),
    ):
        if begun[key] != now:
            raise KitError(
                run.path,
                f"was trained on {what}",
                "All folds of an experiment come from one partition of the same images",
                "Train anew with --fresh, or bring them back.",
                code="data_changed",
            )


def fold_scores(run: RunFolder) -> tuple[dict[int, float], int]:
    """Return fold -> validation score, for the folds that are trained, and how many there are to be."""
    models = read_json(run.training_data)["models"]
    done = {k: trained_fold(run.fold(k)) for k in range(models)}
    return {k: values["score"] for k, values in done.items() if values is not None}, models
