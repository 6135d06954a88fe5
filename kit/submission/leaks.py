"""Find test images that are byte-identical to training images, so that their labels are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.competition.duplicates import exact_groups, labels_by_path
from kit.competition.samples import Competition
from kit.predictions import FinalPredictions, Predictions
from kit.tasks import LABEL


class Leak(NamedTuple):
    """A test image that is byte-identical to a training image."""

    test_id: str
    train_id: str


def find_leaks(competition: Competition, scan: pd.DataFrame) -> list[Leak]:
    """Return the test images that are byte-identical to training images, if these have the same label."""
    samples = competition.labeled
    labels = labels_by_path(samples, competition.label_columns)
    train_ids = dict(zip(samples["path"], samples["id"], strict=True))
    test_ids = dict(zip(competition.test["path"], competition.test["id"], strict=True))
    leaks = []
    for group in exact_groups(scan):
        train = [path for path in group if path in labels]
        if train and all(labels[path] == labels[train[0]] for path in train) and len(labels[train[0]]) == 1:
            leaks += [Leak(test_ids[path], train_ids[train[0]]) for path in group if path in test_ids]
    return leaks


def with_known_labels(
    test: Predictions, predictions: FinalPredictions, leaks: Sequence[Leak], competition: Competition
) -> FinalPredictions:
    """Return the predictions of the test images, with probability 1 for known labels, or known shares."""
    samples = competition.train.set_index("id").loc[[leak.train_id for leak in leaks]]
    if competition.task.exclusive:
        written = samples[LABEL].isin(test.classes).to_numpy()
        samples, leaks = samples[written], [leak for leak, kept in zip(leaks, written, strict=True) if kept]
    targets = competition.task.targets(samples, test.classes)
    probs, decided = predictions.probs.copy(), predictions.decided.copy()
    rows = pd.Index(test.ids).get_indexer(pd.Index([leak.test_id for leak in leaks]))
    known = competition.task.one_hot(targets, len(test.classes)).astype(np.float32)
    probs[rows] = competition.task.normalized(known)
    decided[rows] = competition.task.majority(targets)
    return FinalPredictions(probs, decided)
