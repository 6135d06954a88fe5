import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from kit.competition import perceptual_hash
from kit.competition.perceptual_hash import TRANSFORMS, image_hash, near_index_groups


def scene(seed: int, size=(120, 90)) -> Image.Image:
    """Coarse noise made smooth: structure at several scales, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
                size, Image.Resampling.BICUBIC
            ),
            float,
        )
        for n in (3, 6, 12)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


def saved(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def groups(images, distance=9, **options):
    hashed = [image_hash(image) for image in images]
    stacked = [
        np.stack([s.hashes for s in hashed]),
        np.stack([s.thumbnail for s in hashed]),
        np.array([s.flat for s in hashed]),
    ]
    return near_index_groups(*stacked, distance, **options)


ALTERED = {
    "jpeg": lambda i: saved(i, 40),
    "half": lambda i: i.resize((60, 45)),
    "double": lambda i: i.resize((240, 180), Image.Resampling.BICUBIC),
    "another shape": lambda i: i.resize((100, 100)),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.2),
    "less contrast": lambda i: ImageEnhance.Contrast(i).enhance(0.8),
    "gray": lambda i: i.convert("L"),
    "palette": lambda i: i.convert("P"),
    "with alpha": lambda i: i.convert("RGBA"),
    "cut": lambda i: i.crop((2, 2, 117, 88)),
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_copy_is_found(name):
    images = [scene(i) for i in range(12)]
    assert groups([*images, ALTERED[name](images[5])]) == [[5, 12]]


@pytest.mark.parametrize("turn", range(8))
def test_each_symmetry_is_found_if_allowed(turn):
    image = scene(0, (90, 90))
    turned = Image.fromarray(np.ascontiguousarray(TRANSFORMS[turn](np.asarray(image.convert("L")))))
    images = [image, turned]
    by_rotation, by_mirror = turn in (0, 3, 5, 6), turn in (0, 1, 2, 4, 7)
    assert bool(groups(images)) == (turn == 0)
    assert bool(groups(images, rotations=True)) == by_rotation
    assert bool(groups(images, mirrors=True)) == by_mirror
    assert groups(images, rotations=True, mirrors=True) == [[0, 1]]


def test_different_images_do_not_match():
    assert groups([scene(i) for i in range(200)], rotations=True, mirrors=True) == []


def test_flat_images_match_no_other():
    white, noisy = Image.new("RGB", (50, 50), "white"), scene(1)
    assert groups([white, white.copy(), Image.new("L", (50, 50), 7), noisy]) == []


def test_an_image_that_matches_one_image_of_a_group_joins_it_in_any_order():
    copies = [saved(scene(3), quality) for quality in (95, 70, 40)]
    images = [scene(0), *copies, scene(1)]
    assert groups(images) == [[1, 2, 3]]
    assert groups(images[::-1]) == [[1, 2, 3]]


def test_thousands_of_equal_images_are_one_group_in_bounded_time():
    hashed = image_hash(scene(0))
    hashes, thumbnails = np.tile(hashed.hashes, (4000, 1)), np.tile(hashed.thumbnail, (4000, 1, 1))
    assert near_index_groups(hashes, thumbnails, np.zeros(4000, bool), 8) == [list(range(4000))]


def test_lookup_by_bands_finds_all_pairs(monkeypatch):
    images = [scene(i) for i in range(60)]
    images += [saved(image, 60) for image in images[:20]]
    exhaustive = groups(images)
    monkeypatch.setattr(perceptual_hash, "MAX_EXHAUSTIVE", 10)
    assert groups(images) == exhaustive
    assert len(exhaustive) == 20


def test_images_with_equal_hashes_and_different_thumbnails_do_not_match():
    hashed = [image_hash(scene(i)) for i in range(2)]
    hashes, thumbnails = np.stack([hashed[0].hashes] * 2), np.stack([s.thumbnail for s in hashed])
    assert near_index_groups(hashes, thumbnails, np.zeros(2, bool), 9) == []
    assert near_index_groups(hashes, thumbnails[[0, 0]], np.zeros(2, bool), 9) == [[0, 1]]
