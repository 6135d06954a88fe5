"""A file compared with predictions and counts: permuted classes and rows, shares, the previous submission."""

from dataclasses import replace

import numpy as np
import pytest

from kit.predictions import FinalPredictions
from kit.submission_check.check import check_file
from kit.submission_check.context import CheckContext
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.spec import LongRows, SubmissionFormat, text_column
from kit.submission_format.writer import write

NUMBERED = tuple(str(c) for c in range(100))
NUMBER = 2000


def form_of(kind="label", classes=NUMBERED, number=NUMBER, ids=None) -> SubmissionFormat:
    names = [f"{i}.jpg" for i in range(number)] if ids is None else ids
    columns = classes if kind == "probabilities" else ("label",)
    return SubmissionFormat(("id", *columns), "id", submission_kinds.get(kind), text_column(names), classes)


def model(seed=0, number=NUMBER, width=100, skill=0.6, even=True):
    """Return the truth of test images, what a model says of them, and the counts of what it says of others."""
    rng = np.random.default_rng(seed)
    shares = np.full(width, 1 / width) if even else rng.dirichlet(np.full(width, 1.0))
    favourites = rng.dirichlet(np.full(width, 0.5))  # classes that it errs towards

    def said(truth):
        wrong = rng.choice(width, len(truth), p=favourites)
        return np.where(rng.random(len(truth)) < skill, truth, wrong)

    truth, others = (rng.choice(width, number, p=shares) for _ in range(2))
    return truth, said(truth), np.bincount(said(others), minlength=width).astype(float)


def probs_of(decided, width=100):
    probs = np.full((len(decided), width), 0.2 / (width - 1), dtype=np.float32)
    probs[np.arange(len(decided)), decided] = 0.8
    return probs


def found(tmp_path, form, decided, context, probs=None):
    path = tmp_path / "s.csv"
    write(path, FinalPredictions(np.zeros((len(decided), 0)) if probs is None else probs, decided), form)
    return {p.code: p for p in check_file(path, form, context)}


def as_text_sorts(classes=NUMBERED) -> np.ndarray:
    """Return the number that a beginner's folder listing gives each class."""
    order = sorted(classes)
    return np.array([order.index(name) for name in classes])


class TestTheReportThatKitWasMadeFor:
    """Class folders listed as text sorts them, and the index of the listing written as the label.

    The model is right for 60 %; the file for a few.
    """

    def made(self, even):
        truth, said, oof = model(even=even)
        listed = as_text_sorts()[said]
        assert (said == truth).mean() > 0.55
        assert (listed == truth).mean() < 0.15
        return truth, said, listed, oof

    def test_shares_of_the_classes_tell_it(self, tmp_path):
        _, said, listed, oof = self.made(even=True)
        context = CheckContext(
            class_counts=oof, counts_source="the out-of-fold predictions of c/a", counts_are_predictions=True
        )
        assert found(tmp_path, form_of(), said, context) == {}
        (problem,) = found(tmp_path, form_of(), listed, context).values()
        assert (problem.code, problem.severity) == ("labels_permuted", "error")
        assert "numbered in text order, named in the sample's order" in problem.message
        now, meant = problem.first.replace("'", "").split(" would be ")
        assert sorted(NUMBERED)[int(now)] == meant

    def test_another_models_answers_tell_it_even_where_classes_are_alike(self, tmp_path):
        truth, _, listed, _ = self.made(even=True)
        rng = np.random.default_rng(9)
        other = np.where(rng.random(NUMBER) < 0.5, truth, rng.integers(0, 100, NUMBER))
        context = CheckContext(predictions=FinalPredictions(probs_of(other), other), predictions_source="c/b")
        (problem,) = found(tmp_path, form_of(), listed, context).values()
        assert problem.code == "labels_permuted"
        assert "c/b" in problem.message
        row = problem.first.removeprefix("id ").partition(".jpg")[0]
        assert f"'{NUMBERED[listed[int(row)]]}' would be" in problem.first

    def test_training_labels_tell_it_where_nothing_is_predicted_yet(self, tmp_path):
        truth, said, listed, _ = self.made(even=False)
        context = CheckContext(
            class_counts=np.bincount(truth, minlength=100).astype(float), counts_source="the training labels"
        )
        assert "labels_permuted" not in found(tmp_path, form_of(), said, context)
        assert "labels_permuted" in found(tmp_path, form_of(), listed, context)

    def test_the_other_way_round(self, tmp_path):
        _, said, _, oof = self.made(even=False)
        back = np.argsort(as_text_sorts())[said]
        context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
        problem = found(tmp_path, form_of(), back, context)["labels_permuted"]
        assert "named in text order" in problem.message

    def test_columns_filled_in_text_order(self, tmp_path):
        _, said, listed, oof = self.made(even=False)
        context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
        form = form_of("probabilities")
        assert found(tmp_path, form, said, context, probs_of(said)) == {}
        assert set(found(tmp_path, form, listed, context, probs_of(listed))) == {"labels_permuted"}

    def test_with_nothing_to_compare_there_is_no_word(self, tmp_path):
        _, _, listed, _ = self.made(even=True)
        assert found(tmp_path, form_of(), listed, CheckContext()) == {}

    def test_classes_that_text_sorts_as_people_do_cannot_be_permuted(self, tmp_path):
        names = tuple(f"class {c:02d}" for c in range(100))
        _, _, listed, oof = self.made(even=False)
        context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
        assert set(found(tmp_path, form_of(classes=names), listed, context)) == {"shares_far"}


