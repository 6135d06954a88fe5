"""Find label errors: images for which the OOF prediction is confident in another class."""

import numpy as np
import pytest

from kit.evaluation.label_errors import hardest, losses, suspects
from kit.tasks import tasks

MULTICLASS, MULTILABEL = tasks.get("multiclass"), tasks.get("multilabel")
CLASSES = ("a", "b", "c")


def draw_probs(targets, sharpness=2.5, seed=0):
    rng = np.random.default_rng(seed)
    logits = sharpness * np.eye(3)[targets] + rng.normal(size=(len(targets), 3))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def find_suspects(targets, probs, twins=None, task=MULTICLASS):
    ids = [f"i{n}" for n in range(len(targets))]
    paths = {i: f"train/{i}.jpg" for i in ids}
    return suspects(ids, paths, twins or {}, targets, probs, CLASSES, task)


def test_wrong_labels_are_ranked_first():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 500)
    probs = draw_probs(truth, sharpness=5)
    wrong = rng.choice(500, 20, replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    first = find_suspects(labels, probs)[:20]
    assert len({s.id for s in first} & {f"i{n}" for n in wrong}) >= 19
    named = {f"i{n}": (CLASSES[labels[n]], CLASSES[truth[n]]) for n in wrong}
    assert all((s.label, s.suggested) == named[s.id] for s in first if s.id in named)


def test_a_suspect_has_at_least_the_mean_prob_of_the_suggested_class():
    """By hand: the mean probabilities of the own class are 0.8, 0.6 and 0.5."""
    targets = np.array([0, 0, 1, 1, 2, 2])
    probs = np.array(
        [
            [0.9, 0.05, 0.05],
            [0.7, 0.1, 0.2],
            [0.2, 0.7, 0.1],
            [0.4, 0.5, 0.1],
            [0.2, 0.3, 0.5],
            [0.1, 0.4, 0.5],
        ]
    )
    assert find_suspects(targets, probs) == []
    probs[5] = [0.05, 0.65, 0.3]  # now the mean of class 2 is 0.4, and 0.65 is above the mean 0.6 of class 1
    only = find_suspects(targets, probs)
    assert [(s.id, s.label, s.suggested) for s in only] == [("i5", "c", "b")]
    assert only[0].margin == pytest.approx(0.35)
    assert only[0].path == "train/i5.jpg"


def test_numbers_have_absolute_errors_and_only_contradicting_duplicates_are_suspects():
    task = tasks.get("regression")
    truth = np.array([[10.0], [1234567.5], [-3.25]])
    predicted = np.array([[12.0], [1234560.0], [-3.0]], np.float32)
    assert losses(truth, predicted, task).tolist() == [2.0, 7.5, 0.25]
    images = hardest(("a", "b", "c"), {}, truth, predicted, ("value",), task, 2)
    assert [(i.id, i.label, i.decided, i.loss) for i in images] == [
        ("b", "1234567.5", "1234560", 7.5),
        ("a", "10", "12", 2.0),
    ]
    assert find_suspects(truth, predicted, task=task) == []
    (twin,) = find_suspects(truth, predicted, {"i2": "train/i9.jpg"}, task)
    assert (twin.id, twin.label, twin.suggested, twin.twin) == ("i2", "-3.25", "as its twin", "train/i9.jpg")


def test_duplicates_with_different_labels_are_ranked_first():
    targets = np.random.default_rng(0).integers(0, 3, 100)
    probs = draw_probs(targets, sharpness=1.0)
    listed = find_suspects(targets, probs, twins={"i7": "train/i8.jpg", "i8": "train/i7.jpg"})
    assert {listed[0].id, listed[1].id} == {"i7", "i8"}
    assert listed[0].twin is not None
    assert listed[2].twin is None
    assert len(listed) > 2


def test_missing_and_superfluous_multilabels_are_found():
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 3)) < 0.4).astype(np.float32)
    probs = np.clip(0.8 * truth + 0.1 + 0.05 * rng.normal(size=truth.shape), 0.01, 0.99)
    labels = truth.copy()
    labels[5, 1], labels[6, 2] = 1 - labels[5, 1], 1 - labels[6, 2]
    suspected = {(s.id, s.label, s.suggested) for s in find_suspects(labels, probs, task=MULTILABEL)}
    suggestion = lambda row, c: "absent" if labels[row, c] else "present"  # noqa: E731
    assert {("i5", "b", suggestion(5, 1)), ("i6", "c", suggestion(6, 2))} <= suspected


def test_a_class_without_images_is_never_suggested():
    targets = np.array([0, 1, 0, 1])
    probs = np.array([[0.1, 0.1, 0.8]] * 4)
    assert find_suspects(targets, probs) == []


def test_the_hardest_images_have_the_highest_loss():
    targets = np.random.default_rng(0).integers(0, 3, 30)
    probs = draw_probs(targets)
    loss = -np.log(probs[np.arange(30), targets])
    np.testing.assert_allclose(losses(targets, probs, MULTICLASS), loss)
    ids = [f"i{n}" for n in range(30)]
    first = hardest(ids, {}, targets, probs, CLASSES, MULTICLASS, 3)
    assert [h.id for h in first] == [ids[n] for n in np.argsort(-loss)[:3]]
    assert first[0].path is None
    assert first[0].label == CLASSES[targets[np.argmax(loss)]]


def test_the_multilabel_loss_is_the_mean_over_classes():
    targets, probs = np.array([[1.0, 0.0, 0.0]]), np.array([[0.5, 0.5, 0.1]])
    assert losses(targets, probs, MULTILABEL)[0] == pytest.approx(-(2 * np.log(0.5) + np.log(0.9)) / 3)
    named = hardest(["x"], {}, targets, probs, CLASSES, MULTILABEL, 1)[0]
    assert (named.label, named.decided) == ("a", "a b")
