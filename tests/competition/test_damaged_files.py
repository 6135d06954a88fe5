"""Damaged files are described in kit's own words; the words of libraries stay in the chained exception."""

import gzip
import io
import json

import numpy as np
import pytest

from kit import pipeline
from kit.competition.layouts.voc_boxes import BadAnnotationError, read_annotation
from kit.competition.tables.read import read_table
from kit.competition.unpack import unpack_beside
from kit.engine.models.checkpoints import read_about
from kit.errors import KitError
from kit.predictions import read_metadata
from kit.runtime.progress import SILENT
from kit.storage.files import read_json
from tests.conftest import draw_csv, raises_kit_error

RECORDS = json.dumps([{"id": str(n), "label": "a"} for n in range(9)], indent=1).encode()


def says(error: KitError, *words: str) -> None:
    """Check that a message has these words, and not those of the library that found the damage."""
    assert error.__cause__ is not None
    assert str(error.__cause__).partition("\n")[0] not in str(error)
    for each in words:
        assert each in str(error)


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("x.json", RECORDS[:-40], "not_json", "not complete"),
        ("x.json", RECORDS.replace(b'"4",', b'"4"'), "not_json", "line 20"),
        ("x.json", b" ", "not_json", "empty"),
        ("x.json", b"[" * 100_000, "not_json", "deep"),
        ("x.json", RECORDS.decode().encode("utf-16"), "not_utf8", "UTF-16"),
        ("x.json", RECORDS.replace(b"4", b"\xe9"), "not_utf8", "byte"),
        ("x.jsonl", b'{"id": "1"}\n{"id" "2"}\n', "not_json", "line 2"),
        ("x.csv", b"id,label\n1,a\n2,b,c,d\n", "ragged_rows", "line 3 has 4 cells, and the header 2"),
        ("x.csv", b'id,label\n1,"a\n2,b\n', "ragged_rows", "quotation mark"),
    ],
)
def test_a_damaged_table_is_described(tmp_path, name, content, code, words):
    (tmp_path / name).write_bytes(content)
    with raises_kit_error(code) as caught:
        read_table(tmp_path / name)
    says(caught.value, words)


def npz(objects: bool) -> bytes:
    file = io.BytesIO()
    np.savez(
        file, x=np.array([{}] if objects else np.zeros((20, 8, 8)), dtype=object if objects else np.uint8)
    )
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.zip", b"text" * 99, "not an archive"),
        ("x.tar", b"text" * 99, "not an archive"),
        ("x.tar.gz", b"text" * 99, "not an archive"),
        ("x.csv.gz", gzip.compress(b"id,label\n" * 99, mtime=0)[:-9], "ends too early"),
        ("x.csv.gz", b"text" * 99, "not a gzip file"),
        ("x.parquet", b"text" * 99, "Parquet"),
        ("x.parquet", b"PAR1" + b"text" * 99 + b"PAR1", "Parquet"),
        ("x.npz", npz(objects=False)[:400], "NumPy"),
        ("x.npz", npz(objects=True), "Python objects"),
        ("x.json", b'[{"a": [' + b"1," * 99 + b"1]},{", "not complete"),
    ],
)
def test_a_damaged_packed_file_is_described(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with raises_kit_error("archive_damaged") as caught:
        unpack_beside(tmp_path, 10**9, SILENT)
    says(caught.value, words)


def test_an_empty_numpy_file_is_no_array_of_images(tmp_path):
    (tmp_path / "x.npy").touch()
    assert unpack_beside(tmp_path, 10**9, SILENT).unpacked == {}


def test_damaged_files_of_kit_are_described(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b'{"a": 1,')
    for read in (read_json, read_about, read_oof):
        with pytest.raises(KitError) as caught:
            read(path)
        says(caught.value, str(path))


def read_oof(path):
    return read_metadata(path, {}, "kit predict a")


def test_an_annotation_that_is_not_xml_is_described(tmp_path):
    (tmp_path / "x.xml").write_text("<annotation>\n<object>\n</annotation>")
    with pytest.raises(BadAnnotationError) as caught:
        read_annotation(tmp_path / "x.xml")
    says(caught.value, "line 3")


def test_a_label_with_control_characters_becomes_a_valid_config(workspace):
    data = draw_csv(workspace.root / "data" / "c")
    table = (data / "train.csv").read_text().replace("green", "gr\x1been\u202e")
    (data / "train.csv").write_text(table)
    assert pipeline.init(str(data), workspace=workspace).to_edit is None
