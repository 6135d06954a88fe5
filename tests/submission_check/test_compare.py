"""A file is compared with predictions, class counts and the previous submission; permutations are found."""

from dataclasses import replace

import numpy as np
import pytest

from kit.predictions import FinalPredictions
from kit.submission_check.check import check_file
from kit.submission_check.context import CheckContext
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.spec import LongRows, SubmissionFormat, text_column
from kit.submission_format.writer import write

CLASSES = tuple(str(c) for c in range(100))
ROWS = 2000


def make_format(kind="label", classes=CLASSES, number=ROWS, ids=None) -> SubmissionFormat:
    names = [f"{i}.jpg" for i in range(number)] if ids is None else ids
    columns = classes if kind == "probabilities" else ("label",)
    return SubmissionFormat(("id", *columns), "id", submission_kinds.get(kind), text_column(names), classes)


def draw_predictions(seed=0, number=ROWS, width=100, accuracy=0.6, balanced=True):
    """Return labels and predictions of test images (N,), and class counts (C,) of OOF predictions."""
    rng = np.random.default_rng(seed)
    shares = np.full(width, 1 / width) if balanced else rng.dirichlet(np.full(width, 1.0))
    error_shares = rng.dirichlet(np.full(width, 0.5))  # how often each class is predicted by mistake

    def predict(truth):
        wrong = rng.choice(width, len(truth), p=error_shares)
        return np.where(rng.random(len(truth)) < accuracy, truth, wrong)

    truth, oof_truth = (rng.choice(width, number, p=shares) for _ in range(2))
    return truth, predict(truth), np.bincount(predict(oof_truth), minlength=width).astype(float)


def probs_of(predicted, width=100):
    probs = np.full((len(predicted), width), 0.2 / (width - 1), dtype=np.float32)
    probs[np.arange(len(predicted)), predicted] = 0.8
    return probs


def problems(tmp_path, form, predicted, context, probs=None):
    path = tmp_path / "s.csv"
    write(path, FinalPredictions(np.zeros((len(predicted), 0)) if probs is None else probs, predicted), form)
    return {p.code: p for p in check_file(path, form, context)}


def text_order_index(classes=CLASSES) -> np.ndarray:
    """Return the position of each class in the list of class names sorted as text."""
    order = sorted(classes)
    return np.array([order.index(name) for name in classes])


class TestClassesNumberedInTextOrder:
    """The file holds the index of the class folder in a listing sorted as text (10 before 2).

    The model has 60 % accuracy, the file less than 15 %.
    """

    def draw_permuted(self, balanced):
        truth, predicted, oof = draw_predictions(balanced=balanced)
        permuted = text_order_index()[predicted]
        assert (predicted == truth).mean() > 0.55
        assert (permuted == truth).mean() < 0.15
        return truth, predicted, permuted, oof

    def test_class_counts_of_the_oof_show_the_permutation(self, tmp_path):
        _, predicted, permuted, oof = self.draw_permuted(balanced=True)
        context = CheckContext(
            class_counts=oof, counts_source="the out-of-fold predictions of c/a", counts_are_predictions=True
        )
        assert problems(tmp_path, make_format(), predicted, context) == {}
        (problem,) = problems(tmp_path, make_format(), permuted, context).values()
        assert (problem.code, problem.severity) == ("labels_permuted", "error")
        assert "numbered in text order, named in the sample's order" in problem.message
        now, meant = problem.first.replace("'", "").split(" would be ")
        assert sorted(CLASSES)[int(now)] == meant

    def test_predictions_of_another_model_show_it_also_for_balanced_classes(self, tmp_path):
        truth, _, permuted, _ = self.draw_permuted(balanced=True)
        rng = np.random.default_rng(9)
        other = np.where(rng.random(ROWS) < 0.5, truth, rng.integers(0, 100, ROWS))
        context = CheckContext(predictions=FinalPredictions(probs_of(other), other), predictions_source="c/b")
        (problem,) = problems(tmp_path, make_format(), permuted, context).values()
        assert problem.code == "labels_permuted"
        assert "c/b" in problem.message
        row = problem.first.removeprefix("id ").partition(".jpg")[0]
        assert f"'{CLASSES[permuted[int(row)]]}' would be" in problem.first

    def test_class_counts_of_the_training_labels_show_the_permutation(self, tmp_path):
        truth, predicted, permuted, _ = self.draw_permuted(balanced=False)
        context = CheckContext(
            class_counts=np.bincount(truth, minlength=100).astype(float), counts_source="the training labels"
        )
        assert "labels_permuted" not in problems(tmp_path, make_format(), predicted, context)
        assert "labels_permuted" in problems(tmp_path, make_format(), permuted, context)

    def test_the_inverse_permutation_is_found(self, tmp_path):
        _, predicted, _, oof = self.draw_permuted(balanced=False)
        inverse = np.argsort(text_order_index())[predicted]
        context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
        problem = problems(tmp_path, make_format(), inverse, context)["labels_permuted"]
        assert "named in text order" in problem.message

    def test_probability_columns_in_text_order_are_found(self, tmp_path):
        _, predicted, permuted, oof = self.draw_permuted(balanced=False)
        context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
        form = make_format("probabilities")
        assert problems(tmp_path, form, predicted, context, probs_of(predicted)) == {}
        assert set(problems(tmp_path, form, permuted, context, probs_of(permuted))) == {"labels_permuted"}

    def test_without_a_reference_nothing_is_reported(self, tmp_path):
        _, _, permuted, _ = self.draw_permuted(balanced=True)
        assert problems(tmp_path, make_format(), permuted, CheckContext()) == {}

    def test_classes_with_the_same_text_and_natural_order_are_not_permuted(self, tmp_path):
        names = tuple(f"class {c:02d}" for c in range(100))
        _, _, permuted, oof = self.draw_permuted(balanced=False)
        context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
        assert set(problems(tmp_path, make_format(classes=names), permuted, context)) == {"shares_far"}


