"""Choose the precision of an experiment on this machine; measure once if needed, and store the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.config import Config
from kit.runtime.environment import processor
from kit.storage.files import read_json, write_json
from kit.storage.locks import waiting_lock
from kit.storage.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    import torch

    from kit.engine.device.amp import Precision


def settled_precision(
    config: Config, workspace: Workspace, num_classes: int, run: RunFolder | None = None
) -> Precision:
    """Return the precision of a network on this device.

    On a CPU with bf16, ``auto`` measures once which precision is faster. The result holds for all experiments
    of the competition with the same network, size and number of trained stages, so they stay comparable and
    share features.

    Args:
        run: The experiment; all its folds and predictions use one precision.
    """
    from kit.engine.device.amp import choose_precision, native_bf16
    from kit.engine.device.device import device_name, find_device

    device = find_device()
    chosen = choose_precision(config.train.precision, device)
    if not needs_trial(config, device, chosen):
        return chosen
    machine = f"{device_name(device)}, {processor()}, {native_bf16()}"
    if run is not None and (stored := _of_run(run, machine)) is not None:
        return stored
    chosen = _stored_or_measured(config, workspace, num_classes, machine)
    if run is not None:
        write_json(run.precision, {"device": machine, "precision": chosen.name, "why": chosen.why})
    return chosen


def precision_of_run(config: Config, num_classes: int, run: RunFolder) -> Precision:
    """Return the precision of a trained experiment on this device; nothing is written.

    The precision that the run has stored for this machine holds; on another one, it is chosen or measured.
    """
    from kit.engine.device.amp import choose_precision, native_bf16
    from kit.engine.device.device import device_name, find_device

    device = find_device()
    chosen = choose_precision(config.train.precision, device)
    if not needs_trial(config, device, chosen):
        return chosen
    machine = f"{device_name(device)}, {processor()}, {native_bf16()}"
    return _of_run(run, machine) or _measured(config, num_classes)


def _of_run(run: RunFolder, machine: str) -> Precision | None:
    """Return the precision that a run has stored for a machine; None if it has none."""
    from kit.engine.device.amp import Precision

    stored = read_json(run.precision) if run.precision.exists() else {}
    return Precision(stored["precision"], stored["why"]) if stored.get("device") == machine else None


def needs_trial(config: Config, device: torch.device, chosen: Precision) -> bool:
    """Return whether the precision must be measured: ``auto`` chose bf16 on a CPU."""
    return config.train.precision == "auto" and device.type == "cpu" and chosen.name == "bf16"


def _measured(config: Config, num_classes: int) -> Precision:
    """Return the faster precision of this network on this machine."""
    from kit.engine.device.amp import native_bf16
    from kit.engine.fit.precision_trial import faster_precision
    from kit.engine.models.build import preprocessing_of, rebuild_model
    from kit.engine.models.freezing import widest

    own, _ = preprocessing_of(config.model, config.image)
    model = rebuild_model(config.model, own, num_classes)
    return faster_precision(model, native_bf16(), widest(config.model.trains))


def _stored_or_measured(config: Config, workspace: Workspace, num_classes: int, machine: str) -> Precision:
    """Return the stored measurement of this network on this machine; measure if there is none."""
    from kit.engine.device.amp import Precision
    from kit.engine.models.build import preprocessing_of
    from kit.engine.models.freezing import widest

    own, _ = preprocessing_of(config.model, config.image)
    training = widest(config.model.trains)
    network = config.model.model_dump(include={"name", "options", "pool"})
    key = f"{machine}; {network}; {own.training}; {own.channels}; {training}"
    file = workspace.precision_trials(config.competition.name)
    known = read_json(file) if file.exists() else {}
    if key not in known:
        found = _measured(config, num_classes)
        with waiting_lock(file.with_suffix(".lock")):  # if two processes measure, the first result counts
            known = read_json(file) if file.exists() else {}
            known.setdefault(key, {"name": found.name, "why": found.why})
            write_json(file, known)
    return Precision(**known[key])
