"""Bootstrap weights, scores and intervals."""

import tracemalloc

import numpy as np
import pytest

from kit.metrics import metrics
from kit.metrics.bootstrap import bootstrap_scores, bootstrap_weights, gain_interval, interval, num_draws_for
from kit.tasks import tasks
from tests.metrics.rows import BINARY_ROWS, MULTICLASS_ROWS


def draw_weights(num_rows, draws, seed=0, units=None):
    return np.concatenate(list(bootstrap_weights(num_rows, draws, seed, units)))


def test_every_draw_has_as_many_rows_as_the_data():
    drawn = draw_weights(50, 2000)
    assert drawn.shape == (2000, 50)
    assert (drawn.sum(axis=1) == 50).all()
    # The count of a row has mean 1 and is 0 in about 1/e of the draws.
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)


def test_the_same_seed_gives_the_same_draws():
    assert (draw_weights(20, 30) == draw_weights(20, 30)).all()
    assert (draw_weights(20, 30, seed=1) != draw_weights(20, 30)).any()
    assert (draw_weights(20, 30)[:10] == draw_weights(20, 10)).all()


def test_rows_of_a_group_are_drawn_together():
    units = np.array(["b", "a", "b", "c", "c", "c"])
    drawn = draw_weights(6, 500, units=units)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 3] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_all_scorers_score_the_same_drawn_rows():
    scorers = [
        MULTICLASS_ROWS.scorer("accuracy"),
        MULTICLASS_ROWS.scorer("log_loss"),
        MULTICLASS_ROWS.scorer("accuracy"),
    ]
    found = bootstrap_scores(scorers, 300, draws=20, seed=4)
    drawn = draw_weights(300, 20, seed=4).astype(int)
    for name, scores in zip(("accuracy", "log_loss", "accuracy"), found, strict=True):
        expected = [MULTICLASS_ROWS.subset(np.repeat(np.arange(300), row)).score(name) for row in drawn]
        assert scores == pytest.approx(expected)


def test_the_interval_of_accuracy_agrees_with_the_binomial_interval():
    found = interval(bootstrap_scores([BINARY_ROWS.scorer("accuracy")], 300, draws=4000)[0])
    share = BINARY_ROWS.score("accuracy")
    half = 1.96 * np.sqrt(share * (1 - share) / 300)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.006)
    assert found.skipped_draws == 0


def test_draws_without_a_score_are_skipped_and_counted():
    values = np.append(np.arange(101.0), [np.nan, np.nan])
    found = interval(values, level=0.9)
    assert (found.low, found.high, found.skipped_draws) == (pytest.approx(5), pytest.approx(95), 2)
    nothing = interval(np.full(3, np.nan))
    assert np.isnan([nothing.low, nothing.high]).all()
    assert nothing.skipped_draws == 3


def test_memory_does_not_grow_with_the_number_of_draws():
    scorer = MULTICLASS_ROWS.scorer("accuracy")

    def peak(draws):
        tracemalloc.start()
        bootstrap_scores([scorer], 300, draws)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4000) < 1.2 * peak(1000)


def test_slow_metrics_on_large_data_get_fewer_draws():
    accuracy, area = metrics.get("accuracy"), metrics.get("roc_auc")
    assert num_draws_for(accuracy, 100_000, 20) == num_draws_for(area, 1_000, 100) == 1000
    assert num_draws_for(area, 100_000, 20) == 250
    assert num_draws_for(area, 1_000_000, 100) == 100


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_the_interval_of_a_gain_uses_paired_draws(name):
    metric = metrics.get(name)
    confident, uniform = np.eye(2)[[0, 1] * 50], np.full((100, 2), 0.5)
    better, worse = (
        metric.scorer(np.array([0, 1] * 50), np.clip(p, 0.1, 0.9), tasks.get("binary"))
        for p in (confident, uniform)
    )
    found = gain_interval(metric, better, worse, (100, 2))
    assert 0 < found.low <= found.high
    swapped = gain_interval(metric, worse, better, (100, 2))
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    itself = gain_interval(metric, better, better, (100, 2))
    assert (itself.low, itself.high) == (0.0, 0.0)
