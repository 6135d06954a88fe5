"""Predictions, truth and folds of images that share a row of the submission."""

import numpy as np
import pandas as pd
import pytest

from kit.config import Component, PoolConfig
from kit.errors import KitError
from kit.evaluation.oof_with_labels import LabeledPredictions
from kit.metrics import get_metric
from kit.submission.pooling import pool_labeled, pool_rows, pooled_ids, task_of_rows
from kit.tasks import tasks
from tests.conftest import raises_kit_error
from tests.submission_format.public import competition, predictions

CROPS = ("i1_0", "i1_1", "i2_0")
POOL = PoolConfig(image=r"^(.+)_\d+$")
CLASSES = ("x", "y", "z")


def with_labels(tmp_path, labels):
    train = pd.DataFrame({"id": CROPS, "path": CROPS, "label": labels})
    return competition(tmp_path, "multiclass", "f1_macro", CLASSES, CROPS, train)


def test_rows_are_named_by_the_pattern_once_each():
    assert pooled_ids(POOL, CROPS) == ("i1", "i2")
    assert pooled_ids(None, CROPS) == CROPS
    with raises_kit_error("pattern_mismatch", where="submission.pool.image") as caught:
        pooled_ids(POOL, (*CROPS, "whole"))
    assert "1 test ids (whole)" in caught.value.problem


def test_rows_have_several_classes_if_their_images_differ(tmp_path):
    assert task_of_rows(POOL, with_labels(tmp_path, ["x", "x", "y"])).name == "multiclass"
    assert task_of_rows(POOL, with_labels(tmp_path, ["x", "y", "y"])).name == "multilabel"
    assert task_of_rows(None, with_labels(tmp_path, ["x", "y", "y"])).name == "multiclass"


@pytest.mark.parametrize("how", ["mean", "max"])
def test_probabilities_of_a_row(how):
    given = predictions(CROPS, CLASSES, "multiclass")
    several = pool_rows(given, PoolConfig(image=POOL.image, how=how), tasks.get("multilabel"))
    assert several.ids == ("i1", "i2")
    np.testing.assert_allclose(several.probs[0], getattr(given.probs[:2], how)(axis=0), rtol=1e-6)
    np.testing.assert_allclose(several.probs[1], given.probs[2], rtol=1e-6)
    one = pool_rows(given, PoolConfig(image=POOL.image, how=how), tasks.get("multiclass"))
    np.testing.assert_allclose(one.probs.sum(axis=1), 1, rtol=1e-6)
    assert (one.probs.argmax(axis=1) == several.probs.argmax(axis=1)).all()


def scored(targets, parts) -> LabeledPredictions:
    kind = tasks.get("multiclass")
    oof, parts = predictions(CROPS, CLASSES, "multiclass"), np.array(parts)
    masks = [parts == part for part in np.unique(parts)]
    return LabeledPredictions(oof, masks, np.array(targets), parts, None, kind, get_metric("accuracy", kind))


def test_truth_and_folds_of_the_rows():
    one = pool_labeled(
        scored([1, 1, 0], [0, 0, 1]), POOL, tasks.get("multiclass"), Component(name="accuracy")
    )
    assert one.targets.tolist() == [1, 0]
    assert (one.parts.tolist(), one.oof.ids) == ([0, 1], ("i1", "i2"))
    assert [mask.tolist() for mask in one.validated] == [[True, False], [False, True]]
    several = pool_labeled(
        scored([1, 2, 0], [0, 0, 1]), POOL, tasks.get("multilabel"), Component(name="f1_macro")
    )
    assert several.targets.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_a_row_in_two_folds_is_refused():
    with raises_kit_error("groups_split") as caught:
        pool_labeled(scored([1, 1, 0], [0, 1, 1]), POOL, tasks.get("multiclass"), Component(name="accuracy"))
    assert "(i1)" in caught.value.problem


def test_a_metric_must_suit_the_rows():
    with pytest.raises(KitError) as caught:
        pool_labeled(scored([1, 2, 0], [0, 0, 1]), POOL, tasks.get("multilabel"), Component(name="accuracy"))
    assert caught.value.where == "competition.metric"
