import pytest

from kit.submission.check import check_file, check_rows
from kit.submission.format import SubmissionFormat

IDS = ("01.png", "2.png", "10.png")
LABEL = SubmissionFormat("ID", ("Label",), "label", IDS, ("2", "10"))
PROBS = SubmissionFormat("ID", ("2", "10"), "probabilities", IDS, ("2", "10"))
SCORE = SubmissionFormat("ID", ("has",), "score", IDS, ("no", "yes"))
GOOD = [["ID", "Label"], ["01.png", "2"], ["2.png", "10"], ["10.png", "2"]]
GOOD_PROBS = [
    ["ID", "2", "10"],
    ["01.png", "0.25", "0.75"],
    ["2.png", "1", "0.0"],
    ["10.png", "1e-3", "0.999"],
]


def codes(rows, form=LABEL):
    return {p.code for p in check_rows(rows, form)}


def test_good_files_draw_no_word():
    assert codes(GOOD) == set()
    assert codes([GOOD[0], *GOOD[:0:-1]]) == set()
    assert codes(GOOD_PROBS, PROBS) == set()
    assert codes([["ID", "has"], ["01.png", "0.1"], ["2.png", "0"], ["10.png", "1"]], SCORE) == set()


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([], "empty"),
        (GOOD[1:], "no_header"),
        ([["id", "label"], *GOOD[1:]], "header"),
        ([["", "ID", "Label"], *([str(i), *r] for i, r in enumerate(GOOD[1:]))], "index_column"),
        (GOOD[:-1], "missing_ids"),
        ([*GOOD, ["11.png", "2"]], "extra_ids"),
        ([*GOOD, GOOD[1]], "duplicate_ids"),
        ([*GOOD[:-1], ["10.png"]], "ragged"),
        ([*GOOD[:-1], ["10.png", " "]], "blank"),
        ([*GOOD[:-1], ["10.png", "02"]], "unknown_label"),
        ([GOOD[0], *([r[0], "2"] for r in GOOD[1:])], "constant"),
    ],
)
def test_each_fault_has_its_code(rows, code):
    assert code in codes(rows)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (["nan", "1"], "not_a_number"),
        (["inf", "1"], "not_a_number"),
        (["0,5", "1"], "not_a_number"),
        (["1_0", "1"], "not_a_number"),
        (["-0.5", "1.5"], "out_of_range"),
        (["0.2", "0.2"], "row_sum"),
    ],
)
def test_each_fault_of_probabilities_has_its_code(values, code):
    assert codes([*GOOD_PROBS[:-1], ["10.png", *values]], PROBS) == {code}


def test_a_blank_id_and_an_empty_line_at_the_end():
    assert {"missing_ids", "extra_ids"} <= codes([*GOOD[:-1], ["", "2"]])
    assert codes([*GOOD, []]) == set()


def test_the_sample_itself_is_recognised():
    from dataclasses import replace

    form = replace(LABEL, sample={row[0]: (row[1],) for row in GOOD[1:]})
    problems = check_rows(GOOD, form)
    assert [(p.code, p.severity) for p in problems] == [("is_sample", "warning")]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda i: i.removesuffix(".png"), "without their ending"),
        (lambda i: i.lstrip("0"), "without their leading zeros"),
        (lambda i: i.upper(), "in another case"),
    ],
)
def test_ids_that_would_match_under_one_rule_are_told(change, how):
    rows = [GOOD[0], *([change(r[0]), r[1]] for r in GOOD[1:])]
    missing = next(p for p in check_rows(rows, LABEL) if p.code == "missing_ids")
    assert missing.message == f"ids are missing; they are there {how}"


def test_ids_with_an_ending_that_does_not_belong():
    from dataclasses import replace

    form = replace(LABEL, ids=("01", "2", "10"))
    missing = next(p for p in check_rows(GOOD, form) if p.code == "missing_ids")
    assert "with an ending that does not belong" in missing.message


def test_all_problems_at_once_with_count_and_first_example():
    rows = [["ID", "Label"], ["01.png", "x"], ["01.png", "y"], ["9.png", "2"]]
    found = {p.code: (p.count, p.first) for p in check_rows(rows, LABEL)}
    assert found == {
        "missing_ids": (2, "2.png"),
        "extra_ids": (1, "9.png"),
        "duplicate_ids": (1, "01.png"),
        "unknown_label": (2, "id 01.png: x"),
    }


def test_every_problem_has_a_remedy_and_json_keys(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("ID,Label\n01.png,x\n")
    for problem in check_file(path, LABEL):
        assert problem.remedy
        assert set(problem.as_dict()) == {"code", "severity", "count", "first", "message", "remedy"}


def test_a_sample_of_numbers_alone_asks_for_numbers():
    form = SubmissionFormat("ID", ("p",), "any", ("a", "b"), (), sample={"a": ("0.5",), "b": ("0.5",)})
    assert codes([["ID", "p"], ["a", "x"], ["b", "0.1"]], form) == {"not_a_number"}
    text = SubmissionFormat("ID", ("p",), "any", ("a", "b"), (), sample={"a": ("cat",), "b": ("dog",)})
    assert codes([["ID", "p"], ["a", "dog"], ["b", "cat"]], text) == set()
