"""The decode size: no crop is upsampled because of decoding."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kit.competition.images.decode import decode
from kit.config import AugmentConfig, Component
from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture, reduced
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.tta.decode_size import side_needed

OWN = Preprocessing(224, (0.5,) * 3, (0.5,) * 3, crop=0.875)


def needed(tiny_config, own=OWN, views=(), decode_size="auto", **augment):
    image = tiny_config.image.model_copy(update={"decode_size": decode_size})
    config = tiny_config.model_copy(update={"image": image, "augment": AugmentConfig(**augment)})
    return side_needed(config, own, [Component.model_validate(view) for view in views])


def test_the_smallest_and_narrowest_crop_has_the_training_size(tiny_config):
    side = needed(tiny_config, preset="heavy")
    narrowest = math.sqrt(0.3 * side * side * 3 / 4)
    assert 224 <= narrowest < 225


def test_the_center_crop_determines_the_size_without_augmentation(tiny_config):
    assert needed(tiny_config, preset="none") == 256
    assert needed(tiny_config, replace(OWN, predict_size=448), preset="none") == 512
    assert needed(tiny_config, replace(OWN, crop=1.0), ["five_crop"], preset="none") == 256


def test_the_size_follows_the_largest_training_size(tiny_config):
    growing = replace(OWN, training_sizes=(128, 320))
    assert needed(tiny_config, growing, preset="light") == math.ceil(320 / math.sqrt(0.7 * 0.75))


@pytest.mark.parametrize(
    "whole",
    [
        {"pipeline": [{"name": "RandomResizedCrop", "size": [224, 224]}]},
        {"views": ["random"], "preset": "none"},
        {"decode_size": "full"},
    ],
)
def test_custom_pipelines_and_random_views_need_the_full_size(tiny_config, whole):
    assert needed(tiny_config, **whole) is None


def test_a_configured_size_is_used(tiny_config):
    assert needed(tiny_config, decode_size=300) == 300


@pytest.fixture
def photo(tmp_path):
    """A smooth photo of 1600 x 1200, rotated by its EXIF tag."""
    y, x = np.mgrid[0:1200, 0:1600]
    pixels = np.stack([x * 255 / 1600, y * 255 / 1200, 128 + 100 * np.sin(x / 90)], axis=2)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    return tmp_path


@pytest.mark.parametrize("side", [1200, 700, 300, 137])
def test_a_jpeg_decoded_at_reduced_size_matches_the_reduced_image(photo, side):
    smaller = ImageStore(photo, ImageDecoder("rgb", side=side)).load(Picture("a.jpg"))
    whole = reduced(decode(photo / "a.jpg", "rgb"), side)
    assert min(smaller.shape[:2]) == side
    assert smaller.shape == whole.shape
    assert np.abs(smaller.astype(int) - whole).mean() < 1.5


def test_small_images_are_never_upsampled(photo):
    assert ImageStore(photo, ImageDecoder("rgb", side=4000)).load(Picture("a.jpg")).shape == (1600, 1200, 3)


@pytest.mark.parametrize("side", [None, 50, 333])
def test_max_bytes_is_an_upper_bound(photo, side):
    for box in (None, (10, 20, 700, 900)):
        decoder, picture = ImageDecoder("rgb", 0.1, side=side), Picture("a.jpg", box)
        (pixels,) = decoder.decode(photo, [picture])
        assert pixels.nbytes <= decoder.max_bytes(picture, 1600, 1200)
