"""Read a sample file as text cells and a CSV dialect."""

import gzip

import pytest

from kit.submission_format.sample import read_sample
from kit.submission_format.spec import CsvDialect
from tests.conftest import raises_kit_error


def read_text(tmp_path, text: str | bytes, name="sample.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sample(path)


def test_cells_are_unchanged_text(tmp_path):
    found = read_text(tmp_path, 'id,x\n007,1e5\n 8 ,"a, ""b"""\nNA,\n')
    assert found.header == ("id", "x")
    assert found.cells("id").to_pylist() == ["007", " 8 ", "NA"]
    assert found.cells("x").to_pylist() == ["1e5", 'a, "b"', ""]


@pytest.mark.parametrize(
    ("text", "name", "dialect"),
    [
        ("id,x\na,1\n", "s.csv", CsvDialect()),
        ("id,x\r\na,1\r\n", "s.csv", CsvDialect(newline="\r\n")),
        ("id\tx\na\t1\n", "s.tsv", CsvDialect(delimiter="\t")),
        ("id\tx\na\t1\n", "s.csv", CsvDialect(delimiter="\t")),
        ("id;x\na;0,5\nb;1\n", "s.csv", CsvDialect(delimiter=";", decimal_mark=",")),
        ("id;x\na;0.5\n", "s.csv", CsvDialect(delimiter=";")),
        ('"id","x"\n"a","1"\n"b","2"\n', "s.csv", CsvDialect(quoted_header=True, quoted=frozenset({0, 1}))),
        ('id,x\n"a",1\n"b",2\n', "s.csv", CsvDialect(quoted=frozenset({0}))),
        ('id,x\n"a",1\nb,2\n', "s.csv", CsvDialect()),
        ("\ufeffid,x\na,1\n", "s.csv", CsvDialect(bom=True)),
        ("id,x\na,1", "s.csv", CsvDialect()),
        ('"id",x\na,1\n', "s.csv", CsvDialect()),
    ],
)
def test_the_dialect_is_detected(tmp_path, text, name, dialect):
    found = read_text(tmp_path, text, name)
    assert found.dialect == dialect
    assert found.header == ("id", "x")


@pytest.mark.parametrize(
    ("content", "code", "fact"),
    [
        (b"", "sample_empty", ""),
        (b"id,x\n", "sample_empty", ""),
        (b"id\n1\n", "sample_empty", ""),
        (b"id,x,x\n1,2,3\n", "duplicate_columns", "(x)"),
        (b"id,x\n1,2\n3\n4,5,6\n", "ragged_rows", "first: row 3 with 1"),
        (b'id,x\n1,"2\n', "unclosed_quote", ""),
        (b"id,x\n1,\xff\n", "not_utf8", "UTF-8"),
        ("id,x\n1,2\n".encode("utf-16"), "not_utf8", "UTF-16"),
        (gzip.compress(b"id,x\n1,2\n", mtime=0), "not_text", "gzip"),
        (b"PAR1....", "not_text", "Parquet"),
        (b"PK\x03\x04....", "not_text", "zip"),
    ],
)
def test_files_that_are_no_sample_are_refused(tmp_path, content, code, fact):
    with raises_kit_error(code, where=str(tmp_path / "sample.csv")) as caught:
        read_text(tmp_path, content)
    assert fact in caught.value.problem


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with raises_kit_error("is_folder"):
        read_sample(tmp_path)
    with raises_kit_error("file_missing"):
        read_sample(tmp_path / "none.csv")


def test_a_cell_of_ten_megabytes_is_read(tmp_path):
    found = read_text(tmp_path, 'id,x\n1,"' + "y\n" * 5_000_000 + '"\n2,b\n')
    assert len(found.cells("x")[0].as_py()) == 10_000_000


@pytest.mark.parametrize("columns", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_thousands_of_columns_are_read(tmp_path, columns):
    wide = read_text(
        tmp_path, ",".join(f"c{i}" for i in range(columns)) + "\n" + ",".join("1" * columns) + "\n"
    )
    assert len(wide.columns) == columns
