"""The curves of the report agree with scikit-learn, and reliability with counting by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from kit.evaluation.curves import NUMBERS, curves_of, reliability
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.predictions import FinalPredictions
from kit.tasks import tasks

MULTICLASS, MULTILABEL = tasks.get("multiclass"), tasks.get("multilabel")


@pytest.fixture
def labeled(trained):
    return load_labeled_oof(trained.run("tiny", "a"), trained)


def nested(labeled, probs=None):
    probs = labeled.oof.probs if probs is None else probs
    return FinalPredictions(probs, probs.argmax(axis=1))


def test_the_area_under_each_curve_is_that_of_scikit_learn(labeled):
    curves = curves_of(labeled, nested(labeled), labeled.oof.classes)
    for c, name in enumerate(labeled.oof.classes):
        has, probs = labeled.targets == c, labeled.oof.probs[:, c]
        assert np.trapezoid(curves.roc[name], NUMBERS) == pytest.approx(roc_auc_score(has, probs), abs=0.02)
        area = np.trapezoid(curves.precision[name], NUMBERS)
        assert area >= average_precision_score(has, probs) - 0.02  # interpolated precision is not below
    assert curves.mean_roc == pytest.approx(np.mean(list(curves.roc.values()), axis=0))


def test_the_worst_classes_are_shown_and_unknown_ones_are_left_out(labeled):
    order = list(reversed(labeled.oof.classes))
    assert list(curves_of(labeled, nested(labeled), order).roc) == order


def test_reliability_of_honest_predictions_is_on_the_diagonal():
    rng = np.random.default_rng(0)
    probs = rng.uniform(size=(20_000, 1))
    honest = reliability(rng.uniform(size=probs.shape) < probs, probs, MULTILABEL)
    assert honest.observed == pytest.approx(honest.stated, abs=0.03)
    assert honest.error < 0.02


def test_reliability_of_predictions_that_are_too_sure_is_below_the_diagonal():
    probs = np.tile([[0.9, 0.1]], (100, 1))
    right = np.arange(100) % 2 == 0  # half of them
    found = reliability(np.stack([right, ~right], axis=1), probs, MULTICLASS)
    assert (found.stated == pytest.approx(0.9)) and found.observed.mean() == pytest.approx(0.5)
    assert found.error == pytest.approx(0.4)


def test_reliability_after_postprocessing_exists_only_if_it_changes_probabilities(labeled):
    assert curves_of(labeled, nested(labeled), labeled.oof.classes).after is None
    sharper = labeled.oof.probs**2 / (labeled.oof.probs**2).sum(axis=1, keepdims=True)
    changed = curves_of(labeled, nested(labeled, sharper), labeled.oof.classes)
    assert changed.after.stated.mean() > changed.before.stated.mean()


def test_numbers_have_no_curves(labeled):
    from dataclasses import replace

    numeric = replace(labeled, task=tasks.get("regression"))
    assert curves_of(numeric, nested(labeled), labeled.oof.classes) is None
