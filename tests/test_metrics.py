import numpy as np
import pytest
import sklearn.metrics as reference

from kit.errors import KitError
from kit.metrics import get_metric, metrics
from kit.tasks import tasks

MULTI, LABELS = tasks.get("multiclass"), tasks.get("multilabel")
rng = np.random.default_rng(0)
TARGETS = rng.integers(0, 4, 200)
PROBS = rng.dirichlet(np.ones(4), 200).astype(np.float32)
SETS = (rng.random((200, 4)) < 0.4).astype(np.float32)
SCORES = rng.random((200, 4)).astype(np.float32)


def test_multiclass_metrics_agree_with_scikit_learn():
    decided = PROBS.argmax(axis=1)
    expected = {
        "accuracy": reference.accuracy_score(TARGETS, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(TARGETS, decided),
        "log_loss": reference.log_loss(
            TARGETS, PROBS.astype(float) / PROBS.astype(float).sum(1, keepdims=True)
        ),
        "roc_auc": reference.roc_auc_score(np.eye(4)[TARGETS], PROBS, average="macro"),
        "f1_macro": reference.f1_score(TARGETS, decided, average="macro"),
        "quadratic_kappa": reference.cohen_kappa_score(TARGETS, decided, weights="quadratic"),
    }
    assert set(expected) == set(metrics)
    for name, value in expected.items():
        assert metrics.get(name)(TARGETS, PROBS, MULTI) == pytest.approx(value, abs=1e-9), name


def test_multilabel_metrics_agree_with_scikit_learn():
    decided = SCORES >= 0.5
    columns = [reference.log_loss(SETS[:, c], SCORES[:, c].astype(float), labels=[0, 1]) for c in range(4)]
    expected = {
        "accuracy": (decided == SETS).mean(),
        "log_loss": np.mean(columns),
        "roc_auc": reference.roc_auc_score(SETS, SCORES),
        "f1_macro": reference.f1_score(SETS, decided, average="macro"),
    }
    for name, value in expected.items():
        assert metrics.get(name)(SETS, SCORES, LABELS) == pytest.approx(value, abs=1e-6), name


def test_auc_of_two_classes_is_that_of_the_second():
    targets, probs = TARGETS % 2, PROBS[:, :2]
    value = metrics.get("roc_auc")(targets, probs, tasks.get("binary"))
    assert value == pytest.approx(reference.roc_auc_score(targets, probs[:, 1]))


def test_an_absent_class_is_said_not_made_nan():
    with pytest.raises(KitError, match="have no positive or no negative among these 3 rows"):
        metrics.get("roc_auc")(np.array([0, 1, 1]), PROBS[:3], MULTI)


def test_no_rows_no_score():
    with pytest.raises(KitError, match="there are no rows to score"):
        metrics.get("accuracy")(TARGETS[:0], PROBS[:0], MULTI)


def test_a_metric_that_does_not_suit_the_task_is_refused():
    with pytest.raises(KitError, match="balanced_accuracy does not suit the task multilabel"):
        get_metric("balanced_accuracy", LABELS)


def test_log_loss_is_lower_better():
    assert metrics.get("log_loss").better(0.1, 0.2)
    assert metrics.get("accuracy").better(0.2, 0.1)
