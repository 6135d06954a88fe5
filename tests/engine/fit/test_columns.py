"""Metadata in training: joined to the targets, mixed with them, split again; the loss of auxiliary columns."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kit.config import AugmentConfig, ImageConfig, ModelConfig
from kit.engine.augment.mixup import build_mixing
from kit.engine.device.amp import Amp
from kit.engine.fit.columns import (
    NO_COLUMNS,
    AuxiliaryTargets,
    FoldColumns,
    JoinedTargets,
    auxiliary_loss,
)
from kit.engine.fit.train_step import TrainStep
from kit.engine.models.build import build_model
from kit.engine.models.tabular import EncodedRows, JoinColumns, layers_of

READ = EncodedRows(np.array([[0.5], [np.nan], [-1], [2]], np.float32), (None,))
PREDICTED = EncodedRows(np.array([[1, 0.5], [2, np.nan], [0, 1], [1, -1]], np.float32), (2, None))
COLUMNS = FoldColumns(READ, None, AuxiliaryTargets(PREDICTED, (0.3, 1.0)))
TARGETS = torch.eye(3)[[0, 1, 2, 0]]
ALL = torch.arange(4)


def test_targets_without_columns_are_unchanged():
    joined = JoinedTargets(TARGETS, NO_COLUMNS)
    assert torch.equal(joined[ALL], TARGETS) and joined.width == 3
    assert NO_COLUMNS.split(TARGETS) == (TARGETS, (), None)


def test_targets_with_columns_are_split_into_what_was_joined():
    joined = JoinedTargets(TARGETS, COLUMNS)
    order = torch.tensor([3, 1])
    targets, (rows,), auxiliary = COLUMNS.split(joined[order])
    assert joined.width == joined[ALL].shape[1] == 3 + 2 + 5
    assert torch.equal(targets, TARGETS[order])
    assert torch.equal(rows, READ[order])
    assert torch.equal(auxiliary, PREDICTED[order])


@pytest.mark.parametrize("kind", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_mixing_mixes_rows_and_auxiliary_targets_by_the_shares_of_the_images(kind):
    joined = JoinedTargets(TARGETS, COLUMNS)
    shades = torch.tensor([0.0, 10.0, 20.0, 30.0])
    images = shades.view(4, 1, 1, 1).expand(4, 3, 8, 8).clone()
    torch.manual_seed(3)
    mixed, values = build_mixing(AugmentConfig(**kind), joined.width, 1)(images, joined[ALL], 1)
    before = shades.roll(1)
    own = ((mixed.mean(dim=(1, 2, 3)) - before) / (shades - before))[:, None]  # the share of each image
    assert (own < 1).any()
    targets, (rows,), auxiliary = COLUMNS.split(values)
    for found, whole in ((targets, TARGETS), (rows, READ[ALL]), (auxiliary, PREDICTED[ALL])):
        torch.testing.assert_close(found, own * whole + (1 - own) * whole.roll(1, 0), atol=1e-4, rtol=0)


def test_the_auxiliary_loss_is_cross_entropy_and_squared_error_of_known_values():
    torch.manual_seed(0)
    outputs = torch.randn(4, 3)
    texts = F.cross_entropy(outputs[[0, 1, 3], :2], torch.tensor([0, 1, 0]), reduction="sum") / 4
    numbers = ((outputs[[0, 2, 3], 2] - torch.tensor([0.5, 1, -1])) ** 2).sum() / 4
    found = auxiliary_loss(outputs, PREDICTED[ALL], (2, None), (0.3, 2.0))
    torch.testing.assert_close(found, 0.3 * texts + 2 * numbers)


def test_missing_values_have_no_gradient():
    outputs = torch.randn(4, 3, requires_grad=True)
    auxiliary_loss(outputs, PREDICTED[ALL], (2, None), (1.0, 1.0)).backward()
    assert outputs.grad[2, :2].abs().sum() == 0 and outputs.grad[1, 2] == 0
    assert outputs.grad[0].abs().min() > 0


def test_a_mixed_number_is_the_mean_of_the_known_parts():
    # 0.25 of a value 2 and 0.75 of a missing one: the wanted number is 2, with weight 0.25.
    mixed = torch.tensor([[0.25 * 2, 0.75]])
    found = auxiliary_loss(torch.tensor([[5.0]]), mixed, (None,), (1.0,))
    torch.testing.assert_close(found, torch.tensor(0.25 * 9))


def small_model():
    torch.manual_seed(0)
    config = ModelConfig(
        name="simple_cnn",
        pretrained=False,
        options={"widths": [8, 16]},
        tabular=["a"],
        auxiliary=["b", "c"],
    )
    return build_model(config, ImageConfig(size=16), 3, None, READ.sizes, PREDICTED.sizes)[0].train()


def trained(micro_batch_size) -> nn.Module:
    model = small_model()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eval()  # its statistics depend on the micro-batch
    for layer in layers_of(model, JoinColumns):
        layer._with_some_missing = lambda rows: rows
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    amp = Amp(torch.device("cpu"), "fp32")
    step = TrainStep(model, optimizer, amp, F.cross_entropy, None, 0.3, None, micro_batch_size, COLUMNS)
    images = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    step(images, JoinedTargets(TARGETS, COLUMNS)[ALL], 1)
    return model


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    for (name, whole), (_, parts) in zip(
        trained(4).named_parameters(), trained(2).named_parameters(), strict=True
    ):
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4, msg=name)


def test_a_step_trains_what_reads_rows_and_what_predicts_columns():
    before, after = small_model().state_dict(), trained(4).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = ("auxiliary_columns.predict", "columns.embed", "columns.join")
    assert all(any(part in name for name in changed) for part in parts), changed
