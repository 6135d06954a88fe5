"""Each kind of broken file is reported with exactly the expected problem codes."""

import gzip
import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from kit.submission_check.check import check_file
from kit.submission_check.context import CheckContext
from kit.submission_check.problem_codes import CODES
from kit.submission_format.spec import text_column
from tests.conftest import raises_kit_error
from tests.submission_check.valid_files import (
    ANY_NUMBER,
    ANY_TEXT,
    FLAGS,
    GRADE,
    LABEL,
    LABEL_SETS,
    LONG,
    MULTILABEL_PROBS,
    PROBS,
    SCORE,
    TOP_K,
    TRUE_FALSE,
    VALUE,
    ValidFile,
    check_text,
    make_format,
)


def replaced(valid: ValidFile, *pairs: tuple[str, str]) -> str:
    text = valid.text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def label_file(*ids: str) -> ValidFile:
    return ValidFile(
        make_format("label", ["label"], ids), tuple(("cat",) if n % 2 else ("bee",) for n in range(len(ids)))
    )


def with_changed_ids(valid: ValidFile, change) -> str:
    return "id,label\n" + "".join(f"{change(row[0])},{row[1]}\n" for row in valid.rows)


def csv_rows(*cells: str) -> str:
    return "".join(
        f"{i},{cell}\n" for i, cell in zip(("a1.png", "a2.png", '"b,3.png"', "007.png"), cells, strict=True)
    )


FILE_NAMES = label_file("1.png", "2.png", "10.png")
PADDED_NUMBERS = label_file("001", "002", "010")
ACCENTED = label_file("caf\u00e9", "na\u00efve", "x")
MIXED_CASE = label_file("Ab", "cD", "ef")
FORTY = label_file(*(f"{number}.png" for number in range(40)))
LONG_HEADER = ",".join(f"c{number}" for number in range(10_000))

