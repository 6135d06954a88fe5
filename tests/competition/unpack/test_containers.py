"""Arrays, Parquet, JSON and BSON files of many images are unpacked to files that hold the same pixels."""

import base64
import io
import json

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit.competition.images.decode import DecodeOptions, decode
from kit.competition.unpack import unpack_beside
from kit.competition.unpack.pixel_shape import find_shape
from tests.conftest import raises_kit_error, run_kit_json

GB = 10**9


def scenes(count, rows, columns, top=255, channels=None):
    """Return smooth images of random waves, (N, H, W) or (N, H, W, C), with values 0 to ``top``."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:rows, :columns]
    waves = []
    for _ in range(count * (channels or 1)):
        a, b, c = rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.3), rng.uniform(0, 6)
        waves.append((np.sin(a * x + b * y + c) + 1) / 2)
    found = np.stack(waves) * top
    if channels:
        return found.reshape(count, channels, rows, columns).transpose(0, 2, 3, 1)
    return found


def encoded(values, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def gray(path):
    return np.asarray(Image.open(path))


# --- NumPy


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_an_array_of_images_becomes_png_files_named_by_position(tmp_path, channels):
    images = scenes(12, 9, 7, channels=channels).astype(np.uint8)
    np.save(tmp_path / "train_images.npy", images)
    found = unpack_beside(tmp_path, GB)
    assert found.unpacked["train_images.npy"].startswith("train_images/ (images named by their position")
    assert (gray(tmp_path / "train_images" / "11.png") == images[11].squeeze()).all()
    assert unpack_beside(tmp_path, GB).unused == {"train_images.npy": "already unpacked to train_images/"}


def test_labels_beside_an_array_become_a_table(tmp_path):
    np.save(tmp_path / "train_images.npy", scenes(12, 8, 8).astype(np.uint8))
    np.save(tmp_path / "train_labels.npy", np.arange(12)[:, None] % 3)
    np.save(tmp_path / "test_labels.npy", np.arange(12))
    unpack_beside(tmp_path, GB)
    table = pd.read_csv(tmp_path / "train_images" / "train_images.csv")
    assert list(table.columns) == ["id", "train_labels"]
    assert table["train_labels"].tolist() == [i % 3 for i in range(12)]


def test_an_npz_of_several_sets_becomes_a_folder_for_each(tmp_path):
    sets = {"x_train": scenes(12, 8, 8), "x_test": scenes(10, 8, 8)}
    np.savez(
        tmp_path / "digits.npz",
        **{k: v.astype(np.uint8) for k, v in sets.items()},
        y_train=np.arange(12),
        y_test=np.arange(10),
    )
    unpack_beside(tmp_path, GB)
    root = tmp_path / "digits"
    assert len(list((root / "x_train").glob("*.png"))) == 12
    assert pd.read_csv(root / "x_test" / "x_test.csv")["y_test"].tolist() == list(range(10))


def test_values_of_floating_point_are_kept_exactly(tmp_path):
    images = scenes(12, 8, 8, top=1).astype(np.float32)
    np.save(tmp_path / "a.npy", images)
    unpack_beside(tmp_path, GB)
    assert (cv2.imread(str(tmp_path / "a" / "3.tif"), cv2.IMREAD_UNCHANGED) == images[3]).all()


@pytest.mark.parametrize(
    "shape", [(12, 10), (12, 10, 3), (3, 12, 10), (12,), (12, 1), (12, 9, 9, 5), (30, 40, 7)]
)
def test_arrays_that_are_one_image_or_none_are_left_alone(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert unpack_beside(tmp_path, GB).unpacked == {}
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_arrays_of_one_shape_are_images_of_channels_and_no_stacks(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.zeros((28, 28, 16), np.uint8))
    assert unpack_beside(tmp_path, GB).unpacked == {}
    (tmp_path / "0.npy").unlink()
    assert len(unpack_beside(tmp_path, GB).unpacked) == 2


def test_a_folder_of_many_arrays_is_not_opened(tmp_path):
    for number in range(51):
        (tmp_path / f"{number}.npy").write_bytes(b"not opened")
    assert unpack_beside(tmp_path, GB).seen == set()


# --- Parquet


def test_encoded_images_in_parquet_are_written_as_they_are(tmp_path):
    images = scenes(30, 9, 7)
    content = [encoded(image, "PNG" if i % 2 else "JPEG") for i, image in enumerate(images)]
    frame = pd.DataFrame(
        {"image_id": [f"i{n:03d}" for n in range(30)], "picture": content, "label": ["a", "b"] * 15}
    )
    frame.to_parquet(tmp_path / "train.parquet")
    assert "named by 'image_id'" in unpack_beside(tmp_path, GB).told[0]
    assert (tmp_path / "train" / "i001.png").read_bytes() == content[1]
    assert (tmp_path / "train" / "i002.jpg").read_bytes() == content[2]
    table = pd.read_csv(tmp_path / "train" / "train.csv")
    assert table.equals(frame.drop(columns="picture"))


def test_images_as_data_sets_hubs_store_them_are_found(tmp_path):
    rows = [{"image": {"bytes": encoded(image), "path": None}, "label": 1} for image in scenes(5, 9, 7)]
    pd.DataFrame(rows).to_parquet(tmp_path / "train.parquet")
    unpack_beside(tmp_path, GB)
    assert sorted(p.name for p in (tmp_path / "train").iterdir()) == [
        *(f"{n}.png" for n in range(5)),
        "train.csv",
    ]
    assert pd.read_csv(tmp_path / "train" / "train.csv").columns.tolist() == ["id", "label"]


@pytest.mark.parametrize("prefix", ["", "pixel"])
def test_a_column_per_pixel_becomes_an_image_whose_shape_is_found(tmp_path, prefix):
    images = scenes(20, 17, 29).astype(np.uint8)
    frame = pd.DataFrame(images.reshape(20, -1), columns=[f"{prefix}{i}" for i in range(17 * 29)])
    frame.insert(0, "image_id", [f"Train_{n}" for n in range(20)])
    frame.to_parquet(tmp_path / "part_0.parquet")
    assert "17 x 29" in unpack_beside(tmp_path, GB).told[0]
    assert (gray(tmp_path / "part_0" / "Train_7.png") == images[7]).all()
    assert not list(tmp_path.rglob("*.csv"))  # ids alone are no table


def test_a_parquet_table_without_images_is_left_alone(tmp_path):
    pd.DataFrame({"id": [1, 2], "label": ["a", "b"], "x1": [0.1, 0.2]}).to_parquet(tmp_path / "t.parquet")
    found = unpack_beside(tmp_path, GB)
    assert (found.unpacked, found.others) == ({}, {"t.parquet"})


def test_a_damaged_parquet_file_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with raises_kit_error("archive_damaged"):
        unpack_beside(tmp_path, GB)


@pytest.mark.parametrize("ids", [["a", "../b"], ["a/../../b", "c"], ["", "x"], [".", "x"]])
def test_ids_that_are_no_file_names_are_refused_and_nothing_is_left(tmp_path, ids):
    content = [encoded(image) for image in scenes(2, 9, 7)]
    pd.DataFrame({"id": ids, "image": content}).to_parquet(tmp_path / "t.parquet")
    with raises_kit_error("ids_unusable"):
        unpack_beside(tmp_path, GB)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_the_size_limit_holds_for_images_of_tables(tmp_path):
    pd.DataFrame({"image": [encoded(image) for image in scenes(5, 40, 40)]}).to_parquet(
        tmp_path / "t.parquet"
    )
    with raises_kit_error("archive_too_large"):
        unpack_beside(tmp_path, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


# --- JSON


def test_lists_of_decibels_in_json_become_images_that_init_scales_alike(workspace):
    data = workspace.root / "data" / "bergs"
    data.mkdir(parents=True)
    for name, count in (("train", 20), ("test", 8)):
        bands = scenes(2 * count, 10, 10, top=40).reshape(count, 2, -1) - 45
        records = [
            {
                "id": f"{name}{n}",
                "band_1": a.tolist(),
                "band_2": b.tolist(),
                "inc_angle": 43.9,
                **({"is_iceberg": n % 2} if name == "train" else {}),
            }
            for n, (a, b) in enumerate(bands)
        ]
        (data / f"{name}.json").write_text(json.dumps(records))
    found = run_kit_json("init", "bergs", "--workspace", workspace.root, "--label", "is_iceberg")
    values = {f["key"]: f["value"] for f in found["findings"]}
    assert "their mean" in found["unpacked"][0]
    assert values["competition.train.file"] == "train/train.csv"
    low, high = values["image.range"]["float32"]
    assert -46 < low < -43
    assert -7 < high < -4
    pixels = decode(
        data / "train" / "train3.tif", "rgb", options=DecodeOptions(ranges=(("float32", low, high),))
    )
    assert len(np.unique(pixels)) > 40


def test_base64_images_in_json_are_found(tmp_path):
    images = scenes(3, 9, 7).astype(np.uint8)
    records = [
        {"name": f"{n}.png", "data": base64.b64encode(encoded(image)).decode()}
        for n, image in enumerate(images)
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    unpack_beside(tmp_path, GB)
    assert (gray(tmp_path / "a" / "2.png") == images[2]).all()


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1}], "annotations": [{"segmentation": [list(range(200))]}]},
        [{"id": 1, "label": "a"}],
        [[1] * 100],
        [],
        {"0": "cat"},
    ],
)
def test_other_json_files_are_left_alone(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert unpack_beside(tmp_path, GB).unpacked == {}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


# --- BSON


def test_documents_of_bson_become_folders_of_images_and_a_table(tmp_path):
    bson = pytest.importorskip("bson", reason="the extra bson is not installed")
    pictures = [encoded(image, "JPEG") for image in scenes(6, 9, 7)]
    documents = [
        {"_id": 10 + n, "category_id": n % 2, "imgs": [{"picture": p} for p in pictures[n : n + 1 + n % 2]]}
        for n in range(5)
    ]
    (tmp_path / "train.bson").write_bytes(b"".join(map(bson.encode, documents)))
    unpack_beside(tmp_path, GB)
    assert (tmp_path / "train" / "11" / "1.jpg").read_bytes() == pictures[2]
    table = pd.read_csv(tmp_path / "train" / "train.csv")
    assert table.to_dict("list") == {"_id": [10, 11, 12, 13, 14], "category_id": [0, 1, 0, 1, 0]}


def test_a_truncated_bson_file_leaves_nothing(tmp_path):
    bson = pytest.importorskip("bson", reason="the extra bson is not installed")
    document = bson.encode({"_id": 1, "picture": encoded(scenes(1, 9, 7)[0])})
    (tmp_path / "train.bson").write_bytes(document + document[:40])
    with raises_kit_error("archive_damaged"):
        unpack_beside(tmp_path, GB)
    assert [path.name for path in tmp_path.iterdir()] == ["train.bson"]


# --- shapes


@pytest.mark.parametrize("rows, columns", [(17, 29), (29, 17), (16, 16), (137, 236), (12, 48)])
def test_the_shape_in_which_neighbors_are_alike_is_found(tmp_path, rows, columns):
    flat = scenes(10, rows, columns).reshape(10, -1)
    assert find_shape(flat, tmp_path).text == f"{rows} x {columns}"


@pytest.mark.parametrize(
    "order, text", [((0, 3, 1, 2), "channel by channel"), ((0, 1, 2, 3), "pixel by pixel")]
)
def test_colors_are_found_in_both_orders(tmp_path, order, text):
    images = scenes(10, 16, 16, channels=3)
    shape = find_shape(images.transpose(order).reshape(10, -1), tmp_path)
    assert text in shape.text
    assert np.allclose(shape.image(images.transpose(order).reshape(10, -1)[4]), images[4])


def test_noise_is_square_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    assert find_shape(rng.uniform(size=(10, 256)), tmp_path).text == "16 x 16"
    with raises_kit_error("shape_unknown"):
        find_shape(rng.uniform(size=(10, 17 * 29)), tmp_path)
