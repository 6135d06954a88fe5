"""Scores by image size and group are the metric of the rows that belong to them."""

import numpy as np
import pandas as pd
import pytest

from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.evaluation.slices import MIN_IMAGES, SHOWN_GROUPS, SIZE_RANGES, slice_scores
from kit.predictions import FinalPredictions
from tests.evaluation.runs import write_run

CLASSES = ("a", "b")
ROWS = 240


@pytest.fixture
def labeled(workspace):
    """240 rows; the first 60 are predicted wrongly."""
    targets = np.arange(ROWS) % 2
    probs = np.eye(2)[np.where(np.arange(ROWS) < 60, 1 - targets, targets)]
    return load_labeled_oof(
        write_run(workspace, "multiclass", "accuracy", targets, probs, CLASSES), workspace
    )


def scored(labeled, widths=(), groups=None, boxes=None):
    """Return the slices of images of some widths (of equal heights), groups and boxes."""
    train = pd.DataFrame({"id": labeled.oof.ids, "path": labeled.oof.ids})
    if groups is not None:
        train["group"] = groups
    if boxes is not None:
        train[["xmin", "ymin", "xmax", "ymax"]] = boxes
    scan = pd.DataFrame({"path": labeled.oof.ids[: len(widths)], "width": widths, "height": 1000})
    predictions = FinalPredictions(labeled.oof.probs, labeled.oof.probs.argmax(axis=1))
    return slice_scores(labeled, predictions, train.sample(frac=1, random_state=0), scan)


def test_ranges_of_sizes_hold_every_image_once_and_are_scored_alone(labeled):
    slices = scored(labeled, widths=np.arange(ROWS) + 1)
    assert len(slices) == SIZE_RANGES
    assert sum(each.images for each in slices) == ROWS
    assert [each.score for each in slices] == [0, 1, 1, 1]
    assert slices[0].name == "1 to 60 px"


def test_few_different_sizes_are_ranges_of_their_own(labeled):
    slices = scored(labeled, widths=np.where(np.arange(ROWS) < 60, 64, 512))
    assert [(each.name, each.images, each.score) for each in slices] == [("64 px", 60, 0), ("512 px", 180, 1)]


def test_images_of_one_size_or_of_unknown_size_are_not_ranges(labeled):
    assert scored(labeled, widths=np.full(ROWS, 64)) == []
    assert scored(labeled) == []
    unreadable = scored(labeled, widths=np.where(np.arange(ROWS) < 20, 0, np.arange(ROWS)))
    assert sum(each.images for each in unreadable) == ROWS - 20


def test_the_size_of_a_crop_is_that_of_its_box(labeled):
    sides = np.where(np.arange(ROWS) < 60, 20, 90)
    boxes = np.stack([np.zeros(ROWS), np.zeros(ROWS), sides, np.full(ROWS, 300)], axis=1)
    slices = scored(labeled, widths=np.full(ROWS, 64), boxes=boxes)
    assert [(each.name, each.score) for each in slices] == [("20 px", 0), ("90 px", 1)]


def test_the_worst_groups_are_shown_and_small_ones_left_out(labeled):
    groups = pd.Series(np.arange(ROWS) // 12).astype(str)
    groups[ROWS - MIN_IMAGES + 1 :] = "small"
    groups[100:112] = ""
    slices = [each for each in scored(labeled, groups=groups.to_numpy()) if each.by == "group"]
    assert len(slices) == SHOWN_GROUPS
    assert [each.name for each in slices[:5]] == ["0", "1", "2", "3", "4"]
    assert slices[0].loss > slices[-1].loss
    assert [each.score for each in slices] == [0] * 5 + [1] * 5
    assert {"small", ""}.isdisjoint(each.name for each in slices)


def test_groups_of_one_class_are_compared_by_their_loss_where_the_metric_has_no_score(workspace):
    targets = np.repeat([0, 1], 20)
    probs = np.stack([1 - targets, targets], axis=1) * 0.8 + 0.1
    probs[20:] = [0.6, 0.4]
    run = write_run(workspace, "multiclass", "roc_auc", targets, probs, CLASSES)
    slices = scored(load_labeled_oof(run, workspace), groups=np.repeat(["easy", "hard"], 20))
    assert [(each.name, each.score) for each in slices] == [("hard", None), ("easy", None)]
    assert slices[0].loss == pytest.approx(-np.log(0.4))