BROKEN = [
    # The file
    ("nothing", LABEL, b"", {"empty"}),
    ("white space only", LABEL, b"\n\n  \n", {"empty"}),
    ("a header alone", LABEL, "id,label\n", {"empty"}),
    ("gzip", LABEL, gzip.compress(b"id,label\n", mtime=0), {"not_text"}),
    ("parquet", LABEL, b"PAR1" + b"\0" * 100, {"not_text"}),
    ("a spreadsheet", LABEL, b"PK\x03\x04" + b"\0" * 100, {"not_text"}),
    ("UTF-16", LABEL, LABEL.text().encode("utf-16"), {"encoding"}),
    ("Latin-1", ACCENTED, ACCENTED.text().encode("latin-1"), {"encoding"}),
    ("a byte-order mark", LABEL, b"\xef\xbb\xbf" + LABEL.text().encode(), {"bom"}),
    ("a NUL byte", LABEL, replaced(LABEL, ("bee", "bee\0")), {"nul_bytes", "unknown_label"}),
    ("semicolons", FILE_NAMES, replaced(FILE_NAMES, (",", ";")), {"delimiter"}),
    ("tabs", FILE_NAMES, replaced(FILE_NAMES, (",", "\t")), {"delimiter"}),
    (
        "an open quote",
        LABEL,
        replaced(LABEL, ("cat", '"cat')).replace('007.png,"cat', "007.png,cat"),
        {"unclosed_quote"},
    ),
    ("a cell too many", LABEL, replaced(LABEL, ("bee", "bee,x")), {"ragged"}),
    ("a cell too few", LABEL, replaced(LABEL, (",bee", "")), {"ragged"}),
    # The header
    ("no header", LABEL, replaced(LABEL, ("id,label\n", "")), {"no_header"}),
    ("another name", LABEL, replaced(LABEL, ("id,label", "id,Label")), {"header_name"}),
    ("another name for the id", LABEL, replaced(LABEL, ("id,label", "image,label")), {"header_name"}),
    ("blanks in the header", LABEL, replaced(LABEL, ("id,label", "id, label")), {"header_name"}),
    ("both names wrong", LABEL, replaced(LABEL, ("id,label", "Id,LABEL")), {"header_name"}),
    ("columns swapped", PROBS, replaced(PROBS, ("bee,cat", "cat,bee")), {"header_order"}),
    (
        "id last",
        LABEL,
        'label,id\ncat,a1.png\nbee,a2.png\nred fox,"b,3.png"\ncat,007.png\n',
        {"header_order"},
    ),
    (
        "an index",
        LABEL,
        ',id,label\n0,a1.png,cat\n1,a2.png,bee\n2,"b,3.png",cat\n3,007.png,cat\n',
        {"index_column"},
    ),
    (
        "a named index",
        FILE_NAMES,
        "Unnamed: 0,id,label\n5,1.png,cat\n7,2.png,bee\n9,10.png,cat\n",
        {"index_column"},
    ),
    (
        "a column too many",
        LABEL,
        "id,label,more\n" + csv_rows("cat,1", "bee,1", "bee,1", "cat,1"),
        {"extra_columns"},
    ),
    (
        "a column too few",
        PROBS,
        "id,bee,cat\n" + csv_rows("0.5,0.5", "0,1", "0.3,0.7", "1,0"),
        {"missing_columns"},
    ),
    ("no id column", PROBS, "bee,cat,red fox\n0.5,0.25,0.25\n", {"missing_columns"}),
    (
        "a name twice",
        LABEL,
        "id,label,label\n" + csv_rows("cat,a", "bee,b", "bee,c", "cat,d"),
        {"duplicate_columns"},
    ),
    ("10,000 columns", LABEL, f"{LONG_HEADER}\n", {"missing_columns", "extra_columns"}),
    # The ids
    ("an id missing", LABEL, replaced(LABEL, ("007.png,cat\n", "")), {"missing_ids"}),
    ("a foreign id", LABEL, LABEL.text() + "x.png,cat\n", {"extra_ids"}),
    (
        "an id instead of another",
        FORTY,
        replaced(FORTY, ("7.png", "z.png"))
        .replace("1z.png", "17.png")
        .replace("2z.png", "27.png")
        .replace("3z.png", "37.png"),
        {"missing_ids", "extra_ids"},
    ),
    ("an id twice", LABEL, LABEL.text() + "a1.png,cat\n", {"duplicate_ids"}),
    (
        "an id twice instead of another",
        LABEL,
        replaced(LABEL, ("a2.png", "a1.png")),
        {"duplicate_ids", "missing_ids"},
    ),
    ("without ending", FILE_NAMES, with_changed_ids(FILE_NAMES, lambda i: i[:-4]), {"ids_extension"}),
    (
        "with an ending",
        PADDED_NUMBERS,
        with_changed_ids(PADDED_NUMBERS, lambda i: i + ".png"),
        {"ids_extension"},
    ),
    (
        "another ending",
        FILE_NAMES,
        with_changed_ids(FILE_NAMES, lambda i: i[:-4] + ".jpg"),
        {"ids_extension"},
    ),
    ("upper case", FILE_NAMES, with_changed_ids(FILE_NAMES, str.upper), {"ids_case"}),
    ("lower case", MIXED_CASE, with_changed_ids(MIXED_CASE, str.lower), {"ids_case"}),
    (
        "without zeros",
        PADDED_NUMBERS,
        with_changed_ids(PADDED_NUMBERS, lambda i: i.lstrip("0")),
        {"ids_padding"},
    ),
    ("as floats", PADDED_NUMBERS, with_changed_ids(PADDED_NUMBERS, lambda i: f"{float(i)}"), {"ids_padding"}),
    ("white space", FILE_NAMES, with_changed_ids(FILE_NAMES, lambda i: f" {i} "), {"ids_space"}),
    ("a path", FILE_NAMES, with_changed_ids(FILE_NAMES, lambda i: f"test/{i}"), {"ids_path"}),
    ("a Windows path", FILE_NAMES, with_changed_ids(FILE_NAMES, lambda i: f"C:\\data\\{i}"), {"ids_path"}),
    (
        "another normal form",
        ACCENTED,
        with_changed_ids(ACCENTED, lambda i: unicodedata.normalize("NFD", i)),
        {"ids_unicode"},
    ),
    (
        "without ending, and one missing",
        FILE_NAMES,
        with_changed_ids(FILE_NAMES, lambda i: i[:-4]).replace("2,cat\n", ""),
        {"ids_extension", "missing_ids"},
    ),
    # Labels
    ("a blank label", LABEL, replaced(LABEL, (",bee", ",")), {"blank"}),
    ("a label of blanks", LABEL, replaced(LABEL, (",bee", ",  ")), {"blank"}),
    ("a missing label", LABEL, replaced(LABEL, (",bee", ",NaN")), {"not_finite"}),
    ("an unknown label", LABEL, replaced(LABEL, ("bee", "wasp")), {"unknown_label"}),
    ("a label in capitals", LABEL, replaced(LABEL, ("bee", "Bee")), {"label_spelling"}),
    ("a label with a blank", LABEL, replaced(LABEL, ("bee", "bee ")), {"label_spelling"}),
    ("indices", LABEL, "id,label\n" + csv_rows("0", "1", "2", "1"), {"indices_for_names"}),
    ("names", GRADE, "id,label\n" + csv_rows("mild", "severe", "none at all", "mild"), {"names_for_indices"}),
    ("floats", GRADE, "id,label\n" + csv_rows("0.0", "11.0", "2.0", "10.0"), {"label_spelling"}),
    ("no such grade", GRADE, "id,label\n" + csv_rows("0", "12", "2", "10"), {"unknown_label"}),
    ("a formula", LABEL, replaced(LABEL, ("bee", "=cmd|' /C calc'!A0")), {"formula"}),
    ("0 and 1 for words", TRUE_FALSE, "id,label\n" + csv_rows("1", "0", "1", "0"), {"label_spelling"}),
    ("a line end in a label", LABEL, replaced(LABEL, (",bee", ',"b\nee"')), {"unknown_label"}),
    ("ten megabytes", LABEL, replaced(LABEL, (",bee", f',"{"x," * 5_000_000}"')), {"unknown_label"}),
    ("an escape code of the terminal", LABEL, replaced(LABEL, ("bee", "\x1b[31mbee")), {"unknown_label"}),
    ("neither yes nor no", FLAGS, replaced(FLAGS, ("yes,yes", "yes,maybe")), {"unknown_label"}),
    ("1 for yes", FLAGS, FLAGS.text().replace("yes", "1").replace("no", "0"), {"label_spelling"}),
    ("a blank flag", FLAGS, replaced(FLAGS, ("no,yes,no", "no,,no")), {"blank"}),
    # Several labels
    (
        "commas in a set",
        LABEL_SETS,
        replaced(LABEL_SETS, ("rust scab\n", '"rust,scab"\n')),
        {"label_separator"},
    ),
    (
        "commas and blanks",
        LABEL_SETS,
        replaced(LABEL_SETS, ("rust scab\n", '"rust, scab"\n')),
        {"label_separator"},
    ),
    ("two blanks", LABEL_SETS, replaced(LABEL_SETS, ("rust scab\n", "rust  scab\n")), {"label_separator"}),
    (
        "a class twice in a set",
        LABEL_SETS,
        replaced(LABEL_SETS, ("rust scab\n", "rust rust\n")),
        {"repeated_label"},
    ),
    (
        "an unknown class in a set",
        LABEL_SETS,
        replaced(LABEL_SETS, ("rust scab\n", "rust mould\n")),
        {"unknown_label"},
    ),
    ("an empty set", LABEL_SETS, replaced(LABEL_SETS, (",rot\n", ",\n")), {"blank"}),
    ("too many ranks", TOP_K, replaced(TOP_K, ("x y z\n", "x y z w\n")), {"too_many_labels"}),
    ("too few ranks", TOP_K, replaced(TOP_K, ("x y z\n", "x y\n")), {"too_few_labels"}),
    ("a rank twice", TOP_K, replaced(TOP_K, ("x y z\n", "x y x\n")), {"repeated_label"}),
    ("an unknown rank", TOP_K, replaced(TOP_K, ("x y z\n", "x y q\n")), {"unknown_label"}),
    ("a blank rank", TOP_K, replaced(TOP_K, ("x y z\n", "\n")), {"blank"}),
    ("a Python list", TOP_K, replaced(TOP_K, ("x y z\n", "\"['x', 'y', 'z']\"\n")), {"unknown_label"}),
    # Numbers
    ("a blank number", SCORE, replaced(SCORE, (",0.5\n", ",\n")), {"blank"}),
    ("nan", SCORE, replaced(SCORE, (",0.5\n", ",nan\n")), {"not_finite"}),
    ("NULL", SCORE, replaced(SCORE, (",0.5\n", ",NULL\n")), {"not_finite"}),
    ("infinity", SCORE, replaced(SCORE, (",0.5\n", ",-inf\n")), {"not_finite"}),
    ("text", SCORE, replaced(SCORE, (",0.5\n", ",half\n")), {"not_a_number"}),
    ("an underscore", SCORE, replaced(SCORE, (",0.5\n", ",0_5\n")), {"not_a_number"}),
    ("hexadecimal", SCORE, replaced(SCORE, (",0.5\n", ",0x1\n")), {"not_a_number"}),
    ("digits of another script", SCORE, replaced(SCORE, (",0.5\n", ",\u0661\n")), {"not_a_number"}),
    ("a tensor", SCORE, replaced(SCORE, (",0.5\n", ",tensor(0.5)\n")), {"not_a_number"}),
    ("an array", SCORE, replaced(SCORE, (",0.5\n", ",[0.5]\n")), {"not_a_number"}),
    ("a decimal comma", SCORE, replaced(SCORE, (",0.5\n", ',"0,5"\n')), {"decimal_comma"}),
    (
        "decimal commas that split cells",
        ValidFile(make_format("score", ["p"], ("x", "y"), ("no", "yes")), (("0.5",), ("0.25",))),
        "id,p\nx,0,5\ny,0,25\n",
        {"decimal_comma"},
    ),
    ("thousands", VALUE, replaced(VALUE, (",20.5\n", ',"1,020.5"\n')), {"thousands"}),
    ("a percent sign", SCORE, replaced(SCORE, (",0.5\n", ",50%\n")), {"percent"}),
    ("a formula for a number", SCORE, replaced(SCORE, (",0.5\n", ",=0.5\n")), {"formula"}),
    ("a probability above 1", SCORE, replaced(SCORE, (",0.5\n", ",1.5\n")), {"out_of_range"}),
    (
        "a probability below 0",
        MULTILABEL_PROBS,
        replaced(MULTILABEL_PROBS, ("0.25", "-0.25")),
        {"out_of_range"},
    ),
    (
        "logits",
        PROBS,
        "id,bee,cat,red fox\n" + csv_rows("2.1,-0.3,0.4", "-1,0,5", "3,1,-2", "0.5,0.1,-4"),
        {"logits"},
    ),
    ("a logit", SCORE, "id,p\n" + csv_rows("2.3", "-1.7", "0.4", "-0.2"), {"logits"}),
    (
        "percentages",
        PROBS,
        "id,bee,cat,red fox\n" + csv_rows("50,25,25", "0,0,100", "10,20,70", "1,99,0"),
        {"percentages"},
    ),
    ("a percentage", SCORE, "id,p\n" + csv_rows("50", "100", "0.5", "12"), {"percentages"}),
    ("sums other than 1", PROBS, replaced(PROBS, ("0.5,0.25,0.25", "0.5,0.5,0.5")), {"row_sum"}),
    (
        "sums off by rounding",
        PROBS,
        "id,bee,cat,red fox\n" + csv_rows("0.33,0.33,0.33", "0,0,1", "0.1,0.2,0.7", "0.5,0.5,0"),
        {"row_sum_rounding"},
    ),
    ("a value too high", VALUE, replaced(VALUE, (",20.5\n", ",120.5\n")), {"out_of_range"}),
    ("a long row missing", LONG, replaced(LONG, ("s2_C2,0\n", "")), {"missing_ids"}),
    ("a long row of no class", LONG, replaced(LONG, ("s2_C2", "s2_C3")), {"missing_ids", "extra_ids"}),
    ("long logits", LONG, replaced(LONG, ("0.5", "-2.5"), ("0.9", "3.5")), {"logits"}),
    (
        "the same numbers in all rows",
        MULTILABEL_PROBS,
        "id,bee,cat,red fox\n" + csv_rows(*["0.1,0.2,0.3"] * 4),
        {"constant"},
    ),
    ("the same ranking in all rows", TOP_K, "id,ids\n" + csv_rows(*["x y z"] * 4), {"constant"}),
    ("one class for all", FORTY, with_changed_ids(FORTY, str).replace("bee", "cat"), {"one_class"}),
    (
        "one class has the highest probability in all rows",
        ValidFile(make_format("probabilities", ("bee", "cat", "red fox"), [f"{i}" for i in range(30)]), ()),
        "id,bee,cat,red fox\n" + "".join(f"{i},0.{60 + i},0.{40 - i},0\n" for i in range(30)),
        {"one_class"},
    ),
    # Formats inferred from a sample alone
    ("text for a number", ANY_NUMBER, "id,v\n" + csv_rows("x", "1", "2", "3"), {"not_a_number"}),
    ("a formula that the sample lacks", ANY_TEXT, "id,v\n" + csv_rows("=2+2", "cat", "", "dog"), {"formula"}),
    ("the unchanged sample", ANY_NUMBER, "id,v\n" + csv_rows("0.5", "0.5", "0.5", "0.5"), {"is_sample"}),
    # Several at once
    (
        "several problems at once",
        LABEL,
        "Id,label\na1.png,cat\na1.png,wasp\nx.png,\n",
        {"header_name", "missing_ids", "extra_ids", "duplicate_ids", "unknown_label", "blank"},
    ),
]


