"""Decoded pictures on disk: the same pixels, never stale, never more room than allowed, whoever writes."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit.engine.data.cache import cache_budget, kept_files, open_cache
from kit.engine.data.datasets import channels_first
from kit.engine.data.image_store import ImageStore, Picture, Rendering
from kit.engine.data.pixel_file import ENTRY, PixelFile
from kit.storage.files import disk_usage
from tests.conftest import COLOURS, Heard, draw, raises_kit_error

SIZE = (36, 32)
BYTES = 36 * 33 * 3  # a slot has room for one more row


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        draw(tmp_path / f"{i}.png", COLOURS["red"], i, SIZE)
    return tmp_path


PICTURES = [Picture(f"{i}.png") for i in range(6)]


def scan(folder):
    stats = {path: (folder / path).stat() for path in sorted({p.path for p in PICTURES})}
    rows = [(path, s.st_size, s.st_mtime_ns, *SIZE) for path, s in stats.items()]
    return pd.DataFrame(rows, columns=["path", "bytes", "mtime_ns", "width", "height"])


def store(folder, cache="auto", side=None, heard=None):
    rendering = Rendering("rgb", side=side)
    kept = open_cache(folder / "kept", rendering, PICTURES, scan(folder), cache, heard or Heard())
    return ImageStore(folder, rendering, kept)


def without_files(folder, found):
    """Return what a store gives once the images themselves are hidden."""
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
def test_what_is_kept_is_what_decoding_gives(folder, side):
    plain = store(folder, "none", side).load_all(PICTURES)
    store(folder, side=side).load_all(PICTURES)
    for kept, pixels in zip(without_files(folder, store(folder, side=side)), plain, strict=True):
        np.testing.assert_array_equal(kept, pixels)
    assert plain[0].shape == (SIZE[1], SIZE[0], 3) if side is None else min(plain[0].shape[:2]) == side


def test_what_is_kept_cannot_be_changed_by_who_reads_it(folder):
    found = store(folder)
    plain = found.load_all(PICTURES)[0]
    with pytest.raises(ValueError, match="read-only"):
        found.load(PICTURES[0])[:] = 0
    channels_first(found.load(PICTURES[0])).zero_()  # what goes on from it is a copy
    np.testing.assert_array_equal(found.load(PICTURES[0]), plain)


@pytest.mark.parametrize("changed", ["image", "side"])
def test_nothing_stale_is_served(folder, changed):
    before = store(folder).load(PICTURES[2])
    if changed == "image":
        draw(folder / "2.png", COLOURS["green"], 2, SIZE)
        os.utime(folder / "2.png", ns=(1, 1))
    after = store(folder, side=16 if changed == "side" else None).load(PICTURES[2])
    assert after.shape != before.shape or (after != before).any()


def test_pictures_beyond_the_room_are_decoded_each_time_and_it_says_so(folder, monkeypatch):
    heard = Heard()
    monkeypatch.setattr("kit.engine.data.cache.cache_budget", lambda *_: 4096 + 3 * BYTES)
    found = store(folder, "2GB", heard=heard)
    plain = store(folder, "none").load_all(PICTURES)
    for _ in range(2):
        for pixels, expected in zip(found.load_all(PICTURES), plain, strict=True):
            np.testing.assert_array_equal(pixels, expected)
    (file,) = kept_files(folder / "kept")
    assert disk_usage(file) <= 2 * 4096 + 3 * BYTES
    assert "image.cache 2GB has room for 3 of 6 decoded images" in heard


def test_the_file_that_was_used_last_makes_way_last(folder, monkeypatch):
    for age, side in enumerate((10, 12, 14)):
        store(folder, side=side).load_all(PICTURES)
        for file in kept_files(folder / "kept"):
            os.utime(file, (age, age))
    oldest_first = kept_files(folder / "kept")
    store(folder, side=10).load(PICTURES[0])  # used again
    monkeypatch.setattr("kit.engine.data.cache.cache_budget", lambda *_: 40_000)
    store(folder, side=16).load_all(PICTURES)
    assert len(oldest_first) == 3
    assert sum(map(disk_usage, kept_files(folder / "kept"))) <= 40_000 + 4096
    assert (folder / "kept" / store(folder, side=10).kept.path.name).exists()


def test_a_slot_that_was_cut_short_is_decoded_again(folder):
    found = store(folder)
    plain = found.load(PICTURES[1])
    with found.kept.path.open("r+b") as file:
        file.seek(int(found.kept.offsets[1]) + 5)
        file.write(b"\xff\x00\xff")
    np.testing.assert_array_equal(store(folder).load(PICTURES[1]), plain)


@pytest.mark.parametrize("length", [0, 5000])
def test_a_file_that_was_cut_is_made_anew(folder, length):
    found = store(folder)
    plain = found.load(PICTURES[5])
    os.truncate(found.kept.path, length)
    np.testing.assert_array_equal(store(folder).load(PICTURES[5]), plain)


def test_an_entry_that_lies_is_not_believed(folder):
    kept = PixelFile(folder / "a.pixels", PICTURES, [BYTES] * 6, 10**6)
    kept.write(PICTURES[1], np.ones((36, 32, 3), np.uint8))
    entry = np.array([(2**20, 2**10, 3, 0)], ENTRY).tobytes()
    with kept.path.open("r+b") as file:
        file.seek(ENTRY.itemsize)
        file.write(entry)
    assert PixelFile(kept.path, PICTURES, [BYTES] * 6, 10**6).read(PICTURES[1]) is None


def write_all(folder: Path, number: int, barrier) -> None:
    barrier.wait()
    kept = PixelFile(folder / "shared.pixels", PICTURES, [BYTES] * 6, 10**6)
    for turn in range(200):
        for i, picture in enumerate(PICTURES):
            pixels = kept.read(picture)
            assert pixels is None or (pixels == i).all(), turn
            kept.write(picture, np.full((32, 36, 3), i, np.uint8))


def test_two_writers_do_not_disturb_each_other(folder):
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
    kept = PixelFile(folder / "a.pixels", PICTURES, [BYTES] * 6, 10**6)
    again = pickle.loads(pickle.dumps(kept))
    again.write(PICTURES[3], np.full((4, 5, 3), 7, np.uint8))
    np.testing.assert_array_equal(kept.read(PICTURES[3]), np.full((4, 5, 3), 7))


def test_a_full_disk_ends_the_keeping_and_not_the_training(folder, monkeypatch):
    found = store(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    plain = store(folder, "none").load_all(PICTURES)
    for pixels, expected in zip(found.load_all(PICTURES), plain, strict=True):
        np.testing.assert_array_equal(pixels, expected)
    assert not found.kept.is_writable


def test_where_nothing_can_be_kept_images_are_decoded_each_time(folder):
    (folder / "kept").write_text("a file where the folder should be")
    heard = Heard()
    assert store(folder, heard=heard).load(PICTURES[0]).shape == (32, 36, 3)
    assert "decoded images cannot be kept" in heard


def test_the_budget(tmp_path):
    assert cache_budget("none", tmp_path) == 0
    assert cache_budget("500MB", tmp_path) == 500_000_000
    assert cache_budget("1.5 GB", tmp_path / "not" / "there") == 1_500_000_000
    assert cache_budget("auto", tmp_path / "not" / "there") > 0
    with raises_kit_error("option_invalid", "image.cache"):
        cache_budget("lots", tmp_path)
