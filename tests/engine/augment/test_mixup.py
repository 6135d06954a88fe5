"""Mixing: targets match images, and batches are mixed with the configured probability and epochs."""

import pytest
import torch

from kit.config import AugmentConfig
from kit.engine.augment.mixup import build_mixing, describe_mixing

VALUES = torch.tensor([0.0, 10.0, 20.0, 30.0])
IMAGES = VALUES.view(4, 1, 1, 1).expand(4, 3, 8, 8).clone()
KINDS = [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}]


def is_mixed(images):
    return not torch.equal(images, IMAGES)


def test_without_mixup_and_cutmix_nothing_is_mixed():
    assert build_mixing(AugmentConfig(), 3, 10) is None
    assert build_mixing(AugmentConfig(mixup=1.0, mix_probability=0.0), 3, 10) is None
    assert build_mixing(AugmentConfig(mixup=1.0, mix_off_epochs=10), 3, 10) is None


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_the_shares_of_the_mixed_images(kind):
    mixing = build_mixing(AugmentConfig(**kind), 4, 1)
    torch.manual_seed(0)
    for _ in range(10):
        images, shares = mixing(IMAGES, torch.eye(4), 1)
        assert (images.shape, images.dtype, shares.shape) == (IMAGES.shape, IMAGES.dtype, (4, 4))
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
        torch.testing.assert_close(images.mean(dim=(1, 2, 3)), shares @ VALUES, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_mixed_with_the_same_shares(kind):
    mixing = build_mixing(AugmentConfig(**kind), 1, 1)
    numbers = -3 + VALUES.view(4, 1) / 10
    torch.manual_seed(0)
    for _ in range(10):
        images, targets = mixing(IMAGES, numbers, 1)
        assert targets.shape == (4, 1)
        torch.testing.assert_close(images.mean(dim=(1, 2, 3)), (targets[:, 0] + 3) * 10, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_multilabel_targets_are_mixed_with_the_same_shares(kind):
    mixing = build_mixing(AugmentConfig(**kind), 3, 1)
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    torch.manual_seed(0)
    for _ in range(10):
        images, mixed = mixing(IMAGES, labels, 1)
        # The pixel values show which images were mixed, and so the expected labels.
        shares = build_shares(images)
        torch.testing.assert_close(mixed, shares @ labels, atol=1e-4, rtol=0)


def build_shares(images):
    """Return the share of each image (columns) in each mixed image: of itself and of the image before it."""
    previous = VALUES.roll(1)
    own = (images.mean(dim=(1, 2, 3)) - previous) / (VALUES - previous)
    return torch.diag(own) + torch.diag(1 - own).roll(-1, dims=1)


def test_mixup_blends_pixels_and_cutmix_keeps_them():
    torch.manual_seed(0)
    blended, _ = build_mixing(AugmentConfig(mixup=1.0), 4, 1)(IMAGES, torch.eye(4), 1)
    assert all(len(image.unique()) == 1 for image in blended)
    torch.manual_seed(0)
    cut, _ = build_mixing(AugmentConfig(cutmix=1.0), 4, 1)(IMAGES, torch.eye(4), 1)
    assert set(cut.unique().tolist()) <= set(VALUES.tolist())
    assert is_mixed(cut)


def test_with_mixup_and_cutmix_each_batch_gets_one_of_them():
    mixing = build_mixing(AugmentConfig(mixup=1.0, cutmix=1.0), 4, 1)
    torch.manual_seed(0)
    blended = 0
    for _ in range(200):
        images, _ = mixing(IMAGES, torch.eye(4), 1)
        blended += any(value not in VALUES for value in images.unique())
    assert 60 < blended < 140


@pytest.mark.parametrize("probability", [0.25, 0.8, 1.0])
def test_batches_are_mixed_with_mix_probability(probability):
    mixing = build_mixing(AugmentConfig(mixup=5.0, mix_probability=probability), 4, 1)
    torch.manual_seed(0)
    share = sum(is_mixed(mixing(IMAGES, torch.eye(4), 1)[0]) for _ in range(400)) / 400
    assert share == pytest.approx(probability, abs=0.06)


def test_the_last_epochs_are_not_mixed():
    mixing = build_mixing(AugmentConfig(mixup=5.0, mix_off_epochs=3), 4, 10)
    torch.manual_seed(0)
    assert [is_mixed(mixing(IMAGES, torch.eye(4), epoch)[0]) for epoch in range(1, 11)] == [True] * 7 + [
        False
    ] * 3


def test_a_single_image_is_not_mixed():
    mixing = build_mixing(AugmentConfig(mixup=5.0), 4, 1)
    images, targets = mixing(IMAGES[1:2], torch.eye(4)[1:2], 1)
    assert torch.equal(images, IMAGES[1:2])
    assert torch.equal(targets, torch.eye(4)[1:2])


def test_mixing_depends_only_on_the_torch_generator():
    mixing = build_mixing(AugmentConfig(mixup=1.0, cutmix=1.0, mix_probability=0.7), 4, 1)

    def draws(seed):
        torch.manual_seed(seed)
        return torch.stack([mixing(IMAGES, torch.eye(4), 1)[0] for _ in range(10)])

    assert torch.equal(draws(1), draws(1))
    assert not torch.equal(draws(1), draws(2))


def test_mixing_does_not_change_its_inputs():
    images, targets = IMAGES.clone(), torch.eye(4)
    mixing = build_mixing(AugmentConfig(mixup=1.0, cutmix=1.0), 4, 1)
    for _ in range(10):
        mixing(images, targets, 1)
    assert torch.equal(images, IMAGES)
    assert torch.equal(targets, torch.eye(4))


def test_mixing_is_described_in_one_line():
    both = AugmentConfig(mixup=0.2, cutmix=1.0, mix_probability=0.5, mix_off_epochs=2)
    assert describe_mixing(both, 10) == [
        "mixup(alpha=0.2) or cutmix(alpha=1) of batches, p=0.5, not in the last 2 epochs"
    ]
    assert describe_mixing(AugmentConfig(mixup=0.2), 10) == ["mixup(alpha=0.2) of batches"]
    assert describe_mixing(AugmentConfig(), 10) == []
