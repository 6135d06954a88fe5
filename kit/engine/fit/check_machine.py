"""Check before images are read that this machine has the memory and the disk space to train a config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from kit.config import Config
from kit.engine.data.cache import cache_budget
from kit.engine.data.datasets import loader_processes
from kit.engine.device.device import device_name, find_device
from kit.engine.device.resources import (
    SHARED_MEMORY,
    Shortage,
    free_device_memory,
    full_disk_soon,
    low_device_memory,
    small_shared_memory,
)
from kit.engine.models.build import Classifier
from kit.engine.optim.schedules import kept_epoch
from kit.storage.full_disk import free_bytes, on_one_disk
from kit.storage.workspace import Workspace

CHECKPOINTS = 3  # the last, the one before, and the one being written
OPTIMIZER_STATES = 2  # numbers per trained parameter, of Adam and its like
VALIDATION_FACTOR = 2  # a batch without gradients is twice as large


def check_machine(config: Config, workspace: Workspace, model: Classifier, models: int) -> list[str]:
    """Return warnings about what may not suffice to train a config.

    Args:
        model: The network, with its trained parameters marked as in training.
        models: Number of models to train.

    Raises:
        KitError: Training cannot succeed.
    """
    warnings = []
    for shortage in _shortages(config, workspace, model, models):
        if shortage.is_certain:
            raise shortage.error
        warnings.append(str(shortage.error))
    return warnings


def _shortages(config: Config, workspace: Workspace, model: Classifier, models: int) -> Iterator[Shortage]:
    device = find_device()
    weights = _bytes(model.state_dict().values())
    trained = _bytes(p for p in model.parameters() if p.requires_grad)
    states = OPTIMIZER_STATES * trained
    found = [
        _device_memory_shortage(device, weights + trained, weights + trained + states),
        *_disk_shortages(config, workspace, models * weights, _checkpoints(config, weights, states)),
        _shared_memory_shortage(config, model, loader_processes(config.train.workers, device)),
    ]
    yield from filter(None, found)


def _device_memory_shortage(device: torch.device, needed: int, likely: int) -> Shortage | None:
    memory = free_device_memory(device)
    return None if memory is None else low_device_memory(device_name(device), *memory, needed, likely)


def _checkpoints(config: Config, weights: int, states: int) -> int:
    """Return the bytes of the checkpoints of a fold: the network, its average, the best weights so far."""
    copies = 1 + (config.train.average is not None) + (kept_epoch(config.train) == "best")
    return CHECKPOINTS * (copies * weights + states)


def _disk_shortages(
    config: Config, workspace: Workspace, models: int, checkpoints: int
) -> list[Shortage | None]:
    """Return the shortages of the disk of the run, and of that of the caches if it is another one.

    Args:
        models: Bytes of the models to train.
        checkpoints: Bytes of the checkpoints of a fold.
    """
    competition = config.competition.name
    run, caches = workspace.run(competition, config.name).path, workspace.cache(competition)
    cache = cache_budget(config.image.cache, caches)
    if on_one_disk(run, caches):
        return [full_disk_soon(run, free_bytes(run), models, checkpoints + cache)]
    return [
        full_disk_soon(run, free_bytes(run), models, checkpoints),
        full_disk_soon(caches, free_bytes(caches), 0, cache),
    ]


def _shared_memory_shortage(config: Config, model: Classifier, workers: int) -> Shortage | None:
    if workers == 0 or not SHARED_MEMORY.is_dir():
        return None
    return small_shared_memory(free_bytes(SHARED_MEMORY), largest_batch(config, model), workers)


def largest_batch(config: Config, model: Classifier) -> int:
    """Return the bytes of the largest batch that a loader process makes for training or validation."""
    own, train = model.preprocessing, config.train
    largest = max((config.image.size_by_epoch or {1: own.size}).values())
    images = (
        (train.batch_size * train.accumulate, largest),
        (VALIDATION_FACTOR * train.batch_size, own.predicting),
    )
    return max(count * own.channels * size**2 for count, size in images)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