@pytest.mark.parametrize(("name", "valid", "text", "expected"), BROKEN, ids=[case[0] for case in BROKEN])
def test_a_broken_file_is_reported_with_exactly_its_codes(tmp_path, name, valid, text, expected):
    found = check_text(tmp_path, valid, text)
    assert {p.code for p in found} == expected
    assert [p.severity for p in found] == sorted(p.severity for p in found)
    for problem in found:
        assert problem.count > 0 and problem.message and problem.remedy.endswith(".")
        assert 0 < len(problem.first) < 300 and problem.first.isprintable()
        assert set(problem.as_dict()) == {"code", "severity", "count", "first", "message", "remedy"}


def test_the_cases_cover_every_problem_code():
    assert len(BROKEN) > 100
    compared = {
        "labels_permuted",
        "rows_permuted",
        "shares_far",
        "same_as_previous",
        "unlike_previous",
        "stale_sample",
        "too_large",
        "far_from_training",
    }
    assert set().union(*(case[3] for case in BROKEN)) | compared == set(CODES)


def test_a_too_large_file_and_a_stale_sample_are_reported(tmp_path):
    context = CheckContext(max_bytes=10, unlisted=("new.png",), vanished=("old.png", "older.png"))
    found = {p.code: p for p in check_text(tmp_path, LABEL, LABEL.text(), context)}
    assert set(found) == {"too_large", "stale_sample"}
    assert (found["stale_sample"].count, found["stale_sample"].first) == (3, "new.png is not listed")


