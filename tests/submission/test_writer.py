from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.decisions.steps import Decision, Thresholds
from kit.errors import KitError
from kit.evaluation.scored import Scored
from kit.metrics import metrics
from kit.predictions import Origin, Predictions
from kit.submission.check import check_rows
from kit.submission.format import SubmissionFormat
from kit.submission.writer import (
    held_by,
    mirror_score,
    read_rows,
    read_submission,
    render,
    scores_of_rows,
)
from kit.tasks import tasks

CLASSES = ("2", "10", "red")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)
ids = st.lists(texts.filter(str.strip), unique=True, min_size=1, max_size=6)


def predictions(names, classes=CLASSES, seed=0) -> Predictions:
    probs = np.random.default_rng(seed).dirichlet(np.ones(len(classes)), len(names)).astype(np.float32)
    return Predictions(
        tuple(names), tuple(classes), probs, Origin("test", "multiclass", "c/a", "f", ("identity",), "m", "i")
    )


def form(names, kind="label", columns=("Label",), **more) -> SubmissionFormat:
    return SubmissionFormat("ID", tuple(columns), kind, tuple(names), CLASSES, **more)


def test_labels_are_names_in_the_order_of_the_sample_with_its_line_ends():
    given = predictions(["b", "a"])
    given.probs[:] = [[0.1, 0.8, 0.1], [0.7, 0.2, 0.1]]
    assert render(given, form(["a", "b"], newline="\r\n")) == "ID,Label\r\na,2\r\nb,10\r\n"


def test_cells_with_delimiters_quotes_and_line_ends_are_quoted():
    names = ["a,b", 'c"d', "e\rf", "g\nh", " i"]
    text = render(predictions(names), form(names))
    assert [row[0] for row in read_rows(text, ",")[1:]] == names
    assert text.startswith('ID,Label\n"a,b",')


def test_ids_sorted_as_text_cannot_shift_the_labels():
    names = [str(i) for i in range(120)]
    given = predictions(names)
    by_id = {row[0]: row[1] for row in read_rows(render(given, form(sorted(names))), ",")[1:]}
    assert by_id == {n: CLASSES[p] for n, p in zip(names, given.probs.argmax(axis=1), strict=True)}


@settings(max_examples=50, deadline=None)
@given(ids, st.sampled_from(["\n", "\r\n"]), st.sampled_from([",", "\t"]))
def test_probabilities_of_any_ids_come_back_to_the_bit_and_pass_the_check(names, newline, delimiter):
    given = predictions(names)
    wanted = form(names[::-1], "probabilities", CLASSES[::-1], newline=newline, delimiter=delimiter)
    rows = read_rows(render(given, wanted), delimiter)
    assert [p.code for p in check_rows(rows, wanted) if p.severity == "error"] == []
    values = scores_of_rows(rows[1:], wanted, 3)
    np.testing.assert_array_equal(values, given.aligned_to([r[0] for r in rows[1:]], CLASSES, "x").probs)


def test_score_is_the_probability_of_the_second_class():
    given = predictions(["a"], ("no", "yes"))
    given.probs[:] = [[0.75, 0.25]]
    wanted = replace(form(["a"], "score", ["has"]), classes=("no", "yes"))
    text = render(given, wanted)
    assert text == "ID,has\na,0.25\n"
    assert scores_of_rows(read_rows(text, ",")[1:], wanted, 2).tolist() == [[0.75, 0.25]]


def test_an_id_without_a_prediction_is_refused():
    with pytest.raises(KitError, match=r"c/a: lacks 1 ids \(b\)"):
        render(predictions(["a"]), form(["a", "b"]))


def scored(metric="accuracy") -> Scored:
    oof = predictions([f"{i}" for i in range(50)])
    targets = np.random.default_rng(1).integers(0, 3, 50)
    return beside(oof, targets, tasks.get("multiclass"), metric)


def beside(oof, targets, task, metric) -> Scored:
    parts = np.arange(len(targets)) % 2
    return Scored(oof, [parts == 0, parts == 1], targets, parts, None, task, metrics.get(metric))


def mirrored(given, wanted, decision=None):
    return mirror_score(given, (decision or Decision()).answers(given.oof.probs, given.task), wanted)


def test_the_mirror_gives_the_cv_score_exactly():
    assert mirrored(scored(), form(["x"])) == scored().score()
    probabilities = form(["x"], "probabilities", ("red", "2", "10"))
    assert mirrored(scored("log_loss"), probabilities) == pytest.approx(scored("log_loss").score(), abs=1e-12)
    assert mirrored(scored("log_loss"), form(["x"])) is None


def test_the_mirror_notices_classes_in_another_order():
    wrong = replace(form(["x"], "probabilities", CLASSES), classes=("10", "2", "red"))
    assert mirrored(scored(), wrong) != scored().score()


def test_files_that_are_no_csv(tmp_path):
    path = tmp_path / "s.csv"
    with pytest.raises(KitError, match="there is no such file"):
        read_submission(path)
    with pytest.raises(KitError, match="is a folder"):
        read_submission(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KitError, match="is not UTF-8"):
        read_submission(path)
    path.write_text('ID,Label\n1,"a\n')
    with pytest.raises(KitError, match="is not a CSV"):
        read_submission(path)


def test_a_score_of_two_classes_loses_nothing_even_for_log_loss():
    rng = np.random.default_rng(3)
    binary = tasks.get("binary")
    for confidence in (0.01, 1.0):
        raw = rng.dirichlet([confidence, confidence], 500)
        oof = replace(predictions([str(i) for i in range(500)], ("no", "yes")), probs=binary.normalised(raw))
        truth = beside(oof, rng.integers(0, 2, 500), binary, "log_loss")
        wanted = replace(form(["x"], "score", ["has"]), classes=("no", "yes"))
        assert mirrored(truth, wanted) == pytest.approx(truth.score(), abs=1e-12)


def test_the_mirror_has_the_decisions_that_were_learned():
    """A threshold other than one half changes the labels of the file, and so the score that it gives."""
    binary = tasks.get("binary")
    oof = predictions([str(i) for i in range(200)], ("no", "yes"))
    given = beside(oof, (oof.probs[:, 1] > 0.2).astype(int), binary, "f1")
    wanted = replace(form(["x"]), classes=("no", "yes"))
    low = Decision((Thresholds((0.8, 0.2)),))
    assert mirrored(given, wanted, low) == 1.0
    assert mirrored(given, wanted) < 0.9


def test_a_form_without_labels_takes_learned_decisions_as_0_and_1():
    binary = tasks.get("binary")
    oof = predictions([str(i) for i in range(200)], ("no", "yes"))
    given = beside(oof, (oof.probs[:, 1] > 0.2).astype(int), binary, "f1")
    low = Decision((Thresholds((0.8, 0.2)),))
    as_score = replace(form(["x"]), classes=("no", "yes"), kind="score", columns=("yes",))
    answers = low.answers(oof.probs, binary)
    held = held_by(as_score, answers, low, binary)
    assert set(held.probs[:, 1]) == {0.0, 1.0}
    assert mirror_score(given, held, as_score) == 1.0
    assert held_by(as_score, answers, Decision(), binary) is answers
    assert held_by(form(["x"]), answers, low, binary) is answers