def grades_moved_by_one(number=3000):
    """Return counts of twelve grades, and those of images that are one grade worse."""
    shares = np.exp(-((np.arange(12) - 5.0) ** 2) / 8)
    worse = np.roll(shares, 1) + 0.05
    rng = np.random.default_rng(0)
    return [rng.multinomial(number, each / each.sum()).astype(float) for each in (shares, worse)]


def test_grades_that_are_worse_are_not_permuted(tmp_path):
    """As text sorts them, 2 to 9 come one later than as people do: nearly the same as a grade more."""
    oof, test = grades_moved_by_one()
    context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
    decided = np.repeat(np.arange(12), test.astype(int))
    form = form_of(classes=tuple(str(g) for g in range(12)), number=len(decided))
    assert "labels_permuted" not in found(tmp_path, form, decided, context)


def chances(number=NUMBER, width=12, seed=0):
    """Return probabilities of classes that do not exclude each other, and another model's."""
    rng = np.random.default_rng(seed)
    truth = rng.random((number, width)) < 0.2
    return [np.clip(truth * 0.4 + rng.random((number, width)) * 0.6, 0, 1).astype(np.float32) for _ in "ab"]


class TestNumbersThatCorrelateWithARunOnlyInAnotherOrder:
    def test_columns(self, tmp_path):
        classes = tuple(str(c) for c in range(12))
        columns = SubmissionFormat(
            ("id", *classes),
            "id",
            submission_kinds.get("probabilities"),
            text_column([f"{i}.jpg" for i in range(NUMBER)]),
            classes,
            exclusive=False,
        )
        ours, theirs = chances()
        decided = (ours > 0.5).astype(int)
        context = CheckContext(
            predictions=FinalPredictions(theirs, (theirs > 0.5).astype(int)), predictions_source="c/a"
        )
        assert found(tmp_path, columns, decided, context, ours) == {}
        listed = ours[:, np.argsort(as_text_sorts(classes))]
        problem = found(tmp_path, columns, decided, context, listed)["labels_permuted"]
        assert "correlation with c/a" in problem.message
        now, meant = problem.first.replace("'", "").split(" would be ")
        assert sorted(classes)[int(now)] == meant

    def test_rows_of_scores(self, tmp_path):
        scores = SubmissionFormat(
            ("id", "p"),
            "id",
            submission_kinds.get("score"),
            text_column([f"{i}.jpg" for i in range(NUMBER)]),
            ("no", "yes"),
        )
        ours, theirs = (np.stack([1 - each[:, 0], each[:, 0]], axis=1) for each in chances())
        decided = ours.argmax(axis=1)
        context = CheckContext(
            predictions=FinalPredictions(theirs, theirs.argmax(axis=1)), predictions_source="c/a"
        )
        assert found(tmp_path, scores, decided, context, ours) == {}
        order = np.array(sorted(range(NUMBER), key=lambda i: f"{i}.jpg"))
        assert set(found(tmp_path, scores, decided, context, ours[order])) == {"rows_permuted"}
        noise = np.random.default_rng(1).permutation(ours)
        assert found(tmp_path, scores, decided, context, noise) == {}


@pytest.mark.parametrize(
    ("made_in", "written_in", "said"),
    [
        ("text", "form", "in text order, written in the sample's order"),
        ("form", "text", "written in text order"),
    ],
)
def test_rows_beside_other_ids(tmp_path, made_in, written_in, said):
    _, decided, _ = model(even=False)
    form = form_of()
    order = np.array(sorted(range(NUMBER), key=lambda i: f"{i}.jpg"))
    moved = decided[order] if made_in == "text" else np.empty_like(decided)
    if written_in == "text":
        moved[order] = decided
    context = CheckContext(predictions=FinalPredictions(probs_of(decided), decided), predictions_source="c/a")
    problem = found(tmp_path, form, moved, context)["rows_permuted"]
    assert said in problem.message
    assert problem.count == int((order != np.arange(NUMBER)).sum())


