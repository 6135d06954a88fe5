"""The number format of an experiment on this machine: tried where it has to be, and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kit.config import Config
from kit.runtime.environment import processor
from kit.storage.files import read_json, write_json
from kit.storage.locks import in_turn
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData

if TYPE_CHECKING:
    import torch

    from kit.engine.device.amp import Precision


def settled_precision(
    config: Config, workspace: Workspace, data: TrainingData, run: RunFolder | None = None
) -> Precision:
    """Return the precision of a network on this device.

    On a CPU that has bf16, ``auto`` tries once what is quicker. What comes of it holds for all experiments of
    the competition that train as much of the same network at the same size, so that they can be compared, and
    share features.

    Args:
        run: An experiment, all of whose folds and predictions share it, whatever is tried later.
    """
    from kit.engine.device.amp import Precision, choose_precision, native_bf16
    from kit.engine.device.device import device_name, find_device

    device = find_device()
    chosen = choose_precision(config.train.precision, device)
    if not is_tried(config, device, chosen):
        return chosen
    machine = f"{device_name(device)}, {processor()}, {native_bf16()}"
    if run is not None and run.precision.exists():
        found = read_json(run.precision)
        if found["device"] == machine:
            return Precision(found["precision"], found["why"])
    chosen = _once(config, workspace, data, machine)
    if run is not None:
        write_json(run.precision, {"device": machine, "precision": chosen.name, "why": chosen.why})
    return chosen


def is_tried(config: Config, device: torch.device, chosen: Precision) -> bool:
    """Tell whether it takes a trial to know if what was chosen is the quicker one: bf16 on a CPU."""
    return config.train.precision == "auto" and device.type == "cpu" and chosen.name == "bf16"


def _once(config: Config, workspace: Workspace, data: TrainingData, machine: str) -> Precision:
    """Return what came of the first trial of such a network on such a machine, made now if need be."""
    from kit.engine.device.amp import Precision, native_bf16
    from kit.engine.fit.precision_trial import faster_precision
    from kit.engine.models.build import preprocessing_of, rebuild_model
    from kit.engine.models.freezing import widest

    own, _ = preprocessing_of(config.model, config.image)
    training = widest(config.model.trains)
    network = config.model.model_dump(include={"name", "options", "pool"})
    key = f"{machine}; {network}; {own.training}; {own.channels}; {training}"
    file = workspace.trials(data.competition.name)
    known = read_json(file) if file.exists() else {}
    if key not in known:
        model = rebuild_model(config.model, own, len(data.competition.classes))
        found = faster_precision(model, native_bf16(), training)
        with in_turn(file.with_suffix(".lock")):  # of two processes that have tried, the first is right
            known = read_json(file) if file.exists() else {}
            known.setdefault(key, {"name": found.name, "why": found.why})
            write_json(file, known)
    return Precision(**known[key])
