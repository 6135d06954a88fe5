"""A valid file has no problems, whatever its quoting, line ends, row order and number format."""

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
from tests.submission_check.valid_files import (
    LABEL,
    PROBS,
    SCORE,
    TABS,
    TOP_K,
    VALID_FILES,
    VALUE,
    ValidFile,
    check_text,
    make_format,
    quoted,
)
from tests.submission_format.test_round_trips import (
    EXCLUSIVE,
    MULTILABEL,
    build_format,
    dialects,
    draw_final,
    names,
    texts,
)

every_format = pytest.mark.parametrize("valid", VALID_FILES.values(), ids=list(VALID_FILES))


def problem_codes(tmp_path, text: str | bytes, submission_format: SubmissionFormat, context=None) -> set[str]:
    return {p.code for p in check_text(tmp_path, ValidFile(submission_format, ()), text, context)}


@every_format
def test_a_plain_file_is_valid(tmp_path, valid):
    assert problem_codes(tmp_path, valid.text(), valid.form) == set()


@every_format
def test_other_line_ends_and_no_final_line_end_are_valid(tmp_path, valid):
    assert problem_codes(tmp_path, valid.text("\r\n"), valid.form) == set()
    assert problem_codes(tmp_path, valid.text().removesuffix("\n"), valid.form) == set()


@every_format
def test_empty_lines_at_the_end_are_valid(tmp_path, valid):
    assert problem_codes(tmp_path, valid.text() + "\n\n", valid.form) == set()


@every_format
def test_quoted_cells_are_valid(tmp_path, valid):
    rows = [valid.form.header, *valid.rows]
    text = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    assert problem_codes(tmp_path, text, valid.form) == set()


@every_format
def test_rows_in_another_order_are_valid(tmp_path, valid):
    rows = [valid.form.header, *valid.rows[::-1]]
    assert problem_codes(tmp_path, "\n".join(",".join(map(quoted, row)) for row in rows), valid.form) == set()


@pytest.mark.parametrize(
    "cell", ["1", "1.0", "0.30000000000000004", "1e-3", "1E-05", ".5", "0.", " 0.5", "0.5 ", "+0.5"]
)
def test_common_number_formats_are_valid(tmp_path, cell):
    rows = SCORE.text().replace("0.123456789", cell)
    assert problem_codes(tmp_path, rows, SCORE.form) == set()


def test_a_byte_order_mark_is_valid_if_the_sample_has_one(tmp_path):
    from dataclasses import replace

    marked = replace(LABEL.form, dialect=CsvDialect(bom=True))
    assert problem_codes(tmp_path, "\ufeff" + LABEL.text(), marked) == set()


def test_tabs_are_valid_if_the_sample_has_tabs(tmp_path):
    text = LABEL.text().replace('"b,3.png"', "b,3.png").replace(",cat", "\tcat").replace(",bee", "\tbee")
    text = text.replace(",red", "\tred").replace("id,", "id\t")
    assert problem_codes(tmp_path, text, TABS.form) == set()


def test_sample_ids_that_are_similar_or_look_like_formulas_are_valid(tmp_path):
    similar_ids = ("caf\u00e9", "cafe\u0301", "A", "a", "7", "07", "007", "x.png", "x", "=cmd", "a/b", "b")
    submission_format = make_format("label", ["label"], similar_ids)
    text = "id,label\n" + "".join(f"{i},cat\n" for i in similar_ids[:-1]) + "b,bee\n"
    assert problem_codes(tmp_path, text, submission_format) == set()


def test_one_class_in_few_rows_is_valid(tmp_path):
    assert (
        problem_codes(tmp_path, LABEL.text().replace("bee", "cat").replace("red fox", "cat"), LABEL.form)
        == set()
    )


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(EXCLUSIVE), st.lists(texts, unique=True, min_size=1, max_size=6), dialects, st.booleans()
)
def test_files_that_kit_writes_for_exclusive_classes_are_valid(
    tmp_path_factory, kind, rows, dialect, id_at_end
):
    assert_no_problem(tmp_path_factory, kind, rows, ("bee", "cat"), True, dialect, id_at_end)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(MULTILABEL),
    st.lists(texts, unique=True, min_size=1, max_size=6),
    st.lists(names.filter(str.isalnum), unique=True, min_size=2, max_size=4),
    dialects,
)
def test_files_that_kit_writes_for_multilabel_classes_are_valid(
    tmp_path_factory, kind, rows, classes, dialect
):
    assert_no_problem(tmp_path_factory, kind, rows, tuple(classes), False, dialect, False)


