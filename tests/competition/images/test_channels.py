"""Images with other channels than one or three: kept as stored, and refused where the config says otherwise."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from kit.competition.images.decode import (
    DecodeOptions,
    UnreadableImageError,
    decode,
    header_size,
    load_image,
    num_channels,
)
from kit.competition.images.pixels import three_channel_view
from kit.competition.infer.channels import measure_channels
from kit.config import ImageConfig
from tests.competition.images.tiff import write_tiff

RNG = np.random.default_rng(0)
FIVE = RNG.integers(0, 256, (7, 10, 5), dtype=np.uint8)


def of(channels, **ranges):
    found = tuple((stored, *ends) for stored, ends in ranges.items())
    return DecodeOptions(channels=channels, ranges=found)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_an_array_keeps_its_channels_in_order(tmp_path, channels):
    np.save(tmp_path / "a.npy", FIVE[:, :, :channels])
    assert (decode(tmp_path / "a.npy", "rgb", options=of(channels)) == FIVE[:, :, :channels]).all()


@pytest.mark.parametrize("how", [{}, {"deflate": True}, {"planar": True}, {"order": ">"}, {"tile": 16}])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_a_tiff_keeps_its_channels_in_order_however_it_is_packed(tmp_path, channels, kind, how):
    if kind == np.float32 and "deflate" in how:
        how = how | {"tags": {317: [1]}, "deflate": False}
    values = RNG.integers(0, 256, (21, 40, channels)).astype(kind)
    path = write_tiff(tmp_path / "a.tif", values, **how)
    found = decode(path, "rgb", options=of(channels, all=(0, 255)))
    assert (found == values).all()
    assert header_size(path) == (40, 21)
    assert num_channels(path) == channels


def test_compressed_bytes_are_read_with_differences(tmp_path):
    """LZW by OpenCV, which writes four channels; Pillow decompresses, kit adds the differences."""
    values = RNG.integers(0, 65536, (30, 20, 4), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.tif"), values[:, :, [2, 1, 0, 3]])
    found = decode(tmp_path / "a.tif", "rgb", options=of(4))
    assert (found == (values / 65535 * 255).round()).all()


def test_float_differences_are_summed(tmp_path):
    values = RNG.uniform(0, 1, (6, 5, 4)).astype(np.float32)
    by_byte = values.astype(">f4").reshape(6, -1).view(np.uint8).reshape(6, 20, 4).transpose(0, 2, 1)
    rows = by_byte.reshape(6, 20, 4)
    stored = np.diff(rows, axis=1, prepend=np.zeros_like(rows[:, :1]))
    path = write_tiff(tmp_path / "a.tif", stored.reshape(6, -1).view("<f4").reshape(6, 5, 4), tags={317: [3]})
    found = decode(path, "rgb", options=of(4, float32=(0, 1)))
    assert (found == (values * 255).round()).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "1", "P", "RGB"])
def test_a_picture_keeps_its_stored_channels(tmp_path, mode):
    channels = {"L": 1, "LA": 2, "RGBA": 4, "CMYK": 4, "1": 1, "P": 3, "RGB": 3}[mode]
    image = Image.fromarray(FIVE[:, :, :3]).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(FIVE[:, :, 4]))
    image.save(tmp_path / "a.tif" if mode == "CMYK" else tmp_path / "a.png")
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    with pytest.raises(UnreadableImageError, match=f"it has {channels} channel"):
        decode(path, "rgb", options=of(5))
    if channels != 3:
        expected = np.asarray(image.convert("L") if mode == "1" else image).reshape(7, 10, channels)
        assert (decode(path, "rgb", options=of(channels)) == expected).all()


def test_opacity_is_a_channel_like_others_if_the_config_says_four(tmp_path):
    values = np.dstack([FIVE[:, :, :3], np.zeros((7, 10), np.uint8)])
    path = write_tiff(tmp_path / "a.tif", values, tags={262: [2], 338: [1]})
    assert (decode(path, "rgb", options=of(4)) == values).all()
    assert (decode(path, "rgb", options=DecodeOptions(background="white")) == 255).all()


@pytest.mark.parametrize("extras", [[], [0], [2, 0]])
@pytest.mark.parametrize("photometric", [1, 2])
def test_a_channel_that_no_tag_calls_opacity_is_none(tmp_path, photometric, extras):
    further = max(1, len(extras))
    channels = (3 if photometric == 2 else 1) + further
    path = write_tiff(tmp_path / "a.tif", FIVE[:, :, :channels], tags={262: [photometric], 338: extras})
    if channels == 3:  # gray, opacity and one more look like colors without a name
        assert decode(path, "rgb").shape == (7, 10, 3)
        return
    with pytest.raises(UnreadableImageError, match=f"{channels} channels, and image.channels is 3"):
        decode(path, "rgb")
    assert (decode(path, "rgb", options=of(channels)) == FIVE[:, :, :channels]).all()


def test_a_tagged_opacity_still_shows_the_background(tmp_path):
    values = np.dstack([FIVE[:, :, :3], np.zeros((7, 10), np.uint8)])
    path = write_tiff(tmp_path / "a.tif", values, tags={262: [2], 338: [2]})
    assert (decode(path, "rgb", options=DecodeOptions(background="black")) == 0).all()
    assert num_channels(path) == 3


@pytest.mark.parametrize("channels", [3, 4, 6])
def test_another_number_of_channels_is_unreadable_with_both_numbers(tmp_path, channels):
    np.save(tmp_path / "a.npy", FIVE)
    path = write_tiff(tmp_path / "a.tif", FIVE)
    for each in (tmp_path / "a.npy", path):
        with pytest.raises(
            UnreadableImageError, match=f"it has 5 channels, and image.channels is {channels}"
        ):
            decode(each, "rgb", options=of(channels))


def test_all_channels_of_deep_images_are_scaled_alike(tmp_path):
    values = RNG.integers(0, 4096, (7, 10, 4)).astype(np.uint16)
    np.save(tmp_path / "a.npy", values)
    found = decode(tmp_path / "a.npy", "rgb", options=of(4, uint16=(0, 4095)))
    assert (found == (values / 4095 * 255).round()).all()


def test_pages_are_frames_and_smaller_copies_are_not(tmp_path):
    path = write_tiff(tmp_path / "a.tif", FIVE, FIVE[::-1].copy())
    last = DecodeOptions(channels=5, frame="last")
    assert load_image(path, options=last).frames == 2
    assert (decode(path, "rgb", options=last) == FIVE[::-1]).all()
    path = write_tiff(tmp_path / "b.tif", FIVE, tags={254: [0]})
    assert load_image(path, options=of(5)).frames == 1


@pytest.mark.parametrize("damage", ["short", "jpeg", "bits"])
def test_a_damaged_or_rare_tiff_is_unreadable(tmp_path, damage):
    tags = {"short": {}, "jpeg": {259: [7]}, "bits": {258: [12] * 5}}[damage]
    path = write_tiff(tmp_path / "a.tif", FIVE, tags=tags)
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableImageError, match="truncated|compression 7|12 bits"):
        decode(path, "rgb", options=of(5))


def test_a_huge_tiff_is_refused_before_it_is_decoded(tmp_path):
    path = write_tiff(tmp_path / "a.tif", FIVE, tags={256: [60000], 257: [60000]})
    with pytest.raises(UnreadableImageError, match="million pixels"):
        decode(path, "rgb", options=of(5))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [3, 5])
def test_a_deep_tiff_that_is_not_square_is_turned_upright(tmp_path, channels, orientation):
    values = RNG.integers(0, 256, (6, 9, channels)).astype(np.uint16) * 257
    tags = {274: [orientation]} | ({262: [2]} if channels == 3 else {})
    found = decode(write_tiff(tmp_path / "a.tif", values, tags=tags), "rgb", options=of(channels))
    exif = Image.Exif()
    exif[274] = orientation
    shown = [Image.fromarray((values[:, :, c] // 257).astype(np.uint8)) for c in range(channels)]
    for image in shown:
        image.getexif()[274] = orientation
    assert (found == np.dstack([np.asarray(ImageOps.exif_transpose(image)) for image in shown])).all()


def test_the_view_of_two_channels_is_gray_and_of_more_the_first_three():
    assert (three_channel_view(FIVE) == FIVE[:, :, :3]).all()
    two = np.array([[[10, 30]]], np.uint8)
    assert three_channel_view(two).tolist() == [[[20, 20, 20]]]
    assert three_channel_view(two[:, :, :1]).tolist() == [[[10, 10, 10]]]


# --- kit init


def test_init_measures_the_channels_of_arrays_and_tiff_files(tmp_path):
    np.save(tmp_path / "a.npy", FIVE)
    write_tiff(tmp_path / "b.tif", FIVE)
    (found,) = measure_channels(tmp_path, ["a.npy", "b.tif"])
    assert (found.key, found.value) == ("image.channels", 5)
    assert found.because.startswith("2 of 2 opened images have 5 channels")


def test_init_tells_of_files_with_another_number_of_channels(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", FIVE)
    np.save(tmp_path / "3.npy", FIVE[:, :, :4])
    (found,) = measure_channels(tmp_path, [f"{number}.npy" for number in range(4)])
    assert found.value == 5
    assert "such as 3.npy with 4" in found.because


def test_init_writes_no_channels_for_pictures_and_arrays_with_channels_first(tmp_path):
    np.save(tmp_path / "a.npy", FIVE[:, :, :3])
    np.save(tmp_path / "b.npy", FIVE[:, :, 0])
    Image.fromarray(FIVE[:, :, :4]).save(tmp_path / "c.tif")
    assert measure_channels(tmp_path, ["a.npy", "b.npy", "c.tif"]) == []
    np.save(tmp_path / "first.npy", FIVE.transpose(2, 0, 1))
    assert measure_channels(tmp_path, ["first.npy"]) == []
    assert measure_channels(tmp_path, ["a.png", "b.jpg", "first.npy"]) == []


def test_gray_and_channels_exclude_each_other():
    with pytest.raises(ValueError, match="mode grey"):
        ImageConfig(mode="grey", channels=5)
