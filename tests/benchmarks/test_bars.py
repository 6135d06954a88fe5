"""The bars that have to be cleared; `python -m tests.benchmarks.NAME` prints the figures."""

import pytest

from tests.benchmarks import blends, bootstrap, folds, inspect_images, submissions

pytestmark = pytest.mark.slow


def test_stratified_folds_of_a_million_rows():
    found = folds.stratified()
    assert found.ratio <= 1.5, found
    assert found.deviation <= found.reference_deviation + 1e-9, found
    assert found.memory <= 3, found


def test_multilabel_folds():
    found = folds.multilabel()
    assert found.ratio <= 1, found
    assert found.deviation <= found.reference_deviation + 1e-9, found
    assert found.memory <= 3, found


def test_the_audit_of_twenty_thousand_images():
    first, second = inspect_images.main()
    assert first <= 60
    assert second <= 3


def test_a_hill_climb_over_fifty_members():
    climb, memory = blends.large()
    assert climb.seconds <= 60
    assert memory <= 3


def test_a_hill_climb_against_the_paper_written_down_plainly():
    problem = blends.library(10, 5_000, 20)
    ours, plain = blends.kits(problem, steps=30), blends.plain(problem, steps=30)
    assert plain.seconds >= 10 * ours.seconds
    assert ours.loss <= plain.loss + 1e-9


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro"])
def test_thresholds_of_fifty_labels(metric):
    assert blends.thresholds(metric) <= 10


def test_a_thousand_draws_of_a_hundred_thousand_rows():
    assert sum(bootstrap.measured(case).seconds for case in bootstrap.cases()) <= 30


@pytest.mark.parametrize("kind", submissions.KINDS)
def test_five_million_rows_written_and_checked(kind):
    found = submissions.compared(kind)
    assert found.ratio <= 2, found
    assert found.memory <= 4, found