def assert_no_problem(tmp_path_factory, kind, rows, classes, exclusive, dialect, id_at_end):
    from kit.tasks import tasks

    submission_format = build_format(kind, rows, classes, exclusive, dialect, id_at_end)
    if len(set(submission_format.ids.to_pylist())) < len(submission_format):
        return
    task = tasks.get("binary" if exclusive else "multilabel")
    predictions = draw_final(len(rows), len(classes), task, len(rows))
    path = tmp_path_factory.mktemp("own") / "s.csv"
    write(path, predictions, submission_format)
    found = {p.code for p in check_file(path, submission_format)} - {
        "constant"
    }  # few rows can be constant by chance
    assert found == set(), text_of(predictions, submission_format)


def test_scores_of_a_rare_class_may_all_be_below_one_half(tmp_path):
    submission_format = make_format("score", ["p"], [f"{i}.png" for i in range(60)], ("no", "yes"))
    text = "id,p\n" + "".join(f"{i}.png,0.0{i + 10}\n" for i in range(60))
    assert problem_codes(tmp_path, text, submission_format) == set()
    labels = CheckContext(class_counts=np.array([500.0, 500.0]), counts_source="the training labels")
    assert problem_codes(tmp_path, text, submission_format, labels) == set()
    predicted = CheckContext(
        class_counts=np.array([500.0, 500.0]), counts_source="x", counts_are_predictions=True
    )
    assert problem_codes(tmp_path, text, submission_format, predicted) == {"one_class"}


def test_a_space_after_top_k_labels_is_valid(tmp_path):
    text = TOP_K.text().replace("x y z\n", "x y z \n")
    assert problem_codes(tmp_path, text, TOP_K.form) == set()


def test_a_quotation_mark_inside_an_unquoted_cell_is_valid(tmp_path):
    submission_format = make_format("label", ["label"], ('5" pipe', "x"))
    assert problem_codes(tmp_path, 'id,label\n5" pipe,cat\nx,bee\n', submission_format) == set()


class RandomClassifier:
    """A random classifier: class frequencies, accuracy, and a confusion matrix for its errors."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.classes = tuple(str(c) for c in range(int(rng.choice([2, 3, 10, 12, 30, 120]))))
        width = len(self.classes)
        flat = rng.random() < 0.5
        self.frequencies = np.full(width, 1 / width) if flat else rng.dirichlet(np.full(width, 1.0))
        self.errors = 0.8 * rng.dirichlet(np.full(width, 0.5), width) + 0.2 / width
        self.accuracy = rng.uniform(0.4, 0.98)

    def draw_labels(self, number):
        return self.rng.choice(len(self.classes), number, p=self.frequencies)

    def predict(self, truth):
        drawn = self.rng.random(len(truth))[:, None]
        wrong = np.minimum((drawn > self.errors.cumsum(axis=1)[truth]).sum(axis=1), len(self.classes) - 1)
        return np.where(self.rng.random(len(truth)) < self.accuracy, truth, wrong)


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_no_false_alarm_for_300_random_classifiers(tmp_path, start):
    """Test images have the class frequencies of the training images; another model and a previous file exist."""
    for seed in range(start, start + 50):
        classifier = RandomClassifier(seed)
        number, width = int(classifier.rng.choice([20, 60, 400, 3000])), len(classifier.classes)
        oof, truth = (
            classifier.predict(classifier.draw_labels(int(classifier.rng.choice([200, 2000])))),
            classifier.draw_labels(number),
        )
        ours, other, before = classifier.predict(truth), classifier.predict(truth), classifier.predict(truth)
        images = [f"{i}.jpg" for i in classifier.rng.permutation(number)]
        submission_format = SubmissionFormat(
            ("id", "label"), "id", submission_kinds.get("label"), text_column(images), classifier.classes
        )
        nothing = np.zeros((number, 0))
        write(tmp_path / "before.csv", FinalPredictions(nothing, before), submission_format)
        write(tmp_path / "ours.csv", FinalPredictions(nothing, ours), submission_format)
        context = CheckContext(
            class_counts=np.bincount(oof, minlength=width).astype(float),
            counts_source="x",
            counts_are_predictions=True,
            predictions=FinalPredictions(nothing, other),
            previous=tmp_path / "before.csv",
        )
        found = check_file(tmp_path / "ours.csv", submission_format, context)
        # If one class is very frequent, two files can be equal by chance.
        assert [p for p in found if p.code != "same_as_previous"] == [], seed
        assert not found or (ours == before).all()


def test_a_previous_file_of_another_format_is_ignored(tmp_path):
    (tmp_path / "before.csv").write_text("something,else\n1,2\n")
    assert (
        problem_codes(tmp_path, PROBS.text(), PROBS.form, CheckContext(previous=tmp_path / "before.csv"))
        == set()
    )
    assert (
        problem_codes(tmp_path, VALUE.text(), VALUE.form, CheckContext(previous=tmp_path / "none.csv"))
        == set()
    )
