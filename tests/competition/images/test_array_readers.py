"""Images that are arrays: one NumPy file each, and DICOM."""

import numpy as np
import pytest

from kit.competition.images import readers
from kit.competition.images.decode import DecodeOptions, UnreadableImageError, decode, header_size, load_image
from kit.competition.images.files import check_extras, list_files
from kit.competition.infer.pixel_range import measure_ranges
from tests.conftest import draw, raises_kit_error, run_kit, run_kit_json

GRADIENT = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
FLOATS = DecodeOptions(ranges=(("float32", -100, 300),))


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 1), (12, 10, 3)])
def test_an_array_of_eight_bits_is_an_image(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    found = decode(tmp_path / "a.npy", "rgb")
    assert (found == values.reshape(12, 10, -1)).all()
    assert header_size(tmp_path / "a.npy") == (10, 12)


@pytest.mark.parametrize("order", ["<u2", ">u2", "<f4", ">f8"])
def test_deep_arrays_are_scaled_by_the_range_in_any_byte_order(tmp_path, order):
    np.save(tmp_path / "a.npy", np.array([[0, 500, 1000]]).astype(order))
    ranged = DecodeOptions(ranges=(("all", 0, 1000),))
    assert decode(tmp_path / "a.npy", "grey", options=ranged).ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize("shape", [(5,), (12, 10, 2), (12, 10, 4), (3, 12, 10), (2, 12, 10, 3), (0, 4)])
def test_other_shapes_are_unreadable_with_the_shape(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(UnreadableImageError, match=r"an array \("):
        decode(tmp_path / "a.npy", "rgb")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableImageError):
        decode(tmp_path / "a.npy", "rgb")


def test_a_single_array_beside_photos_is_no_image_and_a_folder_of_arrays_is(tmp_path):
    draw(tmp_path / "mixed" / "0.png", (1, 2, 3), 0)
    np.save(tmp_path / "mixed" / "1.npy", GRADIENT)
    assert list_files(tmp_path, "mixed") == (["0.png"], ["1.npy"])
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "1.npy", GRADIENT)
    np.save(tmp_path / "arrays" / "2.npy", GRADIENT)
    (tmp_path / "arrays" / "notes.csv").write_text("x")
    assert list_files(tmp_path, "arrays") == (["1.npy", "2.npy"], ["notes.csv"])


def test_init_and_inspect_read_a_competition_of_arrays(workspace):
    data = workspace.root / "data" / "arrays"
    for label, level in (("a", 0.2), ("b", 0.7)):
        (data / "train" / label).mkdir(parents=True)
        for i in range(6):
            noise = np.random.default_rng(i).uniform(-0.2, 0.2, (16, 16))
            np.save(data / "train" / label / f"{i}.npy", (level + noise).astype(np.float32))
    found = run_kit_json("init", "arrays", "--workspace", workspace.root)
    values = {f["key"]: f["value"] for f in found["findings"]}
    assert values["image.range"] == {"float32": [0, 1]}
    assert found["unused"] == []
    shown = run_kit("inspect", "configs/arrays.yaml", "--workspace", workspace.root).stdout
    assert "12 images, 0 is black and 1 white" in shown


# --- DICOM


def dicom(path, values, **tags):
    """Write a gray DICOM file, (H, W) or (F, H, W), of 12 stored bits unless tags say otherwise."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        SecondaryCaptureImageStorage,
        generate_uid(),
    )
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = 8 * values.dtype.itemsize
    data.BitsStored = min(12, data.BitsAllocated)
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = values.tobytes()
    assert pydicom
    data.save_as(path, enforce_file_format=True)
    return path


DEEP = np.array([[0, 1000, 1020, 1040, 1080, 4095]], np.uint16)
HU = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def grays(path, options=FLOATS):
    return decode(path, "grey", options=options).ravel().tolist()


def test_the_window_of_a_dicom_file_is_black_to_white(tmp_path):
    path = dicom(tmp_path / "a.dcm", DEEP, WindowCenter=16.5, WindowWidth=81, **HU)
    assert grays(path) == [0, 0, 64, 128, 255, 255]  # ((v - 16) / 80 + 0.5) * 255, v = stored - 1024
    several = dicom(tmp_path / "b.dcm", DEEP, WindowCenter=[16.5, 500], WindowWidth=[81, 9], **HU)
    assert grays(several) == grays(path)


def test_monochrome1_is_inverted_with_and_without_a_window(tmp_path):
    plain = dicom(tmp_path / "a.dcm", DEEP, WindowCenter=16, WindowWidth=81, **HU)
    inverted = dicom(
        tmp_path / "b.dcm",
        DEEP,
        WindowCenter=16,
        WindowWidth=81,
        PhotometricInterpretation="MONOCHROME1",
        **HU,
    )
    assert grays(inverted) == [255 - level for level in grays(plain)]
    whole = DecodeOptions(ranges=(("float32", 0, 4095),))
    deep = dicom(tmp_path / "c.dcm", DEEP)
    deep_inverted = dicom(tmp_path / "d.dcm", DEEP, PhotometricInterpretation="MONOCHROME1")
    assert grays(deep_inverted, whole) == pytest.approx([255 - level for level in grays(deep, whole)], abs=1)


def test_rescaled_values_without_a_window_are_scaled_by_the_measured_range(tmp_path):
    ramp = np.linspace(0, 2000, 4096).astype(np.uint16).reshape(64, 64)
    dicom(tmp_path / "a.dcm", ramp, **HU)
    low, high = measure_ranges(tmp_path, ["a.dcm"])[0].value["float32"]
    assert -1040 <= low <= -1010
    assert 960 <= high <= 980
    with raises_kit_error("range_missing"):
        decode(tmp_path / "a.dcm", "rgb")


def test_eight_bits_without_a_window_stay_as_they_are(tmp_path):
    assert (decode(dicom(tmp_path / "a.dcm", GRADIENT), "grey")[:, :, 0] == GRADIENT).all()


def test_a_frame_of_a_dicom_file_is_chosen(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.stack([GRADIENT * 0 + level for level in (10, 20, 30)]))
    assert load_image(path).frames == 3
    for frame, level in (("first", 10), ("middle", 20), ("last", 30), (1, 20)):
        assert set(grays(path, DecodeOptions(frame=frame))) == {level}


def test_a_dicom_file_without_a_suffix_is_found_and_read(tmp_path):
    (tmp_path / "x").mkdir()
    dicom(tmp_path / "x" / "IM0001", GRADIENT)
    assert list_files(tmp_path, "x")[0] == ["IM0001"]
    assert (decode(tmp_path / "x" / "IM0001", "grey")[:, :, 0] == GRADIENT).all()


def test_a_truncated_dicom_file_is_unreadable(tmp_path):
    path = dicom(tmp_path / "a.dcm", GRADIENT)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UnreadableImageError):
        decode(path, "rgb")


def test_an_extra_that_is_missing_is_named_with_the_images_that_need_it(tmp_path, monkeypatch):
    without = readers.ReaderFacts(True, "no_such_module", "dicom")
    monkeypatch.setitem(readers.reader_facts, ".dcm", without)
    with raises_kit_error("extra_missing") as caught:
        check_extras(tmp_path, ["a/1.dcm", "a/2.dcm", "a/3.png"])
    assert "2 images" in caught.value.problem
    assert "kit[dicom]" in caught.value.next
    check_extras(tmp_path, ["a/3.png"])
