"""Steps do not wait for the device, and the next batch is loaded during a step."""

import multiprocessing

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kit.config import AugmentConfig
from kit.engine.augment.mixup import build_mixing
from kit.engine.data.datasets import EpochBatches, Item, make_loader
from kit.engine.device.amp import Amp
from kit.engine.device.prefetch import NoStream, _ahead, on_device
from kit.engine.fit.monitoring import Watch
from kit.engine.fit.train_step import TrainStep

CPU = torch.device("cpu")
META = torch.device("meta")  # tensors of this device have no values: reading one is an error


@pytest.mark.parametrize("micro_batch_size", [8, 4])
@pytest.mark.parametrize("mixed", [{"mixup": 0.2}, {"cutmix": 1.0}, {}])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_a_step_never_waits_for_a_value_on_the_device(optimizer, mixed, micro_batch_size):
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(4 * 36, 4)]
    model = nn.Sequential(*layers).to(META)
    mixing = build_mixing(AugmentConfig(**mixed), 4, 5)
    learning = optimizer(model.parameters(), lr=0.1)
    step = TrainStep(
        model, learning, Amp(torch.device("cpu"), "fp32"), F.cross_entropy, mixing, 0.3, 1.0, micro_batch_size
    )
    watch = Watch(META)
    images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8, device=META)
    for number in range(2):
        watch.note(step(images, torch.zeros(8, 4, device=META), 1), 8, number)
    with pytest.raises(RuntimeError, match="meta"):
        watch.read()


def test_the_next_batch_is_moved_before_the_current_one_is_used():
    events = []

    def move(batch):
        events.append(f"move {batch}")
        return batch

    for batch, _ in _ahead(iter("abc"), move, NoStream()):
        events.append(f"use {batch}")
    assert events == ["move a", "move b", "use a", "move c", "use b", "use c"]


def test_on_a_cpu_a_batch_is_loaded_on_demand():
    events = []
    for _, moved in on_device(iter("ab"), lambda b: events.append(b) or b.upper(), CPU):
        events.append(moved)
    assert events == ["a", "A", "b", "B"]


class ThirdBatchEvent(torch.utils.data.Dataset):
    """A dataset that sets an event when the third batch is loaded."""

    def __init__(self, third):
        self.third = third

    def __len__(self):
        return 8

    def __getitem__(self, key):
        if key.position >= 4:
            self.third.set()
        return Item(torch.zeros(3, 2, 2, dtype=torch.uint8), key.position, "")


def test_loader_processes_load_batches_during_a_step():
    third = multiprocessing.get_context("fork").Event()
    loader = iter(make_loader(ThirdBatchEvent(third), EpochBatches(8, 2, None), 1, CPU))
    next(loader)  # a training step would run now
    assert third.wait(timeout=60)