def test_a_better_or_a_worse_model_is_no_permutation(tmp_path):
    truth, decided, _ = model(even=True)
    context = CheckContext(predictions=FinalPredictions(probs_of(decided), decided), predictions_source="c/a")
    rng = np.random.default_rng(4)
    for share in (0.05, 0.3, 1.0):
        other = np.where(rng.random(NUMBER) < share, truth, rng.integers(0, 100, NUMBER))
        assert found(tmp_path, form_of(), other, context) == {}


def test_shares_far_from_those_of_the_oof(tmp_path):
    rng, classes = np.random.default_rng(0), ("bee", "cat", "fox")
    form = form_of(classes=classes, number=500)
    context = CheckContext(
        class_counts=np.array([500.0, 300.0, 200.0]), counts_source="the OOF", counts_are_predictions=True
    )
    near = rng.choice(3, 500, p=[0.46, 0.32, 0.22])
    far = rng.choice(3, 500, p=[0.2, 0.3, 0.5])
    assert found(tmp_path, form, near, context) == {}
    problem = found(tmp_path, form, far, context)["shares_far"]
    assert problem.severity == "warning"
    assert problem.first.startswith(("'bee' ", "'fox' "))
    labels = CheckContext(class_counts=context.class_counts, counts_source="the training labels")
    assert found(tmp_path, form, far, labels) == {}  # a model need not say classes as often as they are


def mixed(share, number=6000):
    """Return counts of twelve grades, and of files of which a share is permuted."""
    oof, _ = grades_moved_by_one(number)
    permuted = np.bincount(as_text_sorts(tuple(str(g) for g in range(12))), weights=oof, minlength=12)
    return oof, np.round((1 - share) * oof + share * permuted)


@pytest.mark.parametrize(("share", "told"), [(0.55, False), (0.7, False), (1.0, True)])
def test_shares_must_come_near_those_of_the_oof_when_undone(tmp_path, share, told):
    oof, test = mixed(share)
    decided = np.repeat(np.arange(12), test.astype(int))
    form = form_of(classes=tuple(str(g) for g in range(12)), number=len(decided))
    context = CheckContext(class_counts=oof, counts_source="x", counts_are_predictions=True)
    assert ("labels_permuted" in found(tmp_path, form, decided, context)) == told


def test_shares_that_differ_a_little_though_surely(tmp_path):
    form = form_of(classes=("a", "b"), number=20_000)
    decided = (np.arange(20_000) % 100 < 46).astype(int)
    context = CheckContext(
        class_counts=np.array([10_000.0, 10_000.0]), counts_source="x", counts_are_predictions=True
    )
    assert found(tmp_path, form, decided, context) == {}


def test_rows_in_any_order_are_compared_by_id(tmp_path):
    _, decided, _ = model(even=True)
    context = CheckContext(predictions=FinalPredictions(probs_of(decided), decided), predictions_source="c/a")
    assert found(tmp_path, form_of(), decided, context) == {}
    header, *lines = (tmp_path / "s.csv").read_text().splitlines()
    turned = [lines[i] for i in np.random.default_rng(0).permutation(NUMBER)]
    write(tmp_path / "before.csv", FinalPredictions(np.zeros((NUMBER, 0)), decided), form_of())
    (tmp_path / "s.csv").write_text("\n".join([header, *turned]))
    context = replace(context, previous=tmp_path / "before.csv")
    assert [p.code for p in check_file(tmp_path / "s.csv", form_of(), context)] == ["same_as_previous"]


def test_columns_that_do_not_stand_in_the_order_of_the_classes_are_compared_by_name(tmp_path):
    _, decided, oof = model(even=False)
    form = replace(form_of("probabilities"), header=("id", *sorted(NUMBERED)))
    context = CheckContext(
        class_counts=oof,
        counts_source="x",
        counts_are_predictions=True,
        predictions=FinalPredictions(probs_of(decided), decided),
        predictions_source="c/a",
    )
    assert found(tmp_path, form, decided, context, probs_of(decided)) == {}


def test_ranks_that_begin_with_a_blank_are_not_compared(tmp_path):
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


def test_one_class_for_all_where_the_oof_says_it_may_be(tmp_path):
    form, same = form_of(classes=("no", "yes"), number=60), np.zeros(60, dtype=int)
    rare = CheckContext(
        class_counts=np.array([10_000.0, 1.0]), counts_source="x", counts_are_predictions=True
    )
    even = CheckContext(class_counts=np.array([500.0, 500.0]), counts_source="x")
    assert found(tmp_path, form, same, rare) == {}
    assert set(found(tmp_path, form, same, even)) == {"one_class"}


