import numpy as np
import pytest
from PIL import Image

from kit.competition.images.decode import (
    DecodeOptions,
    UnreadableImageError,
    decode,
    header_size,
    image_readers,
    register_reader,
)
from kit.competition.images.files import list_images
from tests.conftest import COLORS, draw


@pytest.fixture
def folder(tmp_path):
    draw(tmp_path / "0.png", COLORS["red"], 0)
    return tmp_path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_every_mode_is_converted_to_three_channels_or_one(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (5, 4), (200, 60, 60)).convert(mode).save(path)
    assert decode(path, "rgb").shape == (4, 5, 3)
    assert decode(path, "grey").shape == (4, 5, 1)


def test_sixteen_bit_images_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.full((3, 3), 32768, dtype=np.uint16)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", "grey")[0, 0, 0] == 128


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg", "rgb").shape == (8, 4, 3)


def test_a_registered_reader_makes_a_new_format_readable(tmp_path, monkeypatch):
    monkeypatch.setattr(image_readers, "_entries", dict(image_readers._entries))

    @register_reader(".raw8")
    def read_raw(path, side=None):
        return Image.frombytes("L", (4, 2), path.read_bytes())

    (tmp_path / "a.RAW8").write_bytes(bytes(range(8)))
    assert list_images(tmp_path) == ["a.RAW8"]
    assert decode(tmp_path / "a.RAW8", "grey")[:, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert header_size(tmp_path / "a.RAW8") == (4, 2)
    (tmp_path / "a.RAW8").write_bytes(b"short")
    with pytest.raises(UnreadableImageError):
        decode(tmp_path / "a.RAW8", "grey")


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_file_that_cannot_be_decoded_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImageError):
        decode(tmp_path / "a.png", "rgb")


def test_a_truncated_file_is_an_error(folder):
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[:-200])
    with pytest.raises(UnreadableImageError):
        decode(folder / "0.png", "rgb")


def test_an_image_with_a_damaged_exif_block_is_decoded(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 4), (200, 60, 60)).save(tmp_path / "a.jpg", exif=exif)
    whole = bytearray((tmp_path / "a.jpg").read_bytes())
    start = whole.index(b"Exif")
    for offset in range(start + 6, start + 30):
        for value in (0, 255):
            broken = whole.copy()
            broken[offset] = value
            (tmp_path / "b.jpg").write_bytes(broken)
            assert decode(tmp_path / "b.jpg", "rgb").shape in ((8, 4, 3), (4, 8, 3))


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0), ("#808080", 128)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_show_the_background_and_not_their_hidden_color(tmp_path, mode, background, level):
    pixels = np.full((8, 8, 4), (200, 200, 200, 255), dtype=np.uint8)
    pixels[:, 4:, 3] = 0
    image = Image.fromarray(pixels)
    (image.quantize(8) if mode == "P" else image.convert(mode)).save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png", "rgb", options=DecodeOptions(background=background))
    assert (found[:, :4] == 200).all()
    assert (found[:, 4:] == level).all()
