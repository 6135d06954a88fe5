import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from kit.engine.augment.pipelines import prediction_transform
from kit.engine.augment.resizing import INTERPOLATIONS, RandomResizedCrop, resized
from kit.engine.models.preprocessing import Preprocessing

RNG = np.random.default_rng(0)
PILLOWS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SHAPES = [
    (20, 30),
    (90, 25),
    (33, 70),
    (61, 47),
    (120, 200),
]  # smaller, narrower, wider, almost equal, larger


def photo(rows, columns, channels=3):
    soft = cv2.resize(RNG.integers(0, 256, (9, 9, channels), dtype=np.uint8), (columns, rows))
    noisy = soft.reshape(rows, columns, channels) + RNG.integers(-20, 21, (rows, columns, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def is_close(one, other):
    """Return whether images differ by rounding only: at most 2 of 255 anywhere, 0.3 on average."""
    distance = np.abs(one.astype(int) - np.asarray(other).reshape(one.shape).astype(int))
    return distance.max() <= 2 and distance.mean() <= 0.3


@pytest.mark.parametrize("interpolation", list(PILLOWS))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_equals_pillow(interpolation, shape, channels):
    image = photo(60, 48, channels)
    expected = Image.fromarray(image.squeeze()).resize(shape[::-1], PILLOWS[interpolation])
    result = resized(image, shape, INTERPOLATIONS[interpolation])
    assert (result.shape, result.dtype) == ((*shape, channels), np.uint8)
    assert is_close(result, expected)


def test_nearest_interpolation_keeps_the_colors_of_the_image():
    image = photo(60, 48)
    result = resized(image, (25, 30), INTERPOLATIONS["nearest"])
    colors = {tuple(pixel) for pixel in image.reshape(-1, 3)}
    assert result.shape == (25, 30, 3)
    assert {tuple(pixel) for pixel in result.reshape(-1, 3)} <= colors


@pytest.mark.parametrize("shape", [(60, 48), (24, 24)])
@pytest.mark.parametrize("interpolation", list(INTERPOLATIONS))
def test_the_result_is_writable_and_does_not_share_memory_with_the_image(shape, interpolation):
    image = photo(60, 48)
    image.setflags(write=False)
    before = image.copy()
    resized(image, shape, INTERPOLATIONS[interpolation])[:] = 0
    np.testing.assert_array_equal(image, before)


def test_the_result_does_not_depend_on_the_number_of_threads():
    image, threads = photo(300, 400), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(resized(image, (224, 224), cv2.INTER_CUBIC))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(*results)


def test_a_crop_does_not_mix_in_pixels_outside_its_box():
    image = photo(60, 48)
    crop = RandomResizedCrop((24, 24), interpolation=cv2.INTER_CUBIC)
    box = (7, 11, 40, 52)
    expected = Image.fromarray(image).crop(box).resize((24, 24), Image.Resampling.BICUBIC)
    assert is_close(crop.apply(image, box), expected)


@pytest.mark.parametrize("interpolation", list(PILLOWS))
def test_the_prediction_transform_equals_timm(interpolation):
    own = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, interpolation=interpolation, crop=0.75)
    image = photo(96, 120)
    transform = create_transform((3, 24, 24), interpolation=interpolation, crop_pct=0.75, normalize=False)
    expected = transform(Image.fromarray(image)).permute(1, 2, 0)
    assert is_close(prediction_transform(own)(image, 0), expected)
