"""What can be fixed is reported, and the rest of the file is checked as if it were fixed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.submission_check.check import check_file
from kit.submission_check.problem_codes import CODES, Problem
from kit.submission_format.spec import CsvDialect
from tests.submission_check.forms import ALL, FLAGS, GRADE, RANKS, SCORE, SETS, SHARES, Good, form


def checked(tmp_path, good: Good, text: str | bytes):
    path = tmp_path / "s.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {p.code: p for p in check_file(path, good.form)}


def of_ids(*ids: str) -> Good:
    return Good(form("label", ["label"], ids), (("cat",),) * len(ids))


def labels(*rows: str) -> str:
    return "id,label\n" + "".join(f"{row}\n" for row in rows)


THREE = of_ids("x", "y", "z")
WITH = of_ids("img_01.png", "img_02.png", "img_10.png")

EMPTY = Good(
    replace(SETS.form, blank=True, fallback="healthy"), (("",), ("healthy",), ("scab",), ("rust scab",))
)


def of_scores(*ids: str) -> Good:
    return Good(form("score", ["p"], ids, ("no", "yes")), ())


VARIANTS = [
    (
        "an open quote, and an unknown label",
        THREE,
        labels('x,"cat', "y,wasp", "z,bee"),
        {"unclosed_quote": "line 2", "unknown_label": "id y: wasp"},
    ),
    (
        "two open quotes that swallow a row",
        THREE,
        labels('x,"cat', "y,bee", 'z,"bee'),
        {"unclosed_quote": "line 2"},
    ),
    (
        "Latin-1, and an unknown label",
        of_ids("caf\u00e9", "y"),
        labels("caf\u00e9,cat", "y,wasp").encode("latin-1"),
        {"encoding": "byte 12", "unknown_label": "id y: wasp"},
    ),
    (
        "Latin-1, and a row too wide",
        of_ids("caf\u00e9", "y"),
        labels("caf\u00e9,cat", "y,bee,\u00e9").encode("latin-1"),
        {"encoding": "byte 12", "ragged": "row 3: 3 cells"},
    ),
    (
        "UTF-16 without a mark",
        THREE,
        labels("x,cat", "y,wasp", "z,bee").encode("utf-16-le"),
        {"encoding": "byte 0", "unknown_label": "id y: wasp"},
    ),
    ("UTF-32", THREE, labels("x,cat", "y,bee", "z,bee").encode("utf-32"), {"encoding": "byte 0"}),
    (
        "semicolons, and a blank",
        THREE,
        labels("x,cat", "y,", "z,bee").replace(",", ";"),
        {"delimiter": "id;label", "blank": "id y: ''"},
    ),
    (
        "bars with a column missing",
        SHARES,
        "id|bee|cat\n",
        {"delimiter": "id|bee|cat", "missing_columns": "red fox", "empty": "line 2"},
    ),
    (
        "commas in numbers, and an id missing",
        Good(form("score", ["p"], ("x", "y", "z"), ("no", "yes")), ()),
        "id,p\nx,0,5\ny,1,25\n",
        {"decimal_comma": "row 2: x,0,5", "missing_ids": "z", "out_of_range": "id y: 1.25"},
    ),
    (
        "commas in most numbers, not in all",
        Good(form("score", ["p"], ("x", "y", "z"), ("no", "yes")), ()),
        "id,p\nx,0,5\ny,1\nz,0,3\n",
        {"decimal_comma": "row 2: x,0,5"},
    ),
    (
        "no header, and an id spelled otherwise",
        WITH,
        "img_01,cat\nimg_02,cat\nimg_10,cat\n",
        {"no_header": "img_01,cat", "ids_extension": "'img_01' for 'img_01.png'"},
    ),
    (
        "no id column, and logits",
        SHARES,
        "bee,cat,red fox\n-2,3,1\n4,0,-1\n",
        {"missing_columns": "id", "logits": "id of row 2: -2 3 1"},
    ),
    (
        "a folder and another ending",
        WITH,
        labels("test/img_01.jpg,cat", "test/img_02.jpg,cat", "test/img_10.jpg,cat"),
        {
            "ids_path": "'test/img_01.jpg' for 'img_01.png'",
            "ids_extension": "'test/img_01.jpg' for 'img_01.png'",
        },
    ),
    (
        "zeros within",
        WITH,
        labels("img_1.png,cat", "img_2.png,cat", "img_10.png,cat"),
        {"ids_padding": "'img_1.png' for 'img_01.png'"},
    ),
    (
        "numbers with an exponent",
        of_ids("100000", "200000"),
        labels("1e+05,cat", "2e+05,cat"),
        {"ids_padding": "'1e+05' for '100000'"},
    ),
    (
        "a few ids in capitals, most missing",
        of_ids(*"abcdefgh"),
        labels("A,cat", "B,cat", "c,cat"),
        {"ids_case": "'A' for 'a'", "missing_ids": "d"},
    ),
    ("a blank id", THREE, labels("x,cat", ",bee", "z,bee"), {"missing_ids": "y", "extra_ids": "a blank id"}),
    ("a minus before a label", GRADE, GRADE.text().replace(",11", ",-1"), {"unknown_label": "id a2.png: -1"}),
    (
        "a share for a flag",
        FLAGS,
        FLAGS.text().replace("yes,yes", "yes,0.3"),
        {"unknown_label": "id b,3.png: 0.3"},
    ),
    (
        "a number beyond all",
        SCORE,
        SCORE.text().replace(",0.5\n", ",1e999\n"),
        {"not_finite": "id a1.png: 1e999"},
    ),
    (
        "a plus before a formula",
        SCORE,
        SCORE.text().replace(",0.5\n", ",+A1\n"),
        {"formula": "id a1.png: +A1"},
    ),
    (
        "a bar between ranks",
        RANKS,
        RANKS.text().replace("x y z\n", "x|y|z\n"),
        {"label_separator": "id a1.png: x|y|z"},
    ),
    (
        "an unknown class and one twice",
        SETS,
        SETS.text().replace("rust scab\n", "rust rust\n").replace(",rot\n", ",mould\n"),
        {"unknown_label": "id a2.png: mould", "repeated_label": "id a1.png: rust rust"},
    ),
    (
        "an open quote in a row too many",
        THREE,
        labels("x,cat", "y,bee", "z,bee", 'q,"bee'),
        {"unclosed_quote": "line 5", "extra_ids": "q"},
    ),
    (
        "one number with a cell too many",
        of_scores("w", "x", "y", "z"),
        "id,p\nw,1\nx,0.5\ny,0,5\nz,0\n",
        {"ragged": "row 4: 3 cells"},
    ),
    (
        "no header, and an unknown label",
        THREE,
        "x,wasp\ny,cat\nz,bee\n",
        {"no_header": "x,wasp", "unknown_label": "id x: wasp"},
    ),
    (
        "another name twice",
        THREE,
        "id,what,what\nx,cat,1\ny,bee,1\nz,bee,1\n",
        {"duplicate_columns": "what", "missing_columns": "label", "extra_columns": "what"},
    ),
    (
        "a header in capitals",
        SHARES,
        SHARES.text().replace("id,bee,cat,red fox", "ID,BEE,CAT,RED FOX"),
        {"header_name": "'ID' for 'id'"},
    ),
    (
        "ids that are one in small letters",
        of_ids("AB", "ab", "c"),
        labels("Ab,cat", "aB,cat", "c,cat"),
        {"missing_ids": "AB", "extra_ids": "Ab"},
    ),
    (
        "blanks where a set may be empty",
        EMPTY,
        EMPTY.text().replace("rust scab\n", "  \n"),
        {"blank": "id 007.png: '  '"},
    ),
    (
        "a mark at the beginning, and a blank",
        THREE,
        b"\xef\xbb\xbf" + labels("x,cat", "y,", "z,bee").encode(),
        {"blank": "id y: ''", "bom": "byte 0"},
    ),
]


@pytest.mark.parametrize(("name", "good", "text", "expected"), VARIANTS, ids=[case[0] for case in VARIANTS])
def test_all_of_it_is_told(tmp_path, name, good, text, expected):
    found = checked(tmp_path, good, text)
    assert {code: p.first for code, p in found.items()} == expected
    assert [p.severity for p in found.values()] == sorted(p.severity for p in found.values())


def test_sets_that_are_empty_or_say_so(tmp_path):
    assert checked(tmp_path, EMPTY, EMPTY.text()) == {}


def test_what_may_be_the_same_by_chance(tmp_path):
    assert checked(tmp_path, of_scores("x", "y"), "id,p\nx,0.5\ny,0.5\n") == {}
    assert checked(tmp_path, of_scores(*"wxyz"), "id,p\nw,0.5\nx,0.5\ny,0.5\nz,0.7\n") == {}
    assert checked(tmp_path, of_scores(*"wxyz"), "id,p\nw,0\nx,0\ny,0\nz,0\n") == {}
    assert checked(tmp_path, FLAGS, FLAGS.text().replace("yes", "no")) == {}


def test_nothing_but_problems_is_said(tmp_path, capfd):
    """pyarrow would print a traceback of its own for each row that is both too wide and no UTF-8."""
    checked(tmp_path, THREE, labels("x,cat", "y,bee,\u00e9", "z,bee").encode("latin-1"))
    assert capfd.readouterr() == ("", "")


def test_rows_of_one_id_that_agree_and_that_do_not(tmp_path):
    same = checked(tmp_path, THREE, labels("x,cat", "y,bee", "z,bee", "y,bee"))["duplicate_ids"]
    other = checked(tmp_path, THREE, labels("x,cat", "y,bee", "z,bee", "y,cat"))["duplicate_ids"]
    assert "same values" in same.message
    assert "different values" in other.message
    assert same.first == other.first == "y again in row 5"


def test_points_where_the_sample_has_commas(tmp_path):
    german = replace(SCORE.form, dialect=CsvDialect(delimiter=";", decimal_mark=","))
    good = "id;p\na1.png;0,5\na2.png;1\nb,3.png;0\n007.png;0,25\n"
    assert checked(tmp_path, Good(german, ()), good) == {}
    assert set(checked(tmp_path, Good(german, ()), good.replace("0,25", "0.25"))) == {"not_a_number"}


def test_a_problem_has_a_code_of_the_table_and_its_severity():
    with pytest.raises(ValueError, match="no code nothing"):
        Problem("nothing", "error", 1, "x", "y", "z.")
    with pytest.raises(ValueError, match="no code bom with severity error"):
        Problem("bom", "error", 1, "x", "y", "z.")
    assert Problem("bom", "warning", 1, "x", "y", "z.").as_dict()["code"] in CODES


def test_a_million_different_cells_that_are_no_class_are_looked_at_once(tmp_path):
    number = 100_000
    classes = tuple(f"class {c}" for c in range(500))
    wanted = form("label", ["label"], [str(i) for i in range(number)], classes)
    text = "id,label\n" + "".join(f"{i},wrong {i}\n" for i in range(number))
    (found,) = checked(tmp_path, Good(wanted, ()), text).values()
    assert (found.code, found.count) == ("unknown_label", number)


PIECES = [
    b'"',
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"=1",
    b"1e999",
    b'"\n',
    b',"',
    b"\x1b[31m",
]
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from(PIECES)), min_size=1, max_size=5
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ALL)), edits)
def test_nothing_in_a_file_stops_the_check(tmp_path_factory, name, changes):
    data = ALL[name].text().encode()
    for share, cut, piece in changes:
        at = int(share * len(data))
        data = data[:at] + piece + data[at + cut :]
    path = tmp_path_factory.mktemp("hostile") / "s.csv"
    path.write_bytes(data)
    for problem in check_file(path, ALL[name].form):
        assert problem.first and problem.first.isprintable() and problem.message.isprintable()


def test_a_problem_of_the_whole_file_has_no_count_in_its_summary():
    whole = Problem("same_as_previous", "warning", 360, "a.csv", "the file is the same", "y.")
    assert whole.summary == "the file is the same (a.csv)"
    assert "360" in Problem("missing_ids", "error", 360, "a.png", "ids are missing", "y.").summary
