"""A scorer with weights gives the score of the metric on rows that are selected or repeated so."""

import numpy as np
import pytest

from kit.errors import KitError
from kit.metrics import Metric, get_metric, metrics, register_metric
from tests.conftest import raises_kit_error
from tests.metrics.rows import CASES, MULTI, NAMES, OPTIONS

rng = np.random.default_rng(1)


@pytest.mark.parametrize(("name", "rows"), CASES, ids=NAMES)
def test_weights_are_rows_picked_or_repeated(name, rows):
    options = OPTIONS.get(name, {})
    counts = np.stack([rng.integers(0, 4, 300), rng.integers(0, 2, 300), np.ones(300)])
    found = rows.scorer(name, **options)(counts.astype(np.float64))
    expected = [
        rows.take(np.repeat(np.arange(300), each.astype(int))).score(name, **options) for each in counts
    ]
    assert found == pytest.approx(expected, abs=1e-9)
    assert found[0] != found[2]


@pytest.mark.parametrize(("name", "rows"), CASES, ids=NAMES)
def test_no_rows_have_no_score(name, rows):
    with np.errstate(all="raise"):
        assert np.isnan(rows.scorer(name, **OPTIONS.get(name, {}))(np.zeros((2, 300)))).all()


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_areas_use_weights_in_every_average(name, average):
    counts = rng.integers(0, 3, (2, 300))
    found = MULTI.scorer(name, average=average)(counts.astype(np.float64))
    expected = [MULTI.take(np.repeat(np.arange(300), each)).score(name, average=average) for each in counts]
    assert found == pytest.approx(expected)


def test_a_draw_without_a_class_has_no_area():
    without = (MULTI.targets != 0).astype(np.float64)[None]
    assert np.isnan(MULTI.scorer("roc_auc")(without)).all()
    assert not np.isnan(MULTI.scorer("f1_macro")(without)).any()


@pytest.fixture
def plain_metric(monkeypatch):
    """Metrics that a test registers are gone after it."""
    monkeypatch.setattr(metrics, "_entries", dict(metrics._entries))

    @register_metric("share_of_class", needs="labels", exclusive=True)
    def share_of_class(targets, decided, task, *, number: int = 0) -> float:
        share = int((decided == number).sum()) / len(decided)
        if not (targets == 1).any():
            raise KitError("metric share_of_class", "class 1 is not there", code="class_absent")
        return np.nan if share == 1 else share

    return share_of_class


def test_a_plain_function_is_a_metric_with_options_and_draws(plain_metric):
    from kit.config import Component

    metric = get_metric(Component.model_validate({"name": "share_of_class", "number": 2}), MULTI.task)
    assert isinstance(metric, Metric)
    assert metric.name == "share_of_class(number=2)"
    assert metric(MULTI.targets, MULTI.probs, MULTI.task) == (MULTI.decided == 2).mean()
    counts = rng.integers(0, 3, (2, 300))
    scorer = metric.scorer(MULTI.targets, MULTI.probs, MULTI.task)
    expected = [(np.repeat(MULTI.decided, each) == 2).mean() for each in counts]
    assert scorer(counts.astype(np.float64)) == pytest.approx(expected)


def test_a_plain_function_may_refuse_all_rows_and_skip_draws(plain_metric):
    metric = get_metric("share_of_class", MULTI.task)
    scorer = metric.scorer(MULTI.targets, MULTI.probs, MULTI.task)
    assert np.isnan(scorer((MULTI.targets != 1).astype(np.float64)[None])).all()
    assert np.isnan(scorer(np.zeros((1, 300)))).all()
    with raises_kit_error("class_absent"):
        metric(np.zeros(4, dtype=int), np.full((4, 2), 0.5), MULTI.task)
    with raises_kit_error("metric_not_computable", where="metric share_of_class"):
        metric(np.ones(4, dtype=int), np.eye(2)[[0] * 4], MULTI.task)
    with pytest.raises(ValueError, match="integer weights"):
        scorer(np.full((1, 300), 0.5))