def counts_of_shifted_grades(number=3000):
    """Return counts of twelve grades, and counts of the grades after a shift by about one grade."""
    shares = np.exp(-((np.arange(12) - 5.0) ** 2) / 8)
    worse = np.roll(shares, 1) + 0.05
    rng = np.random.default_rng(0)
    return [rng.multinomial(number, each / each.sum()).astype(float) for each in (shares, worse)]


def test_a_shift_by_one_grade_is_not_taken_for_a_permutation(tmp_path):
    """In text order 2 to 9 come later than in natural order, which resembles a shift of the grades."""
    oof, test = counts_of_shifted_grades()
    context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
    predicted = np.repeat(np.arange(12), test.astype(int))
    form = make_format(classes=tuple(str(g) for g in range(12)), number=len(predicted))
    assert "labels_permuted" not in problems(tmp_path, form, predicted, context)


def correlated_probs(number=ROWS, width=12, seed=0):
    """Return the multilabel probabilities (N, C) of two models for the same labels."""
    rng = np.random.default_rng(seed)
    truth = rng.random((number, width)) < 0.2
    return [np.clip(truth * 0.4 + rng.random((number, width)) * 0.6, 0, 1).astype(np.float32) for _ in "ab"]


class TestProbsThatCorrelateWithARunOnlyInAnotherOrder:
    def test_permuted_columns_are_found(self, tmp_path):
        classes = tuple(str(c) for c in range(12))
        columns = SubmissionFormat(
            ("id", *classes),
            "id",
            submission_kinds.get("probabilities"),
            text_column([f"{i}.jpg" for i in range(ROWS)]),
            classes,
            exclusive=False,
        )
        ours, other = correlated_probs()
        predicted = (ours > 0.5).astype(int)
        context = CheckContext(
            predictions=FinalPredictions(other, (other > 0.5).astype(int)), predictions_source="c/a"
        )
        assert problems(tmp_path, columns, predicted, context, ours) == {}
        permuted = ours[:, np.argsort(text_order_index(classes))]
        problem = problems(tmp_path, columns, predicted, context, permuted)["labels_permuted"]
        assert "correlation with c/a" in problem.message
        now, meant = problem.first.replace("'", "").split(" would be ")
        assert sorted(classes)[int(now)] == meant

    def test_permuted_rows_of_scores_are_found(self, tmp_path):
        scores = SubmissionFormat(
            ("id", "p"),
            "id",
            submission_kinds.get("score"),
            text_column([f"{i}.jpg" for i in range(ROWS)]),
            ("no", "yes"),
        )
        ours, other = (np.stack([1 - each[:, 0], each[:, 0]], axis=1) for each in correlated_probs())
        predicted = ours.argmax(axis=1)
        context = CheckContext(
            predictions=FinalPredictions(other, other.argmax(axis=1)), predictions_source="c/a"
        )
        assert problems(tmp_path, scores, predicted, context, ours) == {}
        order = np.array(sorted(range(ROWS), key=lambda i: f"{i}.jpg"))
        assert set(problems(tmp_path, scores, predicted, context, ours[order])) == {"rows_permuted"}
        noise = np.random.default_rng(1).permutation(ours)
        assert problems(tmp_path, scores, predicted, context, noise) == {}


