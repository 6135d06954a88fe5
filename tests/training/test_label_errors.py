"""Label errors of a fold's training images are corrected or dropped, without the fold's validation images."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config import Component, LabelErrorsConfig
from kit.config.load import load_config
from kit.engine.data.datasets import ImageSet
from kit.engine.data.image_store import Picture
from kit.storage.files import read_json
from kit.tasks import tasks
from kit.training.label_errors import LARGEST_SHARE, changed_labels, write_changes
from tests.conftest import raises_kit_error, write_config

CLASSES = ("a", "b", "c")
CORRECT = LabelErrorsConfig(margin=0.3)


def images_of(targets) -> ImageSet:
    ids = [f"i{n}" for n in range(len(targets))]
    return ImageSet(ids, [Picture(f"{i}.png", None) for i in ids], targets)


def competition_of(task: str):
    return SimpleNamespace(task=tasks.get(task), classes=CLASSES)


def separable(number=90, wrong=9, seed=0):
    """Return features that tell the class, the true classes, and labels some of which are wrong."""
    rng = np.random.default_rng(seed)
    truth = np.arange(number) % 3
    features = np.eye(3)[truth] * 4 + rng.normal(size=(number, 3))
    features = np.concatenate([features, rng.normal(size=(number, 5))], axis=1).astype(np.float32)
    labels = truth.copy()
    labels[:wrong] = (truth[:wrong] + 1) % 3
    return features, truth, labels


def test_wrong_labels_are_corrected_and_right_ones_stay():
    features, truth, labels = separable()
    images, changes = changed_labels(
        images_of(labels), features, competition_of("multiclass"), CORRECT, None, 1
    )
    assert (images.targets != truth).sum() < (labels != truth).sum() / 2
    assert len(images) == 90
    assert changes.num_relabeled == (images.targets != labels).sum() > 0


def test_wrong_labels_are_dropped():
    features, truth, labels = separable()
    images, changes = changed_labels(
        images_of(labels), features, competition_of("multiclass"), None, CORRECT, 1
    )
    kept = [int(i[1:]) for i in images.ids]
    assert len(images) == 90 - changes.num_dropped < 90
    assert (labels[kept] != truth[kept]).sum() < (labels != truth).sum() / 2
    np.testing.assert_array_equal(images.targets, labels[kept])


def test_sure_errors_are_corrected_and_less_sure_ones_dropped():
    features, _, labels = separable(wrong=15)
    relabel, drop = LabelErrorsConfig(margin=0.45), LabelErrorsConfig(margin=0.1)
    _, changes = changed_labels(images_of(labels), features, competition_of("multiclass"), relabel, drop, 1)
    margins = np.array(changes.margins)
    corrected = np.array([action == "relabel" for action in changes.actions])
    assert corrected.any() and not corrected.all()
    assert margins[corrected].min() >= 0.45 > margins[~corrected].max()


def test_at_most_half_of_the_labels_of_a_class_change():
    features, truth, _ = separable()
    labels = np.where(truth == 0, 1, truth)  # all images of class a are labeled b
    labels[:3] = 0
    images, _ = changed_labels(images_of(labels), features, competition_of("multiclass"), None, CORRECT, 1)
    for c in range(3):
        assert (images.targets == c).sum() >= (1 - LARGEST_SHARE) * (labels == c).sum()


def test_of_several_classes_single_flags_are_corrected():
    features, truth, _ = separable()
    labels = np.eye(3, dtype=np.float32)[truth]
    labels[:6, 2] = 1 - labels[:6, 2]
    images, changes = changed_labels(
        images_of(labels), features, competition_of("multilabel"), CORRECT, None, 1
    )
    right = np.eye(3)[truth]
    assert (images.targets != right).sum() < (labels != right).sum()
    assert set(changes.columns) <= {0, 1, 2}


def test_the_table_names_every_change(tmp_path):
    features, _, labels = separable()
    images, changes = changed_labels(
        images_of(labels), features, competition_of("multiclass"), CORRECT, None, 1
    )
    write_changes(tmp_path / "changes.csv", changes, CLASSES)
    table = pd.read_csv(tmp_path / "changes.csv").set_index("id")
    for sample_id, before, after in zip(images.ids, labels, images.targets, strict=True):
        if before != after:
            assert tuple(table.loc[sample_id, ["label", "suggested"]]) == (CLASSES[before], CLASSES[after])
    assert len(table) == changes.num_relabeled


def test_labels_of_validation_images_do_not_decide_what_changes(tiny):
    """Two competitions that differ in labels of fold 0 only change the same labels in training fold 0."""
    config = load_config(
        write_config(tiny, train__relabel={"margin": 0.05}, train__drop={"margin": 0.01}, train__epochs=1)
    )
    pipeline.train(config, workspace=tiny, folds=[0])
    run = tiny.run("tiny", config.name)
    before = run.fold(0).label_changes.read_text()
    folds = pd.read_csv(tiny.folds("tiny"), dtype=str)
    rows = folds.index[folds["fold"] == "0"]
    swapped = folds.loc[rows, "label"].map({"2": "10", "10": "2", "red": "red"})
    pd.DataFrame({"id": folds.loc[rows, "id"], "label": swapped}).to_csv(tiny.root / "swap.csv", index=False)
    other = load_config(
        write_config(
            tiny,
            name="swapped",
            competition__corrections="swap.csv",
            train__relabel={"margin": 0.05},
            train__drop={"margin": 0.01},
            train__epochs=1,
        )
    )
    pipeline.train(other, workspace=tiny, folds=[0])
    assert tiny.run("tiny", "swapped").fold(0).label_changes.read_text() == before
    done = read_json(run.fold(0).done)
    assert done["relabeled"] + done["dropped"] == len(before.splitlines()) - 1


@pytest.mark.parametrize("key", ["relabel", "drop"])
def test_numbers_have_no_label_errors(tiny, key):
    from kit.engine.fit.validate_config import check_recipe

    config = load_config(write_config(tiny, **{f"train__{key}": {}}))
    numeric = config.competition.model_copy(update={"task": "regression", "metric": Component(name="rmse")})
    with raises_kit_error("label_errors_unsuitable"):
        check_recipe(config.model_copy(update={"competition": numeric}), tiny)
