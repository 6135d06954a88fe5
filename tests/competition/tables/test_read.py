"""Text lists, and columns that together are a path."""

from pathlib import Path

import pytest

from kit.competition.tables.read import column, read_table
from tests.conftest import raises_kit_error


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        ("a/im 1.jpg 3", ["a/im 1.jpg", "3"]),
        ("a.jpg,cat", ["a.jpg", "cat"]),
        ("a.jpg\tbig cat", ["a.jpg", "big", "cat"]),
        ("000123 7", ["000123", "7"]),
        ("v1.2 x.png 1 0", ["v1.2 x.png", "1", "0"]),
    ],
)
def test_a_text_list_has_a_path_and_labels_per_line(tmp_path, line, cells):
    path = tmp_path / "train.txt"
    path.write_text(f"{line}\n\n{line}\n")
    table = read_table(path)
    assert table.to_numpy().tolist() == [cells, cells]
    several = [f"label_{n}" for n in range(1, len(cells))]
    assert table.columns.tolist() == ["path", *(["label"] if len(cells) == 2 else several)]


@pytest.mark.parametrize("text", ["", "a.jpg\nb.jpg\n", "a.jpg 1\nb.jpg 1 2\n"])
def test_other_text_is_no_table(tmp_path, text):
    path = tmp_path / "readme.txt"
    path.write_text(text)
    with raises_kit_error("not_a_table"):
        read_table(path)


def test_columns_joined_by_slashes_are_a_path(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient,file,a/b\np1,0.png,x\n")
    table = read_table(path)
    assert column(table, "patient/file", path, "id").tolist() == ["p1/0.png"]
    assert column(table, "a/b", path, "id").tolist() == ["x"]
    with raises_kit_error("column_missing"):
        column(table, "patient/nothing", Path(path), "id")
