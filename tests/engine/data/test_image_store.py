import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.competition.images.decode import DecodeOptions, UnreadableImageError
from kit.engine.data.foreground import Foreground, small_mask
from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture, pictures_of, reduced
from kit.engine.data.pixel_file import PixelFile


@pytest.fixture
def folder(tmp_path):
    """A red square with green around it, at (20..40, 10..30) of 64 x 48."""
    noise = np.random.default_rng(0).integers(0, 25, (48, 64, 3), dtype=np.uint8)
    pixels = noise + np.array([20, 160, 40], dtype=np.uint8)
    pixels[10:30, 20:40] = noise[10:30, 20:40] + np.array([200, 20, 30], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path


def decoded(folder, picture, **options):
    return ImageStore(folder, ImageDecoder("rgb", **options)).load(picture)


def test_a_crop_is_its_box(folder):
    crop = decoded(folder, Picture("a.png", (20, 10, 40, 30)))
    assert crop.shape == (20, 20, 3)
    assert crop[:, :, 0].min() >= 200


def test_a_margin_is_a_share_of_the_box_and_ends_at_the_border(folder):
    assert decoded(folder, Picture("a.png", (20, 10, 40, 30)), margin=0.25).shape == (30, 30, 3)
    assert decoded(folder, Picture("a.png", (0, 0, 20, 20)), margin=0.5).shape == (30, 30, 3)


def test_a_box_outside_the_image_is_an_error(folder):
    with pytest.raises(UnreadableImageError, match="lies outside the image"):
        decoded(folder, Picture("a.png", (70, 0, 90, 10)))


def test_a_box_outside_the_image_does_not_affect_other_boxes(folder):
    good, bad = Picture("a.png", (20, 10, 40, 30)), Picture("a.png", (70, 0, 90, 10))
    cache = PixelFile(folder / "a.pixels", [good, bad], [20 * 20 * 3] * 2, 10**6)
    store = ImageStore(folder, ImageDecoder("rgb"), cache)
    assert store.load(good).shape == (20, 20, 3)
    found, refused = store.load_all([good, bad])
    assert found.shape == (20, 20, 3)
    assert "lies outside the image" in str(refused)


def test_crops_of_one_file_are_decoded_together_and_equal_single_crops(folder):
    pictures = [Picture("a.png", (i, i, i + 10, i + 12)) for i in range(10)]
    expected = [decoded(folder, picture) for picture in pictures]
    cache = PixelFile(folder / "a.pixels", pictures, [10 * 12 * 3] * 10, 10**6)
    store = ImageStore(folder, ImageDecoder("rgb"), cache)
    store.load(pictures[3])
    (folder / "a.png").unlink()
    for found, pixels in zip(store.load_all(pictures), expected, strict=True):
        np.testing.assert_array_equal(found, pixels)


def test_samples_with_and_without_boxes():
    plain = pd.DataFrame({"id": ["1"], "path": ["a.png"]})
    assert pictures_of(plain) == [Picture("a.png", None)]
    boxes = plain.assign(xmin=1, ymin=2, xmax=3, ymax=4)
    assert pictures_of(boxes) == [Picture("a.png", (1, 2, 3, 4))]
    assert pictures_of(pd.concat([boxes, plain])) == [Picture("a.png", (1, 2, 3, 4)), Picture("a.png", None)]


SQUARE = np.zeros((48, 64), dtype=bool)
SQUARE[10:30, 20:40] = True


@pytest.mark.parametrize("box", [(16, 6, 44, 34), None])
def test_the_mask_covers_the_object(folder, box):
    pixels = np.asarray(Image.open(folder / "a.png"))
    mask = small_mask(pixels, box) > 0
    assert (mask & SQUARE).sum() / (mask | SQUARE).sum() > 0.9


def test_foreground_modes_mask_and_crop(folder, tmp_path):
    masked = decoded(folder, Picture("a.png"), foreground=Foreground("mask", tmp_path / "masks"))
    assert masked.shape == (48, 64, 3)
    assert masked[~SQUARE].mean() < 5
    assert masked[SQUARE][:, 0].mean() > 190
    cropped = decoded(folder, Picture("a.png"), foreground=Foreground("crop", tmp_path / "masks"))
    assert abs(cropped.shape[0] - 20) <= 2
    assert abs(cropped.shape[1] - 20) <= 2


def test_masks_are_cached_and_computed_again_when_the_file_changes(folder, tmp_path):
    foreground, masks = Foreground("mask", tmp_path / "masks"), tmp_path / "masks"
    first = decoded(folder, Picture("a.png"), foreground=foreground)
    kept = list(masks.iterdir())
    assert len(kept) == 1
    np.testing.assert_array_equal(decoded(folder, Picture("a.png"), foreground=foreground), first)
    blank = np.zeros((48, 64), np.uint8)
    Image.fromarray(blank).save(kept[0])
    assert decoded(folder, Picture("a.png"), foreground=foreground).max() == 0  # the cached mask is used
    Image.open(folder / "a.png").rotate(180).save(folder / "a.png", compress_level=1)
    assert decoded(folder, Picture("a.png"), foreground=foreground).max() > 0
    assert len(list(masks.iterdir())) == 2


def test_a_damaged_mask_is_computed_again(folder, tmp_path):
    foreground = Foreground("mask", tmp_path / "masks")
    first = decoded(folder, Picture("a.png"), foreground=foreground)
    next((tmp_path / "masks").iterdir()).write_bytes(b"cut")
    np.testing.assert_array_equal(decoded(folder, Picture("a.png"), foreground=foreground), first)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (500, 3), (64, 64)])
def test_an_image_of_one_color_keeps_its_center(size):
    mask = small_mask(np.full((size[1], size[0], 3), 90, dtype=np.uint8), None)
    assert mask.max() == 255
    assert max(mask.shape) <= 192


def test_gray_images_have_a_foreground():
    pixels = np.full((40, 40, 1), 30, dtype=np.uint8)
    pixels[12:28, 12:28] = 220
    assert small_mask(pixels, None)[20, 20] == 255


@pytest.mark.parametrize("mode", ["mask", "crop"])
def test_the_foreground_is_found_in_the_first_three_of_many_channels(folder, mode):
    colors = np.asarray(Image.open(folder / "a.png"))
    np.save(folder / "a.npy", np.dstack([colors, colors[:, :, :2]]))
    foreground = Foreground(mode, folder / "masks")
    plain = decoded(folder, Picture("a.png"), foreground=foreground)
    found = decoded(folder, Picture("a.npy"), foreground=foreground, options=DecodeOptions(channels=5))
    assert (found == np.dstack([plain, plain[:, :, :2]])).all()


@pytest.mark.parametrize("channels", [2, 4, 5, 9])
def test_every_channel_is_reduced_as_if_it_were_alone_and_cached(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 256, (48, 64, channels), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    decoder = ImageDecoder("rgb", side=10, options=DecodeOptions(channels=channels))
    picture = Picture("a.npy")
    cache = PixelFile(tmp_path / "a.pixels", [picture], [decoder.max_bytes(picture, 48, 64)], 10**6)
    found = ImageStore(tmp_path, decoder, cache).load(picture)
    alone = [reduced(values[:, :, [c]], 10) for c in range(channels)]
    assert found.shape == (10, 13, channels)
    assert (found == np.concatenate(alone, axis=2)).all()
    (tmp_path / "a.npy").unlink()
    assert (ImageStore(tmp_path, decoder, cache).load(picture) == found).all()
