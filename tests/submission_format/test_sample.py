"""What is seen of a sample file: its cells as they stand, and how they are written."""

import gzip

import pytest

from kit.errors import KitError
from kit.submission_format.sample import read_sample
from kit.submission_format.spec import Look


def sample(tmp_path, text: str | bytes, name="sample.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sample(path)


def test_cells_are_text_as_they_stand(tmp_path):
    found = sample(tmp_path, 'id,x\n007,1e5\n 8 ,"a, ""b"""\nNA,\n')
    assert found.header == ("id", "x")
    assert found.cells("id").to_pylist() == ["007", " 8 ", "NA"]
    assert found.cells("x").to_pylist() == ["1e5", 'a, "b"', ""]


@pytest.mark.parametrize(
    ("text", "name", "look"),
    [
        ("id,x\na,1\n", "s.csv", Look()),
        ("id,x\r\na,1\r\n", "s.csv", Look(newline="\r\n")),
        ("id\tx\na\t1\n", "s.tsv", Look(delimiter="\t")),
        ("id\tx\na\t1\n", "s.csv", Look(delimiter="\t")),
        ("id;x\na;0,5\nb;1\n", "s.csv", Look(delimiter=";", decimal_mark=",")),
        ("id;x\na;0.5\n", "s.csv", Look(delimiter=";")),
        ('"id","x"\n"a","1"\n"b","2"\n', "s.csv", Look(quoted_header=True, quoted=frozenset({0, 1}))),
        ('id,x\n"a",1\n"b",2\n', "s.csv", Look(quoted=frozenset({0}))),
        ('id,x\n"a",1\nb,2\n', "s.csv", Look()),
        ("\ufeffid,x\na,1\n", "s.csv", Look(bom=True)),
        ("id,x\na,1", "s.csv", Look()),
        ('"id",x\na,1\n', "s.csv", Look()),
    ],
)
def test_how_it_is_written(tmp_path, text, name, look):
    found = sample(tmp_path, text, name)
    assert found.look == look
    assert found.header == ("id", "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no id column, no value column or no row"),
        (b"id,x\n", "no row"),
        (b"id\n1\n", "no value column"),
        (b"id,x,x\n1,2,3\n", r"has columns twice \(x\)"),
        (
            b"id,x\n1,2\n3\n4,5,6\n",
            r"2 rows have another number of cells than the header's 2 \(first: row 3 with 1\)",
        ),
        (b'id,x\n1,"2\n', "a quotation mark that does not close"),
        (b"id,x\n1,\xff\n", "cannot be read: .*UTF8"),
        ("id,x\n1,2\n".encode("utf-16"), "is UTF-16"),
        (gzip.compress(b"id,x\n1,2\n", mtime=0), "is gzip-compressed.*Unpack it"),
        (b"PAR1....", "is a Parquet file"),
        (b"PK\x03\x04....", "is a zip archive, or a spreadsheet"),
    ],
)
def test_what_is_no_sample_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(KitError, match=message):
        sample(tmp_path, content)


def test_a_folder_and_nothing_are_refused(tmp_path):
    with pytest.raises(KitError, match="is a folder"):
        read_sample(tmp_path)
    with pytest.raises(KitError, match="there is no such file"):
        read_sample(tmp_path / "none.csv")


def test_a_cell_of_ten_megabytes(tmp_path):
    found = sample(tmp_path, 'id,x\n1,"' + "y\n" * 5_000_000 + '"\n2,b\n')
    assert len(found.cells("x")[0].as_py()) == 10_000_000


@pytest.mark.parametrize("columns", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_very_many_columns(tmp_path, columns):
    wide = sample(tmp_path, ",".join(f"c{i}" for i in range(columns)) + "\n" + ",".join("1" * columns) + "\n")
    assert len(wide.columns) == columns
