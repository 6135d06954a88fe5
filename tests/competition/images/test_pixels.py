"""Deep images become eight bits by one range, whoever reads them; transparency and orientation hold for them too."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kit import pipeline
from kit.competition.audit import audit
from kit.competition.images.decode import (
    DecodeOptions,
    UnreadableImageError,
    decode,
    load_image,
    stored_values,
)
from kit.competition.images.pixels import DEFAULTS, eight_bits
from kit.competition.infer.pixel_range import measure_ranges
from kit.competition.opened import open_competition
from kit.competition.samples import load_competition
from kit.competition.scan import channel_moments, scan_images
from kit.config import NearConfig
from kit.config.load import load_config
from kit.engine.data.image_store import ImageDecoder
from kit.errors import KitError
from tests.conftest import (
    RecordedProgress,
    draw_class_folders,
    raises_kit_error,
    run_kit,
    run_kit_json,
    write_config,
)

RAMP = np.linspace(0, 1, 256).reshape(16, 16)
TWELVE = (RAMP * 4095).astype(np.uint16)


def options(**ranges):
    return DecodeOptions(ranges=tuple((name, *pair) for name, pair in ranges.items()))


def png(path, values, *chunks):
    """Write a 16-bit PNG of 1 to 4 channels (H, W, C), with further chunks before its pixels."""
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    crc = [struct.pack(">I", zlib.crc32(name + data)) for name, data in parts]
    body = [struct.pack(">I", len(d)) + n + d + c for (n, d), c in zip(parts, crc, strict=True)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    return path


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.sampled_from([np.float32, np.float64, np.int32]))
def test_black_becomes_0_white_255_and_the_order_of_values_is_kept(low, width, kind):
    white = low + width
    values = np.sort(np.linspace(low - width, white + width, 50)).astype(kind).reshape(5, 10)
    found = (
        np.asarray(eight_bits(values, options(**{values.dtype.name: (low, white)}), "x")).ravel().astype(int)
    )
    assert (np.diff(found) >= 0).all()
    assert (found[values.ravel() < low] == 0).all()
    assert (found[values.ravel() > white] == 255).all()


def test_not_a_number_is_black_and_infinity_white():
    values = np.array([[np.nan, -np.inf, np.inf, 0.5]], np.float32)
    assert np.asarray(eight_bits(values, options(float32=(0, 1)), "x")).tolist() == [[0, 0, 255, 128]]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_values_without_a_usual_range_are_refused(tmp_path, kind):
    Image.fromarray(TWELVE.astype(kind)).save(tmp_path / "a.tif")
    with raises_kit_error("range_missing", where=str(tmp_path / "a.tif")):
        decode(tmp_path / "a.tif", "rgb")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_twelve_bits_in_sixteen_become_all_gray_levels(tmp_path, suffix, channels):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.dstack([TWELVE] * channels))
    found = decode(path, "rgb", options=options(uint16=(0, 4095)))
    assert len(np.unique(found)) == 256
    assert (found[:, :, 0] == np.round(TWELVE * (255 / 4095))).all()
    assert decode(path, "rgb").max() <= 16  # by the range of all 16 bits


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_channels_of_a_deep_color_image_keep_their_order(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.full((4, 4, 3), (1000, 2000, 3000), np.uint16))  # B G R
    assert decode(path, "rgb", options=options(uint16=(0, 3000)))[0, 0].tolist() == [255, 170, 85]


def test_a_float_tiff_in_color_is_read(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.dstack([RAMP] * 3).astype(np.float32))
    assert len(np.unique(decode(tmp_path / "a.tif", "rgb", options=options(float32=(0, 1))))) == 256


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_of_sixteen_bits_shows_the_background(tmp_path, channels):
    values = np.full((4, 4, channels), 2000, np.uint16)
    values[:2, :, -1], values[2:, :, -1] = 65535, 0
    found = decode(png(tmp_path / "a.png", values), "rgb", options=options(uint16=(0, 4000)))
    assert (found[:2] == 128).all()
    assert (found[2:] == 255).all()


def test_a_transparent_value_of_a_deep_gray_image_shows_the_background(tmp_path):
    values = np.full((4, 4, 1), 2000, np.uint16)
    values[2:] = 7
    path = png(tmp_path / "a.png", values, (b"tRNS", struct.pack(">H", 7)))
    found = decode(path, "grey", options=options(uint16=(0, 4000)))
    assert (found[:2] == 128).all()
    assert (found[2:] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_images_are_turned_upright_like_others(tmp_path, orientation, channels):
    small = np.arange(12, dtype=np.uint16).reshape(3, 4, 1) * 5
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(small[:, :, 0].astype(np.uint8)).save(tmp_path / "shallow.png", exif=exif)
    chunk = (b"eXIf", exif.tobytes()[6:])
    path = png(tmp_path / "deep.png", np.repeat(small * 257, channels, axis=2), chunk)
    assert (decode(path, "grey") == decode(tmp_path / "shallow.png", "grey")).all()


def test_a_truncated_deep_color_image_is_unreadable(tmp_path):
    path = png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 4095, (20, 20, 3)))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(Exception, match="truncated"):
        decode(path, "rgb")


# --- the range of a competition


def save_all(folder, images, suffix="png"):
    for number, values in enumerate(images):
        Image.fromarray(values).save(folder / f"{number}.{suffix}")
    return sorted(path.name for path in folder.iterdir())


def value_of(findings):
    return {finding.key: finding.value for finding in findings}


@pytest.mark.parametrize(
    "kind, top, expected",
    [
        (np.uint16, 255, [0, 255]),
        (np.uint16, 1000, [0, 1023]),
        (np.uint16, 4095, [0, 4095]),
        (np.uint16, 16_000, [0, 16383]),
        (np.uint16, 60_000, [0, 65535]),
        (np.int32, 3900, [0, 4095]),
        (np.float32, 1, [0, 1]),
        (np.float32, 250, [0, 255]),
    ],
)
def test_a_usual_range_holds_all_values(tmp_path, kind, top, expected):
    suffix = "png" if kind == np.uint16 else "tif"
    names = save_all(tmp_path, [(RAMP * top).astype(kind) for _ in range(3)], suffix)
    assert value_of(measure_ranges(tmp_path, names)) == {"image.range": {np.dtype(kind).name: expected}}


def test_a_narrow_band_is_scaled_by_percentiles(tmp_path):
    values = (1000 + np.linspace(0, 300, 4096)).astype(np.uint16).reshape(64, 64)
    values[0, 0] = 65535  # a dead pixel
    low, high = value_of(measure_ranges(tmp_path, save_all(tmp_path, [values] * 3)))["image.range"]["uint16"]
    assert 990 <= low <= 1010
    assert low + 250 < high


def test_signed_values_such_as_those_of_ct_are_scaled_by_percentiles(tmp_path):
    values = (RAMP * 4000 - 1000).astype(np.int32)
    low, high = value_of(measure_ranges(tmp_path, save_all(tmp_path, [values], "tif")))["image.range"][
        "int32"
    ]
    assert -1010 < low < -950
    assert 2950 < high < 3010


def test_a_declared_depth_is_used_if_the_values_fit(tmp_path):
    small = (RAMP * 900).astype(np.uint16)[:, :, None]
    png(tmp_path / "a.png", small, (b"sBIT", bytes([12])))
    assert value_of(measure_ranges(tmp_path, ["a.png"])) == {"image.range": {"uint16": [0, 4095]}}
    png(tmp_path / "a.png", small * 60, (b"sBIT", bytes([12])))  # scaled up by its writer, as PNG demands
    assert value_of(measure_ranges(tmp_path, ["a.png"])) == {"image.range": {"uint16": [0, 65535]}}
    Image.fromarray(small[:, :, 0]).save(tmp_path / "a.tif", tiffinfo={281: 2000})
    assert value_of(measure_ranges(tmp_path, ["a.tif"])) == {"image.range": {"uint16": [0, 2000]}}


def test_images_of_eight_bits_need_no_range_and_stay_as_they_are(tmp_path):
    names = save_all(tmp_path, [(RAMP * 255).astype(np.uint8)])
    assert measure_ranges(tmp_path, names) == []
    assert stored_values(tmp_path / names[0]) is None
    ranged = DecodeOptions(ranges=(("all", 0, 10),))
    assert (
        decode(tmp_path / names[0], "grey", options=ranged)[:, :, 0] == (RAMP * 255).astype(np.uint8)
    ).all()


def test_the_sample_reaches_from_the_first_image_to_the_last_and_is_bounded(tmp_path):
    names = [f"{i}.png" for i in range(900)]
    small = np.full((2, 2), 100, np.uint16)
    for name in names:
        Image.fromarray(small).save(tmp_path / name)
    Image.fromarray(small * 40).save(tmp_path / names[-1])
    (finding,) = measure_ranges(tmp_path, names)
    assert "200 images hold 100 to 4000" in finding.because


# --- the whole way


@pytest.fixture
def deep(workspace):
    """A competition of 12-bit gray images."""
    data = draw_class_folders(workspace.root / "data" / "tiny")
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        noise = np.random.default_rng(number).integers(0, 4096, (16, 16))
        Image.fromarray(noise.astype(np.uint16)).save(path)
    return workspace


def test_init_writes_the_range_and_inspect_tells_it(deep):
    found = run_kit_json("init", "tiny", "--workspace", deep.root)
    assert {f["key"]: f["value"] for f in found["findings"]}["image.range"] == {"uint16": [0, 4095]}
    shown = run_kit("inspect", "configs/tiny.yaml", "--workspace", deep.root).stdout
    assert "38 images, 0 is black and 4095 white (image.range)" in shown
    assert "nearly flat" not in shown


def test_inspect_tells_that_a_range_is_missing_and_that_images_are_nearly_flat(deep):
    for path in (deep.root / "data" / "tiny" / "test").iterdir():
        Image.fromarray(np.full((16, 16), 20, np.uint16)).save(path)
    found = pipeline.inspect(write_config(deep), workspace=deep).audit
    assert "65535 white" in found.deep["uint16"]
    assert "not set" in found.deep["uint16"]
    assert found.nearly_flat == [f"test/{i}.png" for i in range(8)]


def test_scan_and_training_see_the_same_pixels(deep):
    config = load_config(write_config(deep, image__range=[0, 4095], image__background="black"))
    chosen = DecodeOptions.of(config.image)
    competition = load_competition(config.competition, deep)
    scan = scan_images(competition, deep.image_table("tiny", chosen.key), options=chosen)
    first = competition.train["path"].iloc[0]
    pixels = decode(competition.root / first, "rgb", options=chosen)
    means, _ = channel_moments(scan[scan["path"] == first])
    assert means[0] == pytest.approx(pixels.mean(axis=(0, 1)) / 255, abs=1e-6)
    assert audit(competition, scan, NearConfig(), chosen).mean[0] == pytest.approx(0.5, abs=0.02)


def test_every_option_changes_the_keys_of_the_caches():
    changed = [
        DEFAULTS,
        DecodeOptions(background="black"),
        options(uint16=(0, 4095)),
        options(uint16=(0, 4094)),
        DecodeOptions(frame="last"),
        DecodeOptions(max_pixels=7),
    ]
    assert len({each.key for each in changed}) == len(changed)
    assert len({ImageDecoder("rgb", options=each).label for each in changed}) == len(changed)


@pytest.mark.parametrize(
    "wrong", [[1, 1], [5, 1], [0], {"uint16": [3, 2]}, {"uint9": [0, 1]}, [0, float("inf")]]
)
def test_a_range_that_is_none_is_refused(tiny, wrong):
    with pytest.raises(KitError, match="image.range"):
        load_config(write_config(tiny, image__range=wrong))


def test_the_stored_type_is_known(tmp_path):
    Image.fromarray(TWELVE).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").stored == "uint16"
    Image.fromarray(TWELVE).convert("L").save(tmp_path / "b.png")
    assert load_image(tmp_path / "b.png").stored == "L"


def test_a_run_warns_of_a_range_that_is_missing(deep):
    progress = RecordedProgress()
    open_competition(load_config(write_config(deep)), deep, progress)
    assert "38 images have uint16 values and image.range is not set" in progress
    progress = RecordedProgress()
    open_competition(load_config(write_config(deep, image__range=[0, 4095])), deep, progress)
    assert progress.lines == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_fourth_channel_that_is_no_opacity_is_refused(tmp_path, kind):
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), np.full((4, 4, 4), 7, kind))
    if kind != np.float32:
        path.write_bytes(with_extra_sample(path.read_bytes()))
    with pytest.raises(UnreadableImageError, match="a fourth is opacity only where the file says so"):
        decode(path, "rgb", options=DecodeOptions(ranges=(("all", 0, 9),)))


def with_extra_sample(content):
    """Return a TIFF of four channels whose tag says that the fourth is nothing in particular."""
    start = struct.unpack_from("<I", content, 4)[0]
    (count,) = struct.unpack_from("<H", content, start)
    entries = [content[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != 338]
    entries = sorted(
        [*entries, struct.pack("<HHII", 338, 3, 1, 0)], key=lambda e: struct.unpack_from("<H", e)[0]
    )
    moved = len(content) + len(content) % 2
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return content[:4] + struct.pack("<I", moved) + content[8:] + b"\0" * (len(content) % 2) + directory
