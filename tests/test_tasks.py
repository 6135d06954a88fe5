"""Tasks: targets, priors, predicted labels and attributes."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from kit.config import CompetitionConfig
from kit.metrics import metrics
from kit.tasks import tasks

CLASSES = ("2", "10", "red")


def test_targets_are_positions_in_the_class_order():
    samples = pd.DataFrame({"label": ["10", "2", "red"]})
    assert tasks.get("multiclass").targets(samples, CLASSES).tolist() == [1, 0, 2]


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="not among the classes"):
        tasks.get("multiclass").targets(pd.DataFrame({"label": ["blue"]}), CLASSES)


def test_targets_of_distributions_are_the_shares_and_their_classes_the_largest_ones():
    soft = tasks.get("soft")
    rows = {"label": ["10", "2", ""], "red": [0.1, 0.5, np.nan], "2": [0.3, 0.5, np.nan]}
    samples = pd.DataFrame(rows | {"10": [0.6, 0.0, np.nan]})
    known = soft.labeled(samples, CLASSES)
    targets = soft.targets(samples[known], CLASSES)
    assert soft.label_columns(CLASSES) == ["label", *CLASSES]
    assert known.tolist() == [True, True, False]
    assert targets.tolist() == [[0.3, 0.6, 0.1], [0.5, 0.0, 0.5]]
    assert soft.majority(targets).tolist() == [1, 0]
    assert soft.one_hot(targets, 3) is targets
    assert soft.one_hot(soft.majority(targets), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert soft.prior(targets, 3).tolist() == pytest.approx([0.4, 0.3, 0.3])
    assert soft.hard.name == "multiclass"


def test_multilabel_targets_are_the_columns_in_class_order():
    samples = pd.DataFrame({"red": [1, 0], "2": [0, 1], "10": [1, 1]})
    assert tasks.get("multilabel").targets(samples, CLASSES).tolist() == [[0, 1, 1], [1, 1, 0]]


def test_prior_is_the_share_of_each_class():
    prior = tasks.get("multiclass").prior(np.array([0, 0, 0, 2]), 3)
    assert prior.tolist() == [0.75, 0.0, 0.25]


def test_exclusive_tasks_predict_the_argmax_and_multilabel_uses_threshold_one_half():
    probs = np.array([[0.2, 0.5, 0.3], [0.6, 0.5, 0.1]])
    assert tasks.get("multiclass").decide(probs).tolist() == [1, 0]
    assert tasks.get("multilabel").decide(probs).tolist() == [[0, 1, 0], [1, 1, 0]]


def test_each_task_has_the_attributes_that_other_modules_read():
    assert [name for name in tasks if tasks.get(name).is_binary] == ["binary"]
    assert [name for name in tasks if tasks.get(name).is_nominal] == ["multiclass", "soft"]
    assert [name for name in tasks if tasks.get(name).ordinal] == ["ordinal"]
    assert all(tasks.describe().values())


def test_the_config_names_every_task_and_every_usual_metric_suits_its_task():
    assert set(get_args(CompetitionConfig.model_fields["task"].annotation)) == set(tasks)
    assert all(metrics.get(name).suits(task) for task in tasks.values() for name in task.usual_metrics)


def test_blank_or_unknown_labels_count_as_unlabeled():
    blank = pd.DataFrame({"label": ["2", ""]})
    unknown = pd.DataFrame({"2": [1, -1], "10": [0, -1], "red": [0, -1]})
    numbers = pd.DataFrame({"value": [-1.0, np.nan]})
    assert tasks.get("multiclass").labeled(blank, CLASSES).tolist() == [True, False]
    assert tasks.get("multilabel").labeled(unknown, CLASSES).tolist() == [True, False]
    assert tasks.get("regression").labeled(numbers, ("value",)).tolist() == [True, False]


def test_numbers_are_targets_predictions_and_decisions_as_they_are():
    task, samples = tasks.get("regression"), pd.DataFrame({"value": [0.1, -7.25]})
    targets = task.targets(samples, ("value",))
    assert targets.tolist() == [[0.1], [-7.25]]
    assert task.prior(targets, 1).tolist() == [pytest.approx(-3.575)]
    probs = targets.astype(np.float32)
    decided = task.decide(task.normalized(probs))
    assert decided.tolist() == probs.tolist()
    decided[0] = 9  # a caller may change decisions; the predictions stay
    assert probs[0, 0] == np.float32(0.1)
