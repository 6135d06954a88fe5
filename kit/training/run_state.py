"""State of an experiment's folder: its config and data, which folds are trained, whether it can resume."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from kit.config import Config
from kit.config.load import config_yaml, differences, load_stored_config
from kit.errors import KitError, first_few
from kit.folds.table import Folds
from kit.storage.files import write_text
from kit.storage.provenance import Identity, read_artifact, write_artifact
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData
from kit.training.trained_folds import (
    DamagedFoldError,
    TrainedFold,
    retraining,
    trained_folds,
    training_digest,
    without_effect_on_weights,
)

# Inputs of all folds, for messages.
WHAT = {"folds": "folds or labels", "images": "training images or metadata"}


def is_complete(run: RunFolder, config: Config) -> bool:
    """Return whether exactly this config is fully trained; does not import torch."""
    if config.folds.models is None:
        return False
    try:
        done = trained_folds(run, config.folds.models)
    except DamagedFoldError:
        return False
    is_trained = len(done) == config.folds.models
    return is_trained and run.config.exists() and load_stored_config(run.config) == config


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
    if any(run.path.glob("fold-*/*")) and run.config.exists():
        _refuse_other_config(run, config)
        refuse_other_data(run, data)
    write_text(run.config, config_yaml(config))
    record_training_data(run, data)


def record_training_data(run: RunFolder, data: TrainingData) -> None:
    """Write the number of folds, and the digests of folds and images."""
    write_artifact(run.training_data, {"models": data.folds.models}, _identity(run), inputs_of(data))


def inputs_of(data: TrainingData) -> dict[str, str]:
    """Return the digests of folds and images: what all folds of an experiment are trained on."""
    return {"folds": data.folds.fingerprint, "images": data.train_images}


def _identity(run: RunFolder) -> Identity:
    return Identity(run.label, "training_data")


def read_training_data(run: RunFolder) -> tuple[int, Mapping[str, str]]:
    """Return the number of folds of an experiment, and the digests of the folds and images it started with.

    Raises:
        KitError: The record is missing, damaged, or of another experiment.
    """
    values, provenance = read_artifact(run.training_data, _identity(run), "kit train CONFIG --fresh")
    return int(values["models"]), provenance.inputs


def runs_of_other_folds(workspace: Workspace, competition: str, folds: Folds) -> list[RunFolder]:
    """Return the trained experiments of a competition whose folds are not these.

    An experiment whose record is damaged is not among them: `kit status` reports it.
    """
    experiments = [run for run in workspace.runs() if run.competition == competition and run.config.exists()]
    return [run for run in experiments if _started_with(run) not in (None, folds.fingerprint)]


def _started_with(run: RunFolder) -> str | None:
    """Return the fingerprint of the folds that an experiment was started with; None if unknown."""
    try:
        return read_training_data(run)[1].get("folds")
    except KitError:
        return None


def _refuse_other_config(run: RunFolder, config: Config) -> None:
    ignored = without_effect_on_weights(config)
    lines = differences(load_stored_config(run.config), config)
    changed = [line for line in lines if not line.startswith(ignored)]
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
    _, started = read_training_data(run)
    for key, what in WHAT.items():
        if started.get(key) != inputs_of(data)[key]:
            raise KitError(
                run.path,
                f"was trained on other {what}",
                "All folds of an experiment use one partition of the same images",
                "Train again with --fresh, or restore the old folds and images.",
                code="data_changed",
            )


def refuse_other_folds(run: RunFolder, folds: Sequence[TrainedFold], config: Config) -> None:
    """Refuse folds that were trained with other data than the experiment, or before its config was edited.

    Raises:
        KitError: A fold comes from another training, such as one on another machine.
    """
    _, started = read_training_data(run)
    wanted = {**started, "config": training_digest(config)}
    what = {**WHAT, "config": "values of config.yaml"}
    for k, fold in enumerate(folds):
        other = [what[key] for key in what if fold.inputs.get(key) != wanted[key]]
        if other:
            raise KitError(
                run.fold(k).path,
                f"was trained with other {first_few(other)} than {run.label} has now",
                "All folds of an experiment have the same config, folds and images",
                f"Restore what changed, or train again: `{retraining(run)} --fresh`.",
                code="fold_of_other_training",
            )


def fold_scores(run: RunFolder) -> tuple[dict[int, float], int]:
    """Return fold -> validation score of the trained folds, and the number of all folds."""
    models, _ = read_training_data(run)
    return {k: fold.score for k, fold in trained_folds(run, models, verify=False).items()}, models
