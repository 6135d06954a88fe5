"""A valid file has no problem, however it is written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.predictions import FinalPredictions
from kit.submission_check.check import check_file
from kit.submission_check.context import CheckContext
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.spec import CsvDialect, SubmissionFormat, text_column
from kit.submission_format.writer import text_of, write
from tests.submission_check.forms import ALL, LABEL, RANKS, SCORE, SHARES, TABS, VALUE, form, quoted
from tests.submission_format.test_round_trips import (
    EXCLUSIVE,
    SEVERAL,
    dialects,
    final_for,
    form_of,
    names,
    texts,
)

each = pytest.mark.parametrize("good", ALL.values(), ids=list(ALL))


def codes(tmp_path, text: str | bytes, wanted: SubmissionFormat, context=None) -> set[str]:
    path = tmp_path / "s.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {p.code for p in check_file(path, wanted, context or CheckContext())}


@each
def test_plainly(tmp_path, good):
    assert codes(tmp_path, good.text(), good.form) == set()


@each
def test_with_other_line_ends_and_none_at_the_end(tmp_path, good):
    assert codes(tmp_path, good.text("\r\n"), good.form) == set()
    assert codes(tmp_path, good.text().removesuffix("\n"), good.form) == set()


@each
def test_with_empty_lines_at_the_end(tmp_path, good):
    assert codes(tmp_path, good.text() + "\n\n", good.form) == set()


@each
def test_with_everything_quoted(tmp_path, good):
    rows = [good.form.header, *good.rows]
    text = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    assert codes(tmp_path, text, good.form) == set()


@each
def test_with_rows_in_another_order(tmp_path, good):
    rows = [good.form.header, *good.rows[::-1]]
    assert codes(tmp_path, "\n".join(",".join(map(quoted, row)) for row in rows), good.form) == set()


@pytest.mark.parametrize(
    "cell", ["1", "1.0", "0.30000000000000004", "1e-3", "1E-05", ".5", "0.", " 0.5", "0.5 ", "+0.5"]
)
def test_numbers_as_others_write_them(tmp_path, cell):
    rows = SCORE.text().replace("0.123456789", cell)
    assert codes(tmp_path, rows, SCORE.form) == set()


def test_a_mark_at_the_beginning_if_the_sample_has_one(tmp_path):
    from dataclasses import replace

    marked = replace(LABEL.form, dialect=CsvDialect(bom=True))
    assert codes(tmp_path, "\ufeff" + LABEL.text(), marked) == set()


def test_tabs_where_the_sample_has_them(tmp_path):
    text = LABEL.text().replace('"b,3.png"', "b,3.png").replace(",cat", "\tcat").replace(",bee", "\tbee")
    text = text.replace(",red", "\tred").replace("id,", "id\t")
    assert codes(tmp_path, text, TABS.form) == set()


def test_ids_of_the_sample_may_be_alike_or_look_like_formulas(tmp_path):
    alike = ("caf\u00e9", "cafe\u0301", "A", "a", "7", "07", "007", "x.png", "x", "=cmd", "a/b", "b")
    wanted = form("label", ["label"], alike)
    text = "id,label\n" + "".join(f"{i},cat\n" for i in alike[:-1]) + "b,bee\n"
    assert codes(tmp_path, text, wanted) == set()


def test_few_rows_may_well_be_of_one_class(tmp_path):
    assert codes(tmp_path, LABEL.text().replace("bee", "cat").replace("red fox", "cat"), LABEL.form) == set()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(EXCLUSIVE), st.lists(texts, unique=True, min_size=1, max_size=6), dialects, st.booleans()
)
def test_what_kit_writes_of_exclusive_classes(tmp_path_factory, kind, rows, dialect, id_at_end):
    assert_no_problem(tmp_path_factory, kind, rows, ("bee", "cat"), True, dialect, id_at_end)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SEVERAL),
    st.lists(texts, unique=True, min_size=1, max_size=6),
    st.lists(names.filter(str.isalnum), unique=True, min_size=2, max_size=4),
    dialects,
)
def test_what_kit_writes_of_several_classes(tmp_path_factory, kind, rows, classes, dialect):
    assert_no_problem(tmp_path_factory, kind, rows, tuple(classes), False, dialect, False)


def assert_no_problem(tmp_path_factory, kind, rows, classes, exclusive, dialect, id_at_end):
    from kit.tasks import tasks

    wanted = form_of(kind, rows, classes, exclusive, dialect, id_at_end)
    if len(set(wanted.ids.to_pylist())) < len(wanted):
        return
    task = tasks.get("binary" if exclusive else "multilabel")
    predictions = final_for(len(rows), len(classes), task, len(rows))
    path = tmp_path_factory.mktemp("own") / "s.csv"
    write(path, predictions, wanted)
    found = {p.code for p in check_file(path, wanted)} - {"constant"}  # of so few rows by chance
    assert found == set(), text_of(predictions, wanted)


def test_probabilities_of_a_rare_class_may_all_lie_below_a_half(tmp_path):
    wanted = form("score", ["p"], [f"{i}.png" for i in range(60)], ("no", "yes"))
    text = "id,p\n" + "".join(f"{i}.png,0.0{i + 10}\n" for i in range(60))
    assert codes(tmp_path, text, wanted) == set()
    labels = CheckContext(class_counts=np.array([500.0, 500.0]), counts_source="the training labels")
    assert codes(tmp_path, text, wanted, labels) == set()
    predicted = CheckContext(
        class_counts=np.array([500.0, 500.0]), counts_source="x", counts_are_predictions=True
    )
    assert codes(tmp_path, text, wanted, predicted) == {"one_class"}


def test_ranks_with_a_blank_at_the_end(tmp_path):
    text = RANKS.text().replace("x y z\n", "x y z \n")
    assert codes(tmp_path, text, RANKS.form) == set()


def test_a_quotation_mark_within_a_cell_is_a_letter(tmp_path):
    wanted = form("label", ["label"], ('5" pipe', "x"))
    assert codes(tmp_path, 'id,label\n5" pipe,cat\nx,bee\n', wanted) == set()


class Classifier:
    """Random predictions of a classifier: class shares, accuracy, and where it errs."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.classes = tuple(str(c) for c in range(int(rng.choice([2, 3, 10, 12, 30, 120]))))
        width = len(self.classes)
        flat = rng.random() < 0.5
        self.shares = np.full(width, 1 / width) if flat else rng.dirichlet(np.full(width, 1.0))
        self.errors = 0.8 * rng.dirichlet(np.full(width, 0.5), width) + 0.2 / width
        self.skill = rng.uniform(0.4, 0.98)

    def truth(self, number):
        return self.rng.choice(len(self.classes), number, p=self.shares)

    def said(self, truth):
        drawn = self.rng.random(len(truth))[:, None]
        wrong = np.minimum((drawn > self.errors.cumsum(axis=1)[truth]).sum(axis=1), len(self.classes) - 1)
        return np.where(self.rng.random(len(truth)) < self.skill, truth, wrong)


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_no_false_alarm_in_hundreds_of_files(tmp_path, start):
    """Test images like the training images, another model beside, another submission before."""
    for seed in range(start, start + 50):
        draw = Classifier(seed)
        number, width = int(draw.rng.choice([20, 60, 400, 3000])), len(draw.classes)
        oof, truth = draw.said(draw.truth(int(draw.rng.choice([200, 2000])))), draw.truth(number)
        ours, other, before = draw.said(truth), draw.said(truth), draw.said(truth)
        images = [f"{i}.jpg" for i in draw.rng.permutation(number)]
        wanted = SubmissionFormat(
            ("id", "label"), "id", submission_kinds.get("label"), text_column(images), draw.classes
        )
        nothing = np.zeros((number, 0))
        write(tmp_path / "before.csv", FinalPredictions(nothing, before), wanted)
        write(tmp_path / "ours.csv", FinalPredictions(nothing, ours), wanted)
        context = CheckContext(
            class_counts=np.bincount(oof, minlength=width).astype(float),
            counts_source="x",
            counts_are_predictions=True,
            predictions=FinalPredictions(nothing, other),
            previous=tmp_path / "before.csv",
        )
        found = check_file(tmp_path / "ours.csv", wanted, context)
        # Where one class is nearly all, two files may well be the same.
        assert [p for p in found if p.code != "same_as_previous"] == [], seed
        assert not found or (ours == before).all()


def test_a_previous_file_of_another_form_is_passed_over(tmp_path):
    (tmp_path / "before.csv").write_text("something,else\n1,2\n")
    assert (
        codes(tmp_path, SHARES.text(), SHARES.form, CheckContext(previous=tmp_path / "before.csv")) == set()
    )
    assert codes(tmp_path, VALUE.text(), VALUE.form, CheckContext(previous=tmp_path / "none.csv")) == set()
