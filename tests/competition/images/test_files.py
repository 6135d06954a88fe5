import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import pipeline
from kit.competition.images.decode import decode
from kit.competition.images.files import ImageFolder, list_files, list_images
from kit.competition.tables.read import column, read_table
from kit.natural import natural_key
from kit.storage.workspace import Workspace
from tests.conftest import COLORS, draw, draw_class_folders, raises_kit_error


def test_natural_order_compares_numbers_by_value():
    assert sorted(["10", "2", "1", "img10", "img9", "b", "0"], key=natural_key) == [
        "0", "1", "2", "10", "b", "img9", "img10",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=8), unique=True), st.randoms())
def test_natural_order_does_not_depend_on_the_input_order(names, random):
    shuffled = names.copy()
    random.shuffle(shuffled)
    assert sorted(names, key=natural_key) == sorted(shuffled, key=natural_key)


def test_images_are_listed_recursively_in_natural_order_without_hidden_ones(tmp_path):
    for name in ("10.PNG", "2.png", "sub/1.jpeg", ".hidden.png", "__MACOSX/3.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["2.png", "10.PNG", "sub/1.jpeg"]


def test_cells_stay_text_and_the_bom_is_removed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfid,label\r\n007,NA\r\n"a,b",1.0\r\n')
    table = read_table(path)
    assert list(table.columns) == ["id", "label"]
    assert table.to_numpy().tolist() == [["007", "NA"], ["a,b", "1.0"]]


def test_a_tsv_is_recognized_by_its_suffix(tmp_path):
    (tmp_path / "t.tsv").write_text("id\tlabel\n1\ta b\n")
    assert read_table(tmp_path / "t.tsv")["label"].tolist() == ["a b"]


@pytest.mark.parametrize(
    ("content", "code", "fact"),
    [
        (b"", "file_empty", ""),
        (b"id,label\nMuj\xf8,1\n", "not_utf8", "byte 12"),
        (b"id,label\n1,2\n1,2,3,4\n", "ragged_rows", "line 3"),
        (b"id,label\n1,2,3\n2,3,4\n", "ragged_rows", ""),
    ],
)
def test_damaged_tables_are_refused(tmp_path, content, code, fact):
    (tmp_path / "t.csv").write_bytes(content)
    with raises_kit_error(code, where=str(tmp_path / "t.csv")) as caught:
        read_table(tmp_path / "t.csv")
    assert fact in caught.value.problem


def test_a_missing_table_is_refused(tmp_path):
    with raises_kit_error("file_missing"):
        read_table(tmp_path / "t.csv")


def test_a_missing_or_blank_column_is_refused_with_known_columns_and_line_numbers(tmp_path):
    table = pd.DataFrame({"id": ["1", "2"], "label": ["a", " "]})
    with raises_kit_error("column_missing") as caught:
        column(table, "Id", tmp_path, "k.id")
    assert "k.id" in caught.value.problem
    assert "id, label" in caught.value.rule
    with raises_kit_error("cells_blank") as caught:
        column(table, "label", tmp_path, "k.label")
    assert "(lines 3)" in caught.value.problem


def test_image_folder_finds_by_name_or_stem(tmp_path):
    draw(tmp_path / "x" / "007.png", COLORS["red"], 0)
    assert ImageFolder.open(tmp_path, "x", "name").paths == {"007.png": "x/007.png"}
    assert ImageFolder.open(tmp_path, "x", "stem").paths == {"007": "x/007.png"}


def test_image_folder_refuses_missing_and_empty_folders_and_ambiguous_ids(tmp_path):
    (tmp_path / "x").mkdir()
    with raises_kit_error("no_images"):
        ImageFolder.open(tmp_path, "x", "name")
    with raises_kit_error("folder_missing"):
        ImageFolder.open(tmp_path, "y", "name")
    for name in ("1.png", "1.jpg"):
        (tmp_path / "x" / name).touch()
    with raises_kit_error("ids_ambiguous") as caught:
        ImageFolder.open(tmp_path, "x", "stem")
    assert "(1)" in caught.value.problem


def test_files_of_other_suffixes_are_images_if_their_content_is(tmp_path):
    draw(tmp_path / "a.jpg", COLORS["red"], 0)
    content = (tmp_path / "a.jpg").read_bytes()
    for name in ("b.jfif", "c.JPG_", "d"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "e.heic").write_bytes(b"\x00\x00\x00\x18ftypheic")
    (tmp_path / "f.npy").write_bytes(content)  # not looked into
    (tmp_path / "g").write_bytes(b"")
    (tmp_path / "h.dat").write_text("BMI,age\n21,40\n")
    images, others = list_files(tmp_path)
    assert images == ["a.jpg", "b.jfif", "c.JPG_", "d"]
    assert set(others) == {"e.heic", "f.npy", "g", "h.dat"}
    assert decode(tmp_path / "c.JPG_", "rgb").shape == (32, 36, 3)


def test_files_that_no_reader_opens_are_named_by_init(tmp_path):
    root = draw_class_folders(tmp_path / "data" / "c")
    (root / "train" / "red" / "x.heic").write_bytes(b"\x00\x00\x00\x18ftypheic")
    pd.DataFrame({"code": ["k1", "k2"], "other": ["x", "y"]}).to_csv(root / "meta.csv", index=False)
    cameras = pd.DataFrame({"name": [f"{i}.png" for i in range(8)], "camera": "x"})
    cameras.to_csv(root / "test_cameras.csv", index=False)
    unused = pipeline.init(root, workspace=Workspace.open(tmp_path)).unused
    assert any(line.startswith("1 file *.heic, such as train/red/x.heic") for line in unused)
    assert any(line.startswith("test_cameras.csv: 'name' names images of test/") for line in unused)
    assert not any("sample_submission.csv" in line for line in unused)
    assert any(line.startswith("meta.csv: no column names images") and "k1, k2" in line for line in unused)
