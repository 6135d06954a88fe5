"""Animations and files of several pages: the chosen frame is used, and their number is told."""

import cv2
import numpy as np
import pytest
from PIL import Image

from kit import pipeline
from kit.competition.images.decode import DecodeOptions, UnreadableImageError, decode, load_image
from kit.competition.images.pixels import frame_number
from tests.conftest import run_kit, run_kit_json, write_config

LEVELS = (10, 90, 170, 250)  # of the frames


def animation(path, levels=LEVELS, **more):
    frames = [Image.new("L", (16, 16), level) for level in levels]
    frames[0].save(path, save_all=True, append_images=frames[1:], **more)
    return path


def level(path, frame):
    return int(decode(path, "grey", options=DecodeOptions(frame=frame)).mean().round())


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
@pytest.mark.parametrize("frame, number", [("first", 0), ("middle", 2), ("last", 3), (0, 0), (1, 1), (3, 3)])
def test_the_chosen_frame_is_used(tmp_path, suffix, frame, number):
    path = animation(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert abs(level(path, frame) - LEVELS[number]) <= 2
    assert load_image(path, count_frames=True).frames == 4


def test_the_chosen_frame_of_a_deep_color_tiff_is_used(tmp_path):
    pages = [np.full((8, 8, 3), value, np.uint16) for value in (257 * 10, 257 * 90, 257 * 170)]
    cv2.imwritemulti(str(tmp_path / "a.tif"), pages)
    assert [level(tmp_path / "a.tif", number) for number in range(3)] == [10, 90, 170]
    assert load_image(tmp_path / "a.tif", count_frames=True).frames == 3


def test_a_file_of_one_frame_has_it_for_every_choice():
    assert {frame_number(1, frame) for frame in ("first", "middle", "last", 0, 7)} == {0}


def test_a_frame_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(UnreadableImageError, match=r"4 frames.*image.frame is 4"):
        level(animation(tmp_path / "a.gif"), 4)


def test_inspect_tells_how_many_images_have_several_frames_and_which_is_used(tiny):
    for number in range(2):
        animation(tiny.root / "data" / "tiny" / "train" / "red" / f"{number}.png")
    config = write_config(tiny, image__frame="last")
    found = pipeline.inspect(config, workspace=tiny).audit
    assert found.several_frames == ["train/red/0.png", "train/red/1.png"]
    assert "2 images (train/red/0.png, train/red/1.png); the last is used" in " ".join(
        run_kit("inspect", config, "--workspace", tiny.root).stdout.split()
    )


def test_init_tells_that_images_have_several_frames(tiny):
    animation(tiny.root / "data" / "tiny" / "train" / "red" / "0.gif")
    found = run_kit_json("init", "tiny", "--workspace", tiny.root)["findings"]
    (line,) = [f for f in found if f["key"] == "image.frame"]
    assert line["value"] == "first"
    assert "train/red/0.gif" in line["because"]


def test_an_image_with_too_many_pixels_is_told_with_the_key_that_raises_the_limit(tmp_path):
    Image.new("L", (100, 50)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"image.max_pixels allows 4999"):
        decode(tmp_path / "a.png", "rgb", options=DecodeOptions(max_pixels=4999))
    assert decode(tmp_path / "a.png", "rgb", options=DecodeOptions(max_pixels=5000)).shape == (50, 100, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_above_the_limit_of_pillow_is_read_if_the_config_allows_it(tmp_path):
    Image.new("1", (20_000, 9_000)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"180 million pixels"):
        load_image(tmp_path / "a.png")
    raised = DecodeOptions(max_pixels=200_000_000)
    assert load_image(tmp_path / "a.png", options=raised).image.size == (20_000, 9_000)
