"""Choose the precision of an experiment on this machine; measure once if needed, and store the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.config import Config
from kit.runtime.environment import processor
from kit.storage.files import read_json, write_json
from kit.storage.locks import waiting_lock
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData

if TYPE_CHECKING:
    import torch

    from kit.engine.device.amp import Precision


def settled_precision(
    config: Config, workspace: Workspace, data: TrainingData, run: RunFolder | None = None
) -> Precision:
    """Return the precision of a network on this device.

    On a CPU with bf16, ``auto`` measures once which precision is faster. The result holds for all experiments
    of the competition with the same network, size and number of trained stages, so they stay comparable and
    share features.

    Args:
        run: The experiment; all its folds and predictions use one precision.
    """
    from kit.engine.device.amp import Precision, choose_precision, native_bf16
    from kit.engine.device.device import device_name, find_device

    device = find_device()
    chosen = choose_precision(config.train.precision, device)
    if not needs_trial(config, device, chosen):
        return chosen
    machine = f"{device_name(device)}, {processor()}, {native_bf16()}"
    if run is not None and run.precision.exists():
        stored = read_json(run.precision)
        if stored["device"] == machine:
            return Precision(stored["precision"], stored["why"])
    chosen = _stored_or_measured(config, workspace, data, machine)
    if run is not None:
        write_json(run.precision, {"device": machine, "precision": chosen.name, "why": chosen.why})
    return chosen


def needs_trial(config: Config, device: torch.device, chosen: Precision) -> bool:
    """Return whether the precision must be measured: ``auto`` chose bf16 on a CPU."""
    return config.train.precision == "auto" and device.type == "cpu" and chosen.name == "bf16"


def _stored_or_measured(config: Config, workspace: Workspace, data: TrainingData, machine: str) -> Precision:
    """Return the stored measurement of this network on this machine; measure if there is none."""
    from kit.engine.device.amp import Precision, native_bf16
    from kit.engine.fit.precision_trial import faster_precision
    from kit.engine.models.build import preprocessing_of, rebuild_model
    from kit.engine.models.freezing import widest

    own, _ = preprocessing_of(config.model, config.image)
    training = widest(config.model.trains)
    network = config.model.model_dump(include={"name", "options", "pool"})
    key = f"{machine}; {network}; {own.training}; {own.channels}; {training}"
    file = workspace.precision_trials(data.competition.name)
    known = read_json(file) if file.exists() else {}
    if key not in known:
        model = rebuild_model(config.model, own, len(data.competition.classes))
        found = faster_precision(model, native_bf16(), training)
        with waiting_lock(file.with_suffix(".lock")):  # if two processes measure, the first result counts
            known = read_json(file) if file.exists() else {}
            known.setdefault(key, {"name": found.name, "why": found.why})
            write_json(file, known)
    return Precision(**known[key])
