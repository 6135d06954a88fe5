"""JSON as a table: COCO's format, records, maps and lines; other JSON is refused."""

import json

import pytest

from kit.competition.tables.read import read_table
from tests.conftest import raises_kit_error

COCO = {
    "images": [
        {"id": 7, "file_name": "a.jpg"},
        {"id": 8, "file_name": "b.jpg"},
        {"id": 9, "file_name": "c.jpg"},
    ],
    "annotations": [
        {"id": 0, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4]},
        {"id": 1, "image_id": 8, "category_id": 5},
        {"id": 2, "image_id": 8, "category_id": 2},
    ],
    "categories": [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}],
}


def write(tmp_path, content, name="t.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_coco_has_a_row_per_annotation_and_one_for_an_image_without(tmp_path):
    table = read_table(write(tmp_path, COCO))
    rows = table[["image_id", "file_name", "category_id", "category"]].to_numpy().tolist()
    assert rows == [
        ["7", "a.jpg", "2", "cat"],
        ["8", "b.jpg", "5", "dog"],
        ["8", "b.jpg", "2", "cat"],
        ["9", "c.jpg", "", ""],
    ]


def test_coco_without_annotations_lists_images(tmp_path):
    table = read_table(write(tmp_path, {"images": COCO["images"], "categories": COCO["categories"]}))
    assert table.columns.tolist() == ["image_id", "file_name"]


@pytest.mark.parametrize("names", [[None, None], ["cat", "cat"]])
def test_categories_without_names_of_their_own_are_known_by_id(tmp_path, names):
    categories = [{"id": c, "name": name} for c, name in zip((2, 5), names, strict=True)]
    table = read_table(write(tmp_path, COCO | {"categories": categories}))
    assert "category" not in table and table["category_id"].tolist() == ["2", "5", "2", ""]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (
            [{"id": "a", "x": 1.50}, {"id": "b", "y": None}],
            {"id": ["a", "b"], "x": ["1.5", ""], "y": ["", ""]},
        ),
        ({"a.jpg": "cat", "b.jpg": "dog"}, {"key": ["a.jpg", "b.jpg"], "value": ["cat", "dog"]}),
        ({"a.jpg": {"l": 0}, "b.jpg": {"l": 1}}, {"key": ["a.jpg", "b.jpg"], "l": ["0", "1"]}),
        ({"id": ["a", "b"], "l": [True, False]}, {"id": ["a", "b"], "l": ["true", "false"]}),
        ([{"id": "a", "l": ["x", "y"], "deep": {"no": 1}}], {"id": ["a"], "l": ['["x", "y"]']}),
        ('[{"id": "a", "n": 0.10}]', {"id": ["a"], "n": ["0.10"]}),
    ],
)
def test_records_and_maps_are_tables_of_text(tmp_path, content, rows):
    assert read_table(write(tmp_path, content)).to_dict("list") == rows


def test_json_lines_are_records(tmp_path):
    path = write(
        tmp_path, '{"file_name": "a.jpg", "label": 1}\n\n{"file_name": "b.jpg", "label": 0}\n', "m.jsonl"
    )
    assert read_table(path).to_dict("list") == {"file_name": ["a.jpg", "b.jpg"], "label": ["1", "0"]}


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        ("{", "t.json", "not_json"),
        ('"text"', "t.json", "not_a_table"),
        ({"a": [1, 2], "b": 3}, "t.json", "not_a_table"),
        ('{"a": 1}\n{', "t.jsonl", "not_json"),
        ("[1]\n", "t.jsonl", "not_a_table"),
        (b"\xff\xfe\x00".decode("latin1"), "t.json", "not_json"),
    ],
)
def test_other_json_is_refused(tmp_path, content, name, code):
    with raises_kit_error(code):
        read_table(write(tmp_path, content, name))