@pytest.mark.parametrize(
    ("computed_in", "written_in", "message"),
    [
        ("text", "form", "in text order, written in the sample's order"),
        ("form", "text", "written in text order"),
    ],
)
def test_rows_in_text_order_are_found(tmp_path, computed_in, written_in, message):
    _, predicted, _ = draw_predictions(balanced=False)
    form = make_format()
    order = np.array(sorted(range(ROWS), key=lambda i: f"{i}.jpg"))
    moved = predicted[order] if computed_in == "text" else np.empty_like(predicted)
    if written_in == "text":
        moved[order] = predicted
    context = CheckContext(
        predictions=FinalPredictions(probs_of(predicted), predicted), predictions_source="c/a"
    )
    problem = problems(tmp_path, form, moved, context)["rows_permuted"]
    assert message in problem.message
    assert problem.count == int((order != np.arange(ROWS)).sum())


def test_a_better_or_worse_model_is_not_taken_for_a_permutation(tmp_path):
    truth, predicted, _ = draw_predictions(balanced=True)
    context = CheckContext(
        predictions=FinalPredictions(probs_of(predicted), predicted), predictions_source="c/a"
    )
    rng = np.random.default_rng(4)
    for share in (0.05, 0.3, 1.0):
        other = np.where(rng.random(ROWS) < share, truth, rng.integers(0, 100, ROWS))
        assert problems(tmp_path, make_format(), other, context) == {}


def test_class_shares_far_from_the_oof_shares_are_a_warning(tmp_path):
    rng, classes = np.random.default_rng(0), ("bee", "cat", "fox")
    form = make_format(classes=classes, number=500)
    context = CheckContext(
        class_counts=np.array([500.0, 300.0, 200.0]), counts_source="the OOF", counts_are_predictions=True
    )
    near = rng.choice(3, 500, p=[0.46, 0.32, 0.22])
    far = rng.choice(3, 500, p=[0.2, 0.3, 0.5])
    assert problems(tmp_path, form, near, context) == {}
    problem = problems(tmp_path, form, far, context)["shares_far"]
    assert problem.severity == "warning"
    assert problem.first.startswith(("'bee' ", "'fox' "))
    labels = CheckContext(class_counts=context.class_counts, counts_source="the training labels")
    assert problems(tmp_path, form, far, labels) == {}  # predicted shares may differ from label shares


def test_numbers_far_outside_the_training_range_are_a_warning(tmp_path):
    columns = ("id", "label")
    form = SubmissionFormat(
        columns, "id", submission_kinds.get("value"), text_column(list("abc")), ("value",), False,
        low=-np.inf, high=np.inf,
    )  # fmt: skip
    context = CheckContext(training_range=(10.0, 30.0))
    for numbers, far in (([0.5, 20, 39.5], False), ([-1, 20, 41], True), ([10, 20, 1e6], True)):
        values = np.array(numbers, np.float32)[:, None]
        found = problems(tmp_path, form, values, context, values)
        assert set(found) == ({"far_from_training"} if far else set())
    assert (found["far_from_training"].count, found["far_from_training"].first) == (1, "id c: 1e+06")


def counts_of_partly_permuted_file(share, number=6000):
    """Return counts of twelve grades, and counts of a file in which this share of the rows is permuted."""
    oof, _ = counts_of_shifted_grades(number)
    permuted = np.bincount(text_order_index(tuple(str(g) for g in range(12))), weights=oof, minlength=12)
    return oof, np.round((1 - share) * oof + share * permuted)


@pytest.mark.parametrize(("share", "reported"), [(0.55, False), (0.7, False), (1.0, True)])
def test_a_permutation_is_reported_only_if_undoing_it_gives_the_oof_shares(tmp_path, share, reported):
    oof, test = counts_of_partly_permuted_file(share)
    predicted = np.repeat(np.arange(12), test.astype(int))
    form = make_format(classes=tuple(str(g) for g in range(12)), number=len(predicted))
    context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
    assert ("labels_permuted" in problems(tmp_path, form, predicted, context)) == reported


def test_a_small_but_significant_difference_of_shares_is_not_reported(tmp_path):
    form = make_format(classes=("a", "b"), number=20_000)
    predicted = (np.arange(20_000) % 100 < 46).astype(int)
    context = CheckContext(
        class_counts=np.array([10_000.0, 10_000.0]), counts_source="x", counts_are_predictions=True
    )
    assert problems(tmp_path, form, predicted, context) == {}


