"""Pool the predictions, labels and folds of images that share a row of the submission."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kit.config import Component, PoolConfig
from kit.errors import KitError
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics import get_metric
from kit.submission.pooling import pool_labeled, pool_rows, pool_test, submitted_ids, task_of_rows
from kit.tasks import tasks
from tests.conftest import raises_kit_error
from tests.submission_format.public import competition, predictions

CROPS = ("i1_0", "i1_1", "i2_0")
POOL = PoolConfig(image=r"^(.+)_\d+$")
CLASSES = ("x", "y", "z")


def competition_with_labels(tmp_path, labels):
    train = pd.DataFrame({"id": CROPS, "path": CROPS, "label": labels})
    return competition(tmp_path, "multiclass", "f1_macro", CLASSES, CROPS, train)


def competition_of(tmp_path, images, rows=None):
    made = competition(tmp_path, "multiclass", "f1_macro", CLASSES, images)
    return made if rows is None else replace(made, test=made.test.assign(row=rows))


def test_the_pattern_gives_each_row_id_once(tmp_path):
    assert submitted_ids(POOL, competition_of(tmp_path, CROPS)) == ("i1", "i2")
    assert submitted_ids(None, competition_of(tmp_path, CROPS)) == CROPS
    with raises_kit_error("pattern_mismatch", where="submission.pool.image") as caught:
        submitted_ids(POOL, competition_of(tmp_path, (*CROPS, "whole")))
    assert "1 test id (whole)" in caught.value.problem


def test_a_column_of_the_test_table_gives_the_rows(tmp_path):
    products = competition_of(tmp_path, CROPS, ["p2", "p1", "p2"])
    assert submitted_ids(None, products) == ("p2", "p1")
    crops = predictions(CROPS, CLASSES, "multiclass")
    rows = pool_test(crops, None, products, tasks.get("multiclass"))
    assert rows.ids == ("p2", "p1")
    np.testing.assert_allclose(rows.probs[0], crops.probs[[0, 2]].mean(axis=0), rtol=1e-6)
    with raises_kit_error("rows_known_twice"):
        submitted_ids(POOL, products)


def test_rows_are_multilabel_if_labels_of_their_images_differ(tmp_path):
    assert task_of_rows(POOL, competition_with_labels(tmp_path, ["x", "x", "y"])).name == "multiclass"
    assert task_of_rows(POOL, competition_with_labels(tmp_path, ["x", "y", "y"])).name == "multilabel"
    assert task_of_rows(None, competition_with_labels(tmp_path, ["x", "y", "y"])).name == "multiclass"


@pytest.mark.parametrize("how", ["mean", "max"])
def test_probs_of_a_row_are_the_mean_or_maximum_over_its_images(how):
    crops = predictions(CROPS, CLASSES, "multiclass")
    several = pool_rows(crops, PoolConfig(image=POOL.image, how=how), tasks.get("multilabel"))
    assert several.ids == ("i1", "i2")
    np.testing.assert_allclose(several.probs[0], getattr(crops.probs[:2], how)(axis=0), rtol=1e-6)
    np.testing.assert_allclose(several.probs[1], crops.probs[2], rtol=1e-6)
    one = pool_rows(crops, PoolConfig(image=POOL.image, how=how), tasks.get("multiclass"))
    np.testing.assert_allclose(one.probs.sum(axis=1), 1, rtol=1e-6)
    assert (one.probs.argmax(axis=1) == several.probs.argmax(axis=1)).all()


def labeled_predictions(targets, parts) -> LabeledPredictions:
    kind = tasks.get("multiclass")
    oof, parts = predictions(CROPS, CLASSES, "multiclass"), np.array(parts)
    masks = [parts == part for part in np.unique(parts)]
    return LabeledPredictions(oof, masks, np.array(targets), parts, None, kind, get_metric("accuracy", kind))


def test_rows_have_the_labels_and_folds_of_their_images():
    one = pool_labeled(
        labeled_predictions([1, 1, 0], [0, 0, 1]), POOL, tasks.get("multiclass"), Component(name="accuracy")
    )
    assert one.targets.tolist() == [1, 0]
    assert (one.parts.tolist(), one.oof.ids) == ([0, 1], ("i1", "i2"))
    assert [mask.tolist() for mask in one.validated] == [[True, False], [False, True]]
    several = pool_labeled(
        labeled_predictions([1, 2, 0], [0, 0, 1]), POOL, tasks.get("multilabel"), Component(name="f1_macro")
    )
    assert several.targets.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_a_row_in_two_folds_is_refused():
    with raises_kit_error("groups_split") as caught:
        pool_labeled(
            labeled_predictions([1, 1, 0], [0, 1, 1]),
            POOL,
            tasks.get("multiclass"),
            Component(name="accuracy"),
        )
    assert "(i1)" in caught.value.problem


def test_a_metric_that_does_not_suit_the_pooled_rows_is_refused():
    with pytest.raises(KitError) as caught:
        pool_labeled(
            labeled_predictions([1, 2, 0], [0, 0, 1]),
            POOL,
            tasks.get("multilabel"),
            Component(name="accuracy"),
        )
    assert caught.value.where == "competition.metric"
