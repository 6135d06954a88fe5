"""How images of any shape become square: alike in training, validation and for every view."""

from typing import get_args

import numpy as np
import pytest

from kit.config import AugmentConfig, Component, ImageConfig
from kit.config.load import load_config
from kit.engine.augment.pipelines import describe, prediction_transform, training_transform
from kit.engine.augment.resizing import fits
from kit.engine.models.preprocessing import Preprocessing, overridden
from kit.engine.tta.views import CenterSource
from tests.conftest import raises_kit_error, write_config

OWN = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, crop=0.875)
WIDE = np.zeros((30, 90, 3), np.uint8)
WIDE[:, :30], WIDE[:, 30:60], WIDE[:, 60:] = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def own(fit, background="#0a141e"):
    return overridden(OWN, ImageConfig(fit=fit, background=background))[0]


def colors(image):
    """Return the share of pixels near each strong color: red, green, blue."""
    return [float((image[:, :, c] > 120).mean()) for c in range(3)]


def test_crop_keeps_the_center_and_the_others_keep_everything():
    assert colors(prediction_transform(own("crop"))(WIDE, 0)) == pytest.approx([0, 1, 0], abs=0.1)
    squashed = prediction_transform(own("squash"))(WIDE, 0)
    assert colors(squashed) == pytest.approx([1 / 3] * 3, abs=0.03)
    boxed = prediction_transform(own("letterbox"))(WIDE, 0)
    assert colors(boxed) == pytest.approx([1 / 9] * 3, abs=0.03)
    assert (boxed[:8] == (10, 20, 30)).all()
    assert (boxed[16:] == (10, 20, 30)).all()
    assert (boxed[8:16] != (10, 20, 30)).any(axis=2).all()


@pytest.mark.parametrize("fit", list(fits))
@pytest.mark.parametrize("shape", [(24, 24), (1, 200), (200, 1), (25, 23), (7, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_shape_becomes_the_input_size(fit, shape, channels):
    image = np.full((*shape, channels), 77, np.uint8)
    image.flags.writeable = False
    found = prediction_transform(Preprocessing(24, (0.5,) * channels, (0.5,) * channels, fit=fit))(image, 0)
    assert found.shape == (24, 24, channels)
    assert (np.isin(found, [77, 255])).all()  # the image, and white padding
    assert found.flags.writeable


@pytest.mark.parametrize("fit", list(fits))
def test_training_without_a_random_crop_shows_images_as_validation_does(fit):
    plain = AugmentConfig(preset=Component(name="none"), hflip=False)
    shown = training_transform(plain, own(fit))(WIDE, 3)
    assert (shown == prediction_transform(own(fit))(WIDE, 0)).all()


@pytest.mark.parametrize("fit, share", [("letterbox", 1 / 9), ("squash", 1 / 3)])
def test_random_crops_are_taken_from_the_whole_image_in_its_fitted_shape(fit, share):
    augment = AugmentConfig(preset=Component(name="light", crop=0.95), hflip=False)
    transform = training_transform(augment, own(fit))
    mean = np.mean([colors(transform(WIDE, seed)) for seed in range(40)], axis=0)
    assert mean == pytest.approx([share] * 3, abs=0.06)


@pytest.mark.parametrize("fit", list(fits))
def test_a_view_of_another_size_is_fitted_alike(fit):
    view = CenterSource(48, own(fit).crop).transform(own(fit))(WIDE, 0)
    assert view.shape == (48, 48, 3)
    assert colors(view) == pytest.approx(colors(prediction_transform(own(fit))(WIDE, 0)), abs=0.05)


@pytest.mark.parametrize("fit", ["letterbox", "squash"])
def test_a_fit_that_keeps_everything_is_noted_and_refuses_a_crop(tiny, fit):
    fitted, notes = overridden(OWN, ImageConfig(fit=fit))
    assert fitted.crop == 1
    assert any("whole image" in note for note in notes)
    assert Preprocessing.from_dict(fitted.as_dict()) == fitted
    with raises_kit_error("values_contradict"):
        load_config(write_config(tiny, image__fit=fit, image__crop=0.9))


def test_a_checkpoint_of_before_has_the_center_crop():
    old = {k: v for k, v in OWN.as_dict().items() if k not in ("fit", "background")}
    assert Preprocessing.from_dict(old).fit == "crop"


def test_the_config_can_name_every_fit():
    assert set(fits) == set(get_args(ImageConfig.model_fields["fit"].annotation))


@pytest.mark.parametrize("fit", list(fits))
def test_the_steps_of_training_are_described(fit):
    lines = describe(AugmentConfig(preset=Component(name="light")), own(fit))
    assert lines[0] == ("RandomResizedCrop(scale=(0.7, 1), size=(24, 24))" if fit == "crop" else lines[0])
    assert fits.get(fit).keeps_all == lines[0].startswith("Square(fit=")