def test_a_folder_or_a_missing_file_raises_an_error(tmp_path):
    with raises_kit_error("not_a_file"):
        check_file(tmp_path, LABEL.form)
    with raises_kit_error("file_missing"):
        check_file(tmp_path / "none.csv", LABEL.form)


def test_a_problem_has_its_first_example_and_its_count(tmp_path):
    text = 'id,label\na1.png,cat\na2.png,wasp\n"b,3.png",hornet\n007.png,wasp\n'
    (found,) = check_text(tmp_path, LABEL, text)
    assert (found.count, found.first) == (3, "id a2.png: wasp")
    assert "(bee, cat, red fox)" in found.message


def test_control_characters_are_escaped_in_messages(tmp_path):
    (found,) = check_text(tmp_path, LABEL, replaced(LABEL, ("bee", "\x1b[31mbee")))
    assert found.first == "id a2.png: \\x1b[31mbee"


def test_rows_with_too_many_cells_are_not_reported_as_missing_ids_too(tmp_path):
    (found,) = check_text(tmp_path, LABEL, replaced(LABEL, ("bee", "bee,x,y"), ("red fox", "red fox,x")))
    assert (found.code, found.count, found.first) == ("ragged", 2, "row 3: 4 cells")


def test_a_problem_is_counted_over_all_columns(tmp_path):
    text = "id,bee,cat,red fox\n" + csv_rows("x,0.5,0.5", "0,y,1", "0.1,0.2,0.7", ",,")
    found = {p.code: p.count for p in check_text(tmp_path, PROBS, text)}
    assert found == {"not_a_number": 2, "blank": 3}


def test_an_unchanged_sample_is_recognized_in_any_row_order(tmp_path):
    sample_labels = (text_column([row[0] for row in LABEL.cells]),)
    with_sample = ValidFile(replace(LABEL.form, sample=sample_labels), LABEL.cells)
    header, *lines = with_sample.text().splitlines()
    (found,) = check_text(tmp_path, with_sample, "\n".join([header, *lines[::-1]]))
    assert found.code == "is_sample"


def test_200000_shuffled_ids_are_matched(tmp_path):
    number = 200_000
    ids = [f"{i}" for i in range(number)]
    wanted = make_format("score", ["p"], ids, ("no", "yes"))
    order = np.random.default_rng(0).permutation(number)
    text = "id,p\n" + "".join(f"{i},0.{i % 89 + 10}\n" for i in order)
    assert check_text(tmp_path, ValidFile(wanted, ()), text) == []


def test_a_file_far_larger_than_the_format_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "big.csv"
    with path.open("wb") as file:
        file.truncate(2_000_000_000)  # sparse: no disk is used, and reading it would take a minute
    (found,) = check_file(path, LABEL.form)
    assert found.code == "too_large"
