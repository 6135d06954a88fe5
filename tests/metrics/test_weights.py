"""A scorer with row weights equals the metric on rows selected or repeated as often as their weight."""

import numpy as np
import pytest

from kit.errors import KitError
from kit.metrics import Metric, get_metric, metrics, register_metric
from tests.conftest import raises_kit_error
from tests.metrics.rows import CASE_NAMES, CASES, MULTICLASS_ROWS, OPTIONS

rng = np.random.default_rng(1)


@pytest.mark.parametrize(("name", "rows"), CASES, ids=CASE_NAMES)
def test_weights_equal_selected_or_repeated_rows(name, rows):
    options = OPTIONS.get(name, {})
    counts = np.stack([rng.integers(0, 4, 300), rng.integers(0, 2, 300), np.ones(300)])
    found = rows.scorer(name, **options)(counts.astype(np.float64))
    expected = [
        rows.subset(np.repeat(np.arange(300), each.astype(int))).score(name, **options) for each in counts
    ]
    assert found == pytest.approx(expected, abs=1e-9)
    assert found[0] != found[2]


@pytest.mark.parametrize(("name", "rows"), CASES, ids=CASE_NAMES)
def test_zero_weights_give_nan(name, rows):
    with np.errstate(all="raise"):
        assert np.isnan(rows.scorer(name, **OPTIONS.get(name, {}))(np.zeros((2, 300)))).all()


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_areas_use_weights_for_every_average(name, average):
    counts = rng.integers(0, 3, (2, 300))
    found = MULTICLASS_ROWS.scorer(name, average=average)(counts.astype(np.float64))
    expected = [
        MULTICLASS_ROWS.subset(np.repeat(np.arange(300), each)).score(name, average=average)
        for each in counts
    ]
    assert found == pytest.approx(expected)


def test_a_draw_without_a_class_gives_nan_for_areas_only():
    without = (MULTICLASS_ROWS.targets != 0).astype(np.float64)[None]
    assert np.isnan(MULTICLASS_ROWS.scorer("roc_auc")(without)).all()
    assert not np.isnan(MULTICLASS_ROWS.scorer("f1_macro")(without)).any()


@pytest.fixture
def plain_metric(monkeypatch):
    """Register a metric for one test only."""
    monkeypatch.setattr(metrics, "_entries", dict(metrics._entries))

    @register_metric("share_of_class", needs="labels", exclusive=True)
    def share_of_class(targets, decided, task, *, number: int = 0) -> float:
        share = int((decided == number).sum()) / len(decided)
        if not (targets == 1).any():
            raise KitError("metric share_of_class", "class 1 is not there", code="class_absent")
        return np.nan if share == 1 else share

    return share_of_class


def test_a_plain_function_can_be_a_metric_with_options_and_weights(plain_metric):
    from kit.config import Component

    metric = get_metric(
        Component.model_validate({"name": "share_of_class", "number": 2}), MULTICLASS_ROWS.task
    )
    assert isinstance(metric, Metric)
    assert metric.name == "share_of_class(number=2)"
    assert (
        metric(MULTICLASS_ROWS.targets, MULTICLASS_ROWS.probs, MULTICLASS_ROWS.task)
        == (MULTICLASS_ROWS.decided == 2).mean()
    )
    counts = rng.integers(0, 3, (2, 300))
    scorer = metric.scorer(MULTICLASS_ROWS.targets, MULTICLASS_ROWS.probs, MULTICLASS_ROWS.task)
    expected = [(np.repeat(MULTICLASS_ROWS.decided, each) == 2).mean() for each in counts]
    assert scorer(counts.astype(np.float64)) == pytest.approx(expected)


def test_a_plain_function_may_refuse_rows_and_skip_draws(plain_metric):
    metric = get_metric("share_of_class", MULTICLASS_ROWS.task)
    scorer = metric.scorer(MULTICLASS_ROWS.targets, MULTICLASS_ROWS.probs, MULTICLASS_ROWS.task)
    assert np.isnan(scorer((MULTICLASS_ROWS.targets != 1).astype(np.float64)[None])).all()
    assert np.isnan(scorer(np.zeros((1, 300)))).all()
    with raises_kit_error("class_absent"):
        metric(np.zeros(4, dtype=int), np.full((4, 2), 0.5), MULTICLASS_ROWS.task)
    with raises_kit_error("metric_not_computable", where="metric share_of_class"):
        metric(np.ones(4, dtype=int), np.eye(2)[[0] * 4], MULTICLASS_ROWS.task)
    with pytest.raises(ValueError, match="takes integer weights only"):
        scorer(np.full((1, 300), 0.5))
