"""A fixable problem is reported, and the rest of the file is checked as if the problem were fixed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.submission_check.check import check_file
from kit.submission_check.problem_codes import CODES, Problem
from kit.submission_format.spec import CsvDialect
from tests.submission_check.valid_files import (
    FLAGS,
    GRADE,
    LABEL_SETS,
    PROBS,
    SCORE,
    TOP_K,
    VALID_FILES,
    ValidFile,
    check_text,
    make_format,
)


def problems_by_code(tmp_path, valid: ValidFile, text: str | bytes):
    return {p.code: p for p in check_text(tmp_path, valid, text)}


def label_file(*ids: str) -> ValidFile:
    return ValidFile(make_format("label", ["label"], ids), (("cat",),) * len(ids))


def label_text(*rows: str) -> str:
    return "id,label\n" + "".join(f"{row}\n" for row in rows)


XYZ = label_file("x", "y", "z")
PADDED_NAMES = label_file("img_01.png", "img_02.png", "img_10.png")

LABEL_SETS_OR_BLANK = ValidFile(
    replace(LABEL_SETS.form, blank=True, fallback="healthy"), (("",), ("healthy",), ("scab",), ("rust scab",))
)


def score_file(*ids: str) -> ValidFile:
    return ValidFile(make_format("score", ["p"], ids, ("no", "yes")), ())


FIXABLE = [
    (
        "an open quote, and an unknown label",
        XYZ,
        label_text('x,"cat', "y,wasp", "z,bee"),
        {"unclosed_quote": "line 2", "unknown_label": "id y: wasp"},
    ),
    (
        "two open quotes that swallow a row",
        XYZ,
        label_text('x,"cat', "y,bee", 'z,"bee'),
        {"unclosed_quote": "line 2"},
    ),
    (
        "Latin-1, and an unknown label",
        label_file("caf\u00e9", "y"),
        label_text("caf\u00e9,cat", "y,wasp").encode("latin-1"),
        {"encoding": "byte 12", "unknown_label": "id y: wasp"},
    ),
    (
        "Latin-1, and a row too wide",
        label_file("caf\u00e9", "y"),
        label_text("caf\u00e9,cat", "y,bee,\u00e9").encode("latin-1"),
        {"encoding": "byte 12", "ragged": "row 3: 3 cells"},
    ),
    (
        "UTF-16 without a mark",
        XYZ,
        label_text("x,cat", "y,wasp", "z,bee").encode("utf-16-le"),
        {"encoding": "byte 0", "unknown_label": "id y: wasp"},
    ),
    ("UTF-32", XYZ, label_text("x,cat", "y,bee", "z,bee").encode("utf-32"), {"encoding": "byte 0"}),
    (
        "semicolons, and a blank",
        XYZ,
        label_text("x,cat", "y,", "z,bee").replace(",", ";"),
        {"delimiter": "id;label", "blank": "id y: ''"},
    ),
    (
        "bars with a column missing",
        PROBS,
        "id|bee|cat\n",
        {"delimiter": "id|bee|cat", "missing_columns": "red fox", "empty": "line 2"},
    ),
    (
        "commas in numbers, and an id missing",
        ValidFile(make_format("score", ["p"], ("x", "y", "z"), ("no", "yes")), ()),
        "id,p\nx,0,5\ny,1,25\n",
        {"decimal_comma": "row 2: x,0,5", "missing_ids": "z", "out_of_range": "id y: 1.25"},
    ),
    (
        "commas in most numbers, not in all",
        ValidFile(make_format("score", ["p"], ("x", "y", "z"), ("no", "yes")), ()),
        "id,p\nx,0,5\ny,1\nz,0,3\n",
        {"decimal_comma": "row 2: x,0,5"},
    ),
    (
        "no header, and an id spelled otherwise",
        PADDED_NAMES,
        "img_01,cat\nimg_02,cat\nimg_10,cat\n",
        {"no_header": "img_01,cat", "ids_extension": "'img_01' for 'img_01.png'"},
    ),
    (
        "no id column, and logits",
        PROBS,
        "bee,cat,red fox\n-2,3,1\n4,0,-1\n",
        {"missing_columns": "id", "logits": "id of row 2: -2 3 1"},
    ),
    (
        "a folder and another ending",
        PADDED_NAMES,
        label_text("test/img_01.jpg,cat", "test/img_02.jpg,cat", "test/img_10.jpg,cat"),
        {
            "ids_path": "'test/img_01.jpg' for 'img_01.png'",
            "ids_extension": "'test/img_01.jpg' for 'img_01.png'",
        },
    ),
    (
        "zeros within",
        PADDED_NAMES,
        label_text("img_1.png,cat", "img_2.png,cat", "img_10.png,cat"),
        {"ids_padding": "'img_1.png' for 'img_01.png'"},
    ),
    (
        "numbers with an exponent",
        label_file("100000", "200000"),
        label_text("1e+05,cat", "2e+05,cat"),
        {"ids_padding": "'1e+05' for '100000'"},
    ),
    (
        "a few ids in capitals, most missing",
        label_file(*"abcdefgh"),
        label_text("A,cat", "B,cat", "c,cat"),
        {"ids_case": "'A' for 'a'", "missing_ids": "d"},
    ),
    (
        "a blank id",
        XYZ,
        label_text("x,cat", ",bee", "z,bee"),
        {"missing_ids": "y", "extra_ids": "a blank id"},
    ),
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
        TOP_K,
        TOP_K.text().replace("x y z\n", "x|y|z\n"),
        {"label_separator": "id a1.png: x|y|z"},
    ),
    (
        "an unknown class and one twice",
        LABEL_SETS,
        LABEL_SETS.text().replace("rust scab\n", "rust rust\n").replace(",rot\n", ",mould\n"),
        {"unknown_label": "id a2.png: mould", "repeated_label": "id a1.png: rust rust"},
    ),
    (
        "an open quote in a row too many",
        XYZ,
        label_text("x,cat", "y,bee", "z,bee", 'q,"bee'),
        {"unclosed_quote": "line 5", "extra_ids": "q"},
    ),
    (
        "one number with a cell too many",
        score_file("w", "x", "y", "z"),
        "id,p\nw,1\nx,0.5\ny,0,5\nz,0\n",
        {"ragged": "row 4: 3 cells"},
    ),
    (
        "no header, and an unknown label",
        XYZ,
        "x,wasp\ny,cat\nz,bee\n",
        {"no_header": "x,wasp", "unknown_label": "id x: wasp"},
    ),
    (
        "another name twice",
        XYZ,
        "id,what,what\nx,cat,1\ny,bee,1\nz,bee,1\n",
        {"duplicate_columns": "what", "missing_columns": "label", "extra_columns": "what"},
    ),
    (
        "a header in capitals",
        PROBS,
        PROBS.text().replace("id,bee,cat,red fox", "ID,BEE,CAT,RED FOX"),
        {"header_name": "'ID' for 'id'"},
    ),
    (
        "ids that are one in small letters",
        label_file("AB", "ab", "c"),
        label_text("Ab,cat", "aB,cat", "c,cat"),
        {"missing_ids": "AB", "extra_ids": "Ab"},
    ),
    (
        "blanks where a set may be empty",
        LABEL_SETS_OR_BLANK,
        LABEL_SETS_OR_BLANK.text().replace("rust scab\n", "  \n"),
        {"blank": "id 007.png: '  '"},
    ),
    (
        "a mark at the beginning, and a blank",
        XYZ,
        b"\xef\xbb\xbf" + label_text("x,cat", "y,", "z,bee").encode(),
        {"blank": "id y: ''", "bom": "byte 0"},
    ),
]


@pytest.mark.parametrize(("name", "valid", "text", "expected"), FIXABLE, ids=[case[0] for case in FIXABLE])
def test_a_fixable_problem_does_not_hide_the_others(tmp_path, name, valid, text, expected):
    found = problems_by_code(tmp_path, valid, text)
    assert {code: p.first for code, p in found.items()} == expected
    assert [p.severity for p in found.values()] == sorted(p.severity for p in found.values())


def test_blank_and_fallback_label_sets_are_accepted(tmp_path):
    assert problems_by_code(tmp_path, LABEL_SETS_OR_BLANK, LABEL_SETS_OR_BLANK.text()) == {}


def test_few_equal_values_are_not_reported_as_constant(tmp_path):
    assert problems_by_code(tmp_path, score_file("x", "y"), "id,p\nx,0.5\ny,0.5\n") == {}
    assert problems_by_code(tmp_path, score_file(*"wxyz"), "id,p\nw,0.5\nx,0.5\ny,0.5\nz,0.7\n") == {}
    assert problems_by_code(tmp_path, score_file(*"wxyz"), "id,p\nw,0\nx,0\ny,0\nz,0\n") == {}
    assert problems_by_code(tmp_path, FLAGS, FLAGS.text().replace("yes", "no")) == {}


def test_the_check_prints_nothing(tmp_path, capfd):
    """pyarrow alone prints a traceback for each row that is too wide and not UTF-8."""
    problems_by_code(tmp_path, XYZ, label_text("x,cat", "y,bee,\u00e9", "z,bee").encode("latin-1"))
    assert capfd.readouterr() == ("", "")


def test_duplicate_ids_are_reported_with_same_or_different_values(tmp_path):
    same = problems_by_code(tmp_path, XYZ, label_text("x,cat", "y,bee", "z,bee", "y,bee"))["duplicate_ids"]
    other = problems_by_code(tmp_path, XYZ, label_text("x,cat", "y,bee", "z,bee", "y,cat"))["duplicate_ids"]
    assert "same values" in same.message
    assert "different values" in other.message
    assert same.first == other.first == "y again in row 5"


def test_decimal_points_are_refused_where_the_sample_has_decimal_commas(tmp_path):
    german = replace(SCORE.form, dialect=CsvDialect(delimiter=";", decimal_mark=","))
    valid = "id;p\na1.png;0,5\na2.png;1\nb,3.png;0\n007.png;0,25\n"
    assert problems_by_code(tmp_path, ValidFile(german, ()), valid) == {}
    assert set(problems_by_code(tmp_path, ValidFile(german, ()), valid.replace("0,25", "0.25"))) == {
        "not_a_number"
    }


def test_a_problem_with_an_unknown_code_or_severity_is_refused():
    with pytest.raises(ValueError, match="no code nothing"):
        Problem("nothing", "error", 1, "x", "y", "z.")
    with pytest.raises(ValueError, match="no code bom with severity error"):
        Problem("bom", "error", 1, "x", "y", "z.")
    assert Problem("bom", "warning", 1, "x", "y", "z.").as_dict()["code"] in CODES


def test_100000_different_unknown_labels_are_one_problem(tmp_path):
    number = 100_000
    classes = tuple(f"class {c}" for c in range(500))
    wanted = make_format("label", ["label"], [str(i) for i in range(number)], classes)
    text = "id,label\n" + "".join(f"{i},wrong {i}\n" for i in range(number))
    (found,) = problems_by_code(tmp_path, ValidFile(wanted, ()), text).values()
    assert (found.code, found.count) == ("unknown_label", number)


BYTES = [
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
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from(BYTES)), min_size=1, max_size=5
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(VALID_FILES)), edits)
def test_no_file_content_crashes_the_check(tmp_path_factory, name, changes):
    data = VALID_FILES[name].text().encode()
    for share, cut, piece in changes:
        at = int(share * len(data))
        data = data[:at] + piece + data[at + cut :]
    path = tmp_path_factory.mktemp("random") / "s.csv"
    path.write_bytes(data)
    for problem in check_file(path, VALID_FILES[name].form):
        assert problem.first and problem.first.isprintable() and problem.message.isprintable()


def test_the_summary_of_a_problem_of_the_whole_file_has_no_count():
    whole = Problem("same_as_previous", "warning", 360, "a.csv", "the file is the same", "y.")
    assert whole.summary == "the file is the same (a.csv)"
    assert "360" in Problem("missing_ids", "error", 360, "a.png", "ids are missing", "y.").summary
