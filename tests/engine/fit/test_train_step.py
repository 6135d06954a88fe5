"""A step in micro-batches equals the whole step; its random numbers depend only on its seed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kit.engine.device.amp import Amp
from kit.engine.fit.train_step import TrainStep, seed_step

IMAGES = torch.randint(0, 255, (10, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.eye(4)[torch.arange(10) % 4]


class TwoHeads(nn.Module):
    """A network with an auxiliary head that records the number of images of each call."""

    def __init__(self):
        super().__init__()
        self.main, self.aux = nn.Linear(192, 4), nn.Linear(192, 4)
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        flat = images.flatten(1) / 255
        return (self.main(flat), self.aux(flat)) if self.training else self.main(flat)


def train_step(micro_batch_size: int, clip=None, weight=0.3):
    torch.manual_seed(0)
    model, amp = TwoHeads(), Amp(torch.device("cpu"), "fp32")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, TrainStep(model, optimizer, amp, F.cross_entropy, None, weight, clip, micro_batch_size)


@pytest.mark.parametrize(
    ("micro_batch_size", "parts"), [(10, [10]), (5, [5, 5]), (4, [4, 3, 3]), (1, [2] * 5)]
)
def test_a_step_in_micro_batches_equals_the_whole_step(micro_batch_size, parts):
    whole, step = train_step(micro_batch_size=99)
    expected = step(IMAGES, TARGETS, 1)
    model, step = train_step(micro_batch_size)
    loss = step(IMAGES, TARGETS, 1)
    torch.testing.assert_close(loss, expected)
    assert model.seen == parts
    for theirs, ours in zip(whole.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours)


def test_the_loss_of_auxiliary_heads_is_weighted():
    (without, plain), (model, step) = train_step(10, weight=0.0), train_step(10, weight=0.3)
    alone = plain(IMAGES, TARGETS, 1)
    expected = alone + 0.3 * F.cross_entropy(TwoHeads.forward(model, IMAGES.float())[1], TARGETS)
    torch.testing.assert_close(step(IMAGES, TARGETS, 1), expected)
    assert not torch.equal(model.aux.weight, without.aux.weight)


def test_the_gradient_is_clipped():
    model, step = train_step(10, clip=1e-3)
    before = [p.detach().clone() for p in model.parameters()]
    step(IMAGES, TARGETS, 1)
    moved = torch.cat([(p - b).flatten() for p, b in zip(model.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_random_numbers_of_a_step_depend_only_on_its_seed():
    def drawn(*position):
        seed_step(*position, torch.device("cpu"))
        return torch.rand(3).tolist()

    first = drawn(7, 2, 5)
    torch.rand(100)
    assert drawn(7, 2, 5) == first
    assert len({tuple(drawn(*position)) for position in ((7, 2, 5), (7, 2, 6), (7, 3, 5), (8, 2, 5))}) == 4
