"""What the loop does beside learning: mixing and frozen norms."""

import torch
from torch import nn

from kit.config import AugmentConfig
from kit.engine.loop import _freeze_norm, _mixing


def test_without_mixup_nothing_is_mixed():
    assert _mixing(AugmentConfig(), 3) is None


def test_mixed_targets_are_shares_of_the_images_mixed():
    images = torch.stack([torch.full((3, 8, 8), 10.0 * i) for i in range(4)])
    targets = torch.eye(4)
    torch.manual_seed(0)
    for augment in (
        AugmentConfig(mixup=1.0),
        AugmentConfig(cutmix=1.0),
        AugmentConfig(mixup=1.0, cutmix=1.0),
    ):
        mix = _mixing(augment, 4)
        for _ in range(5):
            mixed, shares = mix(images, targets)
            torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
            values = torch.tensor([0.0, 10.0, 20.0, 30.0])
            torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), shares @ values, atol=1e-3, rtol=0)


def test_frozen_norms_keep_their_statistics_and_train_their_scale():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    _freeze_norm(model)
    before = model[1].running_mean.clone()
    model(torch.randn(8, 3, 4, 4)).sum().backward()
    assert torch.equal(model[1].running_mean, before)
    assert model[1].weight.grad is not None
    assert model[0].training
