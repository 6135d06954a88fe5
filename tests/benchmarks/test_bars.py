"""The bars that folds and the audit have to clear; `python -m tests.benchmarks.folds` prints the figures."""

import pytest

from tests.benchmarks import folds, inspect_images

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