def test_rows_in_any_order_are_compared_by_id(tmp_path):
    _, predicted, _ = draw_predictions(balanced=True)
    context = CheckContext(
        predictions=FinalPredictions(probs_of(predicted), predicted), predictions_source="c/a"
    )
    assert problems(tmp_path, make_format(), predicted, context) == {}
    header, *lines = (tmp_path / "s.csv").read_text().splitlines()
    reordered = [lines[i] for i in np.random.default_rng(0).permutation(ROWS)]
    write(tmp_path / "before.csv", FinalPredictions(np.zeros((ROWS, 0)), predicted), make_format())
    (tmp_path / "s.csv").write_text("\n".join([header, *reordered]))
    context = replace(context, previous=tmp_path / "before.csv")
    assert [p.code for p in check_file(tmp_path / "s.csv", make_format(), context)] == ["same_as_previous"]


def test_columns_in_another_order_are_compared_by_name(tmp_path):
    _, predicted, oof = draw_predictions(balanced=False)
    form = replace(make_format("probabilities"), header=("id", *sorted(CLASSES)))
    context = CheckContext(
        class_counts=oof,
        counts_source="x",
        counts_are_predictions=True,
        predictions=FinalPredictions(probs_of(predicted), predicted),
        predictions_source="c/a",
    )
    assert problems(tmp_path, form, predicted, context, probs_of(predicted)) == {}


def test_top_k_labels_that_begin_with_a_space_are_not_compared(tmp_path):
    ids = [str(i) for i in range(30)]
    form = SubmissionFormat(
        ("id", "r"), "id", submission_kinds.get("top_k"), text_column(ids), tuple("abc"), most=2
    )
    (tmp_path / "s.csv").write_text(
        "id,r\n" + "".join(f"{i}, {'abc'[int(i) % 3]} {'bca'[int(i) % 3]}\n" for i in ids)
    )
    context = CheckContext(
        class_counts=np.array([10.0, 10.0, 10.0]), counts_source="x", counts_are_predictions=True
    )
    assert check_file(tmp_path / "s.csv", form, context) == []


def test_one_class_in_all_rows_is_reported_unless_the_oof_counts_explain_it(tmp_path):
    form, same = make_format(classes=("no", "yes"), number=60), np.zeros(60, dtype=int)
    rare = CheckContext(
        class_counts=np.array([10_000.0, 1.0]), counts_source="x", counts_are_predictions=True
    )
    balanced = CheckContext(class_counts=np.array([500.0, 500.0]), counts_source="x")
    assert problems(tmp_path, form, same, rare) == {}
    assert set(problems(tmp_path, form, same, balanced)) == {"one_class"}