class TestThePreviousSubmission:
    def before(self, tmp_path, form, decided, probs=None):
        path = tmp_path / "before.csv"
        write(path, FinalPredictions(np.zeros((len(decided), 0)) if probs is None else probs, decided), form)
        return CheckContext(previous=path)

    @pytest.mark.parametrize("kind", ["label", "probabilities"])
    def test_the_same(self, tmp_path, kind):
        _, decided, _ = model()
        form, probs = form_of(kind), probs_of(decided)
        context = self.before(tmp_path, form, decided, probs)
        assert set(found(tmp_path, form, decided, context, probs)) == {"same_as_previous"}

    @pytest.mark.parametrize("kind", ["label", "probabilities"])
    def test_another_model(self, tmp_path, kind):
        _, decided, _ = model()
        rng = np.random.default_rng(1)
        other = np.where(rng.random(NUMBER) < 0.4, decided, rng.integers(0, 100, NUMBER))
        form = form_of(kind)
        context = self.before(tmp_path, form, other, probs_of(other))
        assert found(tmp_path, form, decided, context, probs_of(decided)) == {}

    @pytest.mark.parametrize("kind", ["label", "probabilities"])
    def test_nothing_in_common(self, tmp_path, kind):
        _, decided, _ = model()
        other = np.random.default_rng(1).permutation(decided)
        form = form_of(kind)
        context = self.before(tmp_path, form, other, probs_of(other))
        problem = found(tmp_path, form, decided, context, probs_of(decided))["unlike_previous"]
        assert problem.first.startswith("before.csv: ")

    def test_grades(self, tmp_path):
        rng, grades = np.random.default_rng(0), tuple(str(g) for g in range(1, 8))
        form = SubmissionFormat(
            ("id", "v"),
            "id",
            submission_kinds.get("value"),
            text_column([str(i) for i in range(NUMBER)]),
            grades,
            low=1.0,
            high=7.0,
        )
        probs = rng.dirichlet(np.ones(7), NUMBER).astype(np.float32)
        decided = probs.argmax(axis=1)
        context = self.before(tmp_path, form, decided, probs)
        assert set(found(tmp_path, form, decided, context, probs)) == {"same_as_previous"}
        assert set(found(tmp_path, form, decided, context, rng.permutation(probs))) == {"unlike_previous"}

    def test_rows_in_another_order_are_the_same(self, tmp_path):
        _, decided, _ = model()
        context = self.before(tmp_path, form_of(), decided)
        lines = context.previous.read_text().splitlines()
        path = tmp_path / "turned.csv"
        path.write_text("\n".join([lines[0], *lines[:0:-1]]))
        assert {p.code for p in check_file(path, form_of(), context)} == {"same_as_previous"}

    def test_nearly_all_of_one_class(self, tmp_path):
        form, rng = form_of(classes=("no", "yes")), np.random.default_rng(0)
        ours, theirs = ((rng.random(NUMBER) < 0.03).astype(int) for _ in "ab")
        assert found(tmp_path, form, ours, self.before(tmp_path, form, theirs)) == {}

    def test_the_sample_is_said_once(self, tmp_path):
        decided = np.arange(NUMBER) % 100
        form = replace(form_of(), sample=(text_column([NUMBERED[c] for c in decided]),))
        context = self.before(tmp_path, form, decided)
        assert set(found(tmp_path, form, decided, context)) == {"is_sample"}

    def test_columns_in_another_order_are_the_same(self, tmp_path):
        form = form_of("probabilities", ("a", "b", "c"), 40)
        probs = np.random.default_rng(0).dirichlet(np.ones(3), 40).astype(np.float32)
        context = self.before(tmp_path, form, probs.argmax(axis=1), probs)
        rows = [line.split(",") for line in context.previous.read_text().splitlines()]
        (tmp_path / "s.csv").write_text("\n".join(",".join((i, c, a, b)) for i, a, b, c in rows))
        codes = {p.code for p in check_file(tmp_path / "s.csv", form, context)}
        assert codes == {"header_order", "same_as_previous"}

    def test_one_that_is_broken_is_passed_over(self, tmp_path):
        form = form_of("score", ("no", "yes"), 60)
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

    def test_ranks_of_which_only_the_first_are_the_same_are_not(self, tmp_path):
        form = SubmissionFormat(
            ("id", "r"),
            "id",
            submission_kinds.get("top_k"),
            text_column([str(i) for i in range(40)]),
            tuple("abcd"),
            most=2,
        )
        decided = np.arange(40) % 4
        probs = np.eye(4, dtype=np.float32)[decided]
        context = self.before(
            tmp_path, form, decided, probs + 0.1 * np.eye(4, dtype=np.float32)[(decided + 1) % 4]
        )
        assert found(tmp_path, form, decided, context, probs + 0.1 * np.eye(4)[(decided + 2) % 4]) == {}

    def test_of_few_rows_nothing_is_said(self, tmp_path):
        form, decided = form_of(number=19), np.arange(19)
        context = self.before(tmp_path, form, decided)
        assert found(tmp_path, form, decided, context) == {}
