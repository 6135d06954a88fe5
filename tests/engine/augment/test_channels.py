"""Augmentations of images whose channels are no colors."""

from dataclasses import replace

import numpy as np
import pytest

from kit.config import AugmentConfig, Component
from kit.engine.augment.channels import check_channels
from kit.engine.augment.pipelines import (
    build_step,
    describe,
    prediction_transform,
    preset_warning,
    presets,
    training_transform,
)
from kit.engine.augment.resizing import fits
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.tta.views import ModelInput, view_images_of, views
from tests.conftest import raises_kit_error

OF_COLORS = ("rand_augment", "augmix")
RNG = np.random.default_rng(0)
CROP = {"name": "RandomResizedCrop", "size": [24, 24]}


def own(channels, **changes):
    return replace(Preprocessing(24, (0.5,) * channels, (0.5,) * channels), **changes)


def image(channels):
    return RNG.integers(0, 256, (40, 60, channels), dtype=np.uint8)


@pytest.mark.parametrize("preset", [name for name in presets if name not in OF_COLORS])
@pytest.mark.parametrize("channels", [2, 4, 5, 9])
def test_every_other_preset_keeps_the_channels(preset, channels):
    augment = AugmentConfig(preset=Component(name=preset), vflip=True, erasing=0.5)
    transform = training_transform(augment, own(channels))
    for seed in range(12):
        found = transform(image(channels), seed)
        assert found.shape == (24, 24, channels)
        assert found.dtype == np.uint8


@pytest.mark.parametrize("preset", OF_COLORS)
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_presets_of_colors_are_refused_before_training(preset, channels):
    with raises_kit_error("channels_unsuitable", "augment.preset"):
        training_transform(AugmentConfig(preset=Component(name=preset)), own(channels))


def test_geometry_moves_all_channels_alike():
    """Five equal channels stay equal under a preset of geometry, and under brightness."""
    for preset in ("shift", "light", "medium"):
        transform = training_transform(AugmentConfig(preset=Component(name=preset)), own(5))
        found = transform(np.repeat(image(1), 5, axis=2), 3)
        assert (found == found[:, :, :1]).all()


def test_color_jitter_becomes_brightness_and_contrast_and_a_warning_says_so():
    medium = AugmentConfig(preset=Component(name="medium"))
    assert any("ColorJitter" in line for line in describe(medium, own(3)))
    lines = describe(medium, own(5))
    assert not any("ColorJitter" in line for line in lines)
    assert any(line.startswith("RandomBrightnessContrast") for line in lines)
    (warning,) = preset_warning(medium, 5)
    assert "ColorJitter" in warning
    assert preset_warning(medium, 3) == []
    assert preset_warning(AugmentConfig(preset=Component(name="light")), 5) == []


def test_steps_of_a_pipeline_that_need_colors_are_named():
    choice = {"name": "OneOf", "transforms": [{"name": "HueSaturationValue", "p": 0.1}, {"name": "Blur"}]}
    pipeline = [CROP, choice, {"name": "ToGray", "p": 0.01}]
    with raises_kit_error("channels_unsuitable", "augment.pipeline") as caught:
        training_transform(AugmentConfig(pipeline=pipeline), own(5))
    assert "HueSaturationValue, ToGray cannot" in str(caught.value)
    assert training_transform(AugmentConfig(pipeline=pipeline), own(3))(image(3), 0).shape == (24, 24, 3)


def test_the_check_leaves_probabilities_as_they_are():
    steps = [build_step({"name": "HorizontalFlip", "p": 0.3}, "x")]
    check_channels(steps, "x", 5)
    assert steps[0].p == 0.3


@pytest.mark.parametrize("fit", list(fits))
@pytest.mark.parametrize("channels", [1, 2, 5, 9])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_every_fit_resizes_each_channel_as_if_it_were_alone(fit, channels, interpolation):
    whole = image(channels)
    fitted = prediction_transform(own(channels, fit=fit, interpolation=interpolation))(whole, 0)
    alone = prediction_transform(own(1, fit=fit, interpolation=interpolation))
    apart = [alone(whole[:, :, [c]], 0) for c in range(channels)]
    assert (fitted == np.concatenate(apart, axis=2)).all()


@pytest.mark.parametrize("name", list(views))
def test_every_view_accepts_any_channels(name):
    component = Component(name=name)
    for each in view_images_of(component, ModelInput(24, 1.0))[:2]:
        assert each.source.transform(own(5))(image(5), 0).shape[2] == 5