class TestThePreviousSubmission:
    def write_previous(self, tmp_path, form, predicted, probs=None):
        path = tmp_path / "before.csv"
        write(
            path, FinalPredictions(np.zeros((len(predicted), 0)) if probs is None else probs, predicted), form
        )
        return CheckContext(previous=path)

    @pytest.mark.parametrize("kind", ["label", "probabilities"])
    def test_an_equal_file_is_reported(self, tmp_path, kind):
        _, predicted, _ = draw_predictions()
        form, probs = make_format(kind), probs_of(predicted)
        context = self.write_previous(tmp_path, form, predicted, probs)
        assert set(problems(tmp_path, form, predicted, context, probs)) == {"same_as_previous"}

    @pytest.mark.parametrize("kind", ["label", "probabilities"])
    def test_predictions_of_another_model_are_not_reported(self, tmp_path, kind):
        _, predicted, _ = draw_predictions()
        rng = np.random.default_rng(1)
        other = np.where(rng.random(ROWS) < 0.4, predicted, rng.integers(0, 100, ROWS))
        form = make_format(kind)
        context = self.write_previous(tmp_path, form, other, probs_of(other))
        assert problems(tmp_path, form, predicted, context, probs_of(predicted)) == {}

    @pytest.mark.parametrize("kind", ["label", "probabilities"])
    def test_unrelated_predictions_are_reported(self, tmp_path, kind):
        _, predicted, _ = draw_predictions()
        other = np.random.default_rng(1).permutation(predicted)
        form = make_format(kind)
        context = self.write_previous(tmp_path, form, other, probs_of(other))
        problem = problems(tmp_path, form, predicted, context, probs_of(predicted))["unlike_previous"]
        assert problem.first.startswith("before.csv: ")

    def test_values_are_compared_with_the_previous_values(self, tmp_path):
        rng, grades = np.random.default_rng(0), tuple(str(g) for g in range(1, 8))
        form = SubmissionFormat(
            ("id", "v"),
            "id",
            submission_kinds.get("value"),
            text_column([str(i) for i in range(ROWS)]),
            grades,
            low=1.0,
            high=7.0,
        )
        probs = rng.dirichlet(np.ones(7), ROWS).astype(np.float32)
        predicted = probs.argmax(axis=1)
        context = self.write_previous(tmp_path, form, predicted, probs)
        assert set(problems(tmp_path, form, predicted, context, probs)) == {"same_as_previous"}
        assert set(problems(tmp_path, form, predicted, context, rng.permutation(probs))) == {
            "unlike_previous"
        }

    def test_rows_in_another_order_are_the_same(self, tmp_path):
        _, predicted, _ = draw_predictions()
        context = self.write_previous(tmp_path, make_format(), predicted)
        lines = context.previous.read_text().splitlines()
        path = tmp_path / "reordered.csv"
        path.write_text("\n".join([lines[0], *lines[:0:-1]]))
        assert {p.code for p in check_file(path, make_format(), context)} == {"same_as_previous"}

    def test_files_with_one_very_frequent_class_are_not_reported(self, tmp_path):
        form, rng = make_format(classes=("no", "yes")), np.random.default_rng(0)
        ours, other = ((rng.random(ROWS) < 0.03).astype(int) for _ in "ab")
        assert problems(tmp_path, form, ours, self.write_previous(tmp_path, form, other)) == {}

    def test_an_unchanged_sample_is_reported_once(self, tmp_path):
        predicted = np.arange(ROWS) % 100
        form = replace(make_format(), sample=(text_column([CLASSES[c] for c in predicted]),))
        context = self.write_previous(tmp_path, form, predicted)
        assert set(problems(tmp_path, form, predicted, context)) == {"is_sample"}

    def test_columns_in_another_order_are_the_same(self, tmp_path):
        form = make_format("probabilities", ("a", "b", "c"), 40)
        probs = np.random.default_rng(0).dirichlet(np.ones(3), 40).astype(np.float32)
        context = self.write_previous(tmp_path, form, probs.argmax(axis=1), probs)
        rows = [line.split(",") for line in context.previous.read_text().splitlines()]
        (tmp_path / "s.csv").write_text("\n".join(",".join((i, c, a, b)) for i, a, b, c in rows))
        codes = {p.code for p in check_file(tmp_path / "s.csv", form, context)}
        assert codes == {"header_order", "same_as_previous"}

    def test_a_broken_previous_file_is_ignored(self, tmp_path):
        form = make_format("score", ("no", "yes"), 60)
        rng = np.random.default_rng(0)
        for name, low in (("before", -3), ("s", 0)):
            lines = "".join(f"{i}.jpg,{rng.uniform(low, 1)}\n" for i in range(60))
            (tmp_path / f"{name}.csv").write_text("id,label\n" + lines)
        context = CheckContext(previous=tmp_path / "before.csv")
        assert check_file(tmp_path / "s.csv", form, context) == []

    def test_long_rows_in_another_order_are_the_same(self, tmp_path):
        joined = LongRows((), np.array([]), np.array([])).of([f"s{i}" for i in range(30)], 2)
        form = SubmissionFormat(
            ("id", "p"),
            "id",
            submission_kinds.get("long"),
            joined.row_ids(("a", "b")),
            ("a", "b"),
            exclusive=False,
            long_rows=joined,
        )
        rng = np.random.default_rng(0)
        rows = [f"{i},{rng.random():.3f}" for i in form.ids.to_pylist()]
        (tmp_path / "before.csv").write_text("\n".join(["id,p", *rows]))
        (tmp_path / "s.csv").write_text("\n".join(["id,p", *(rows[i] for i in rng.permutation(60))]))
        context = CheckContext(previous=tmp_path / "before.csv")
        assert [p.code for p in check_file(tmp_path / "s.csv", form, context)] == ["same_as_previous"]

    def test_top_k_labels_with_equal_first_labels_are_not_the_same(self, tmp_path):
        form = SubmissionFormat(
            ("id", "r"),
            "id",
            submission_kinds.get("top_k"),
            text_column([str(i) for i in range(40)]),
            tuple("abcd"),
            most=2,
        )
        predicted = np.arange(40) % 4
        probs = np.eye(4, dtype=np.float32)[predicted]
        context = self.write_previous(
            tmp_path, form, predicted, probs + 0.1 * np.eye(4, dtype=np.float32)[(predicted + 1) % 4]
        )
        assert (
            problems(tmp_path, form, predicted, context, probs + 0.1 * np.eye(4)[(predicted + 2) % 4]) == {}
        )

    def test_few_rows_are_not_compared(self, tmp_path):
        form, predicted = make_format(number=19), np.arange(19)
        context = self.write_previous(tmp_path, form, predicted)
        assert problems(tmp_path, form, predicted, context) == {}
