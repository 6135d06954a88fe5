"""Cache of decoded images: correct pixels, never stale, within its limit, safe with several processes."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit.engine.data.cache import cache_budget, cache_files, open_cache
from kit.engine.data.datasets import channels_first
from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture
from kit.engine.data.pixel_file import ENTRY, PixelFile
from kit.storage.files import disk_usage
from tests.conftest import COLORS, RecordedProgress, draw, raises_kit_error

SIZE = (36, 32)
BYTES = 36 * 33 * 3  # a slot fits one more row


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        draw(tmp_path / f"{i}.png", COLORS["red"], i, SIZE)
    return tmp_path


PICTURES = [Picture(f"{i}.png") for i in range(6)]


def scan(folder):
    stats = {path: (folder / path).stat() for path in sorted({p.path for p in PICTURES})}
    rows = [(path, s.st_size, s.st_mtime_ns, *SIZE) for path, s in stats.items()]
    return pd.DataFrame(rows, columns=["path", "bytes", "mtime_ns", "width", "height"])


def store(folder, cache="auto", side=None, progress=None):
    decoder = ImageDecoder("rgb", side=side)
    cache_file = open_cache(
        folder / "cache", decoder, PICTURES, scan(folder), cache, progress or RecordedProgress()
    )
    return ImageStore(folder, decoder, cache_file)


def without_files(folder, found):
    """Return what a store loads while the image files are missing."""
    hidden = folder / "hidden"
    hidden.mkdir()
    for picture in PICTURES:
        (folder / picture.path).rename(hidden / picture.path)
    try:
        return found.load_all(PICTURES)
    finally:
        for picture in PICTURES:
            (hidden / picture.path).rename(folder / picture.path)


@pytest.mark.parametrize("side", [None, 20])
def test_cached_pixels_equal_decoded_pixels(folder, side):
    plain = store(folder, "none", side).load_all(PICTURES)
    store(folder, side=side).load_all(PICTURES)
    for kept, pixels in zip(without_files(folder, store(folder, side=side)), plain, strict=True):
        np.testing.assert_array_equal(kept, pixels)
    assert plain[0].shape == (SIZE[1], SIZE[0], 3) if side is None else min(plain[0].shape[:2]) == side


def test_cached_pixels_are_read_only(folder):
    found = store(folder)
    plain = found.load_all(PICTURES)[0]
    with pytest.raises(ValueError, match="read-only"):
        found.load(PICTURES[0])[:] = 0
    channels_first(found.load(PICTURES[0])).zero_()  # the tensor is a copy
    np.testing.assert_array_equal(found.load(PICTURES[0]), plain)


@pytest.mark.parametrize("changed", ["image", "side"])
def test_a_changed_image_or_setting_is_decoded_again(folder, changed):
    before = store(folder).load(PICTURES[2])
    if changed == "image":
        draw(folder / "2.png", COLORS["green"], 2, SIZE)
        os.utime(folder / "2.png", ns=(1, 1))
    after = store(folder, side=16 if changed == "side" else None).load(PICTURES[2])
    assert after.shape != before.shape or (after != before).any()


def test_pictures_beyond_the_limit_are_decoded_each_time_with_a_note(folder, monkeypatch):
    progress = RecordedProgress()
    monkeypatch.setattr("kit.engine.data.cache.cache_budget", lambda *_: 4096 + 3 * BYTES)
    found = store(folder, "2GB", progress=progress)
    plain = store(folder, "none").load_all(PICTURES)
    for _ in range(2):
        for pixels, expected in zip(found.load_all(PICTURES), plain, strict=True):
            np.testing.assert_array_equal(pixels, expected)
    (file,) = cache_files(folder / "cache")
    assert disk_usage(file) <= 2 * 4096 + 3 * BYTES
    assert "image.cache 2GB fits 3 of 6 decoded images" in progress


def test_the_least_recently_used_file_is_removed_first(folder, monkeypatch):
    for age, side in enumerate((10, 12, 14)):
        store(folder, side=side).load_all(PICTURES)
        for file in cache_files(folder / "cache"):
            os.utime(file, (age, age))
    oldest_first = cache_files(folder / "cache")
    store(folder, side=10).load(PICTURES[0])  # used again
    monkeypatch.setattr("kit.engine.data.cache.cache_budget", lambda *_: 40_000)
    store(folder, side=16).load_all(PICTURES)
    assert len(oldest_first) == 3
    assert sum(map(disk_usage, cache_files(folder / "cache"))) <= 40_000 + 4096
    assert (folder / "cache" / store(folder, side=10).cache.path.name).exists()


def test_a_damaged_slot_is_decoded_again(folder):
    found = store(folder)
    plain = found.load(PICTURES[1])
    with found.cache.path.open("r+b") as file:
        file.seek(int(found.cache.offsets[1]) + 5)
        file.write(b"\xff\x00\xff")
    np.testing.assert_array_equal(store(folder).load(PICTURES[1]), plain)


@pytest.mark.parametrize("length", [0, 5000])
def test_a_truncated_file_is_created_again(folder, length):
    found = store(folder)
    plain = found.load(PICTURES[5])
    os.truncate(found.cache.path, length)
    np.testing.assert_array_equal(store(folder).load(PICTURES[5]), plain)


def test_an_invalid_table_entry_is_ignored(folder):
    pixel_file = PixelFile(folder / "a.pixels", PICTURES, [BYTES] * 6, 10**6)
    pixel_file.write(PICTURES[1], np.ones((36, 32, 3), np.uint8))
    entry = np.array([(2**20, 2**10, 3, 0)], ENTRY).tobytes()
    with pixel_file.path.open("r+b") as file:
        file.seek(ENTRY.itemsize)
        file.write(entry)
    assert PixelFile(pixel_file.path, PICTURES, [BYTES] * 6, 10**6).read(PICTURES[1]) is None


def write_all(folder: Path, number: int, barrier) -> None:
    barrier.wait()
    pixel_file = PixelFile(folder / "shared.pixels", PICTURES, [BYTES] * 6, 10**6)
    for turn in range(200):
        for i, picture in enumerate(PICTURES):
            pixels = pixel_file.read(picture)
            assert pixels is None or (pixels == i).all(), turn
            pixel_file.write(picture, np.full((32, 36, 3), i, np.uint8))


def test_two_processes_can_write_at_once(folder):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    writers = [context.Process(target=write_all, args=(folder, n, barrier)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [f.name for f in folder.glob("*shared*")] == ["shared.pixels"]


def test_a_loader_process_opens_the_same_file(folder):
    pixel_file = PixelFile(folder / "a.pixels", PICTURES, [BYTES] * 6, 10**6)
    again = pickle.loads(pickle.dumps(pixel_file))
    again.write(PICTURES[3], np.full((4, 5, 3), 7, np.uint8))
    np.testing.assert_array_equal(pixel_file.read(PICTURES[3]), np.full((4, 5, 3), 7))


def test_a_full_disk_stops_caching_only(folder, monkeypatch):
    found = store(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    plain = store(folder, "none").load_all(PICTURES)
    for pixels, expected in zip(found.load_all(PICTURES), plain, strict=True):
        np.testing.assert_array_equal(pixels, expected)
    assert not found.cache.is_writable


def test_without_a_cache_folder_images_are_decoded_each_time(folder):
    (folder / "cache").write_text("a file where the folder should be")
    progress = RecordedProgress()
    assert store(folder, progress=progress).load(PICTURES[0]).shape == (32, 36, 3)
    assert "decoded images cannot be cached" in progress


def test_cache_budget(tmp_path):
    assert cache_budget("none", tmp_path) == 0
    assert cache_budget("500MB", tmp_path) == 500_000_000
    assert cache_budget("1.5 GB", tmp_path / "not" / "there") == 1_500_000_000
    assert cache_budget("auto", tmp_path / "not" / "there") > 0
    with raises_kit_error("option_invalid", "image.cache"):
        cache_budget("lots", tmp_path)
