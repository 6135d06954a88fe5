import tracemalloc

import numpy as np
import pytest

from kit.metrics import metrics
from kit.metrics.bootstrap import bootstrap_scores, bootstrap_weights, gain_interval, interval, num_draws_for
from kit.tasks import tasks
from tests.metrics.rows import MULTI, TWO


def weights(num_rows, draws, seed=0, units=None):
    return np.concatenate(list(bootstrap_weights(num_rows, draws, seed, units)))


def test_every_draw_takes_as_many_rows_as_there_are():
    drawn = weights(50, 2000)
    assert drawn.shape == (2000, 50)
    assert (drawn.sum(axis=1) == 50).all()
    # Each row's count is Poisson-like: mean 1, and absent in 1/e of the draws.
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)


def test_the_seed_gives_the_draws():
    assert (weights(20, 30) == weights(20, 30)).all()
    assert (weights(20, 30, seed=1) != weights(20, 30)).any()
    assert (weights(20, 30)[:10] == weights(20, 10)).all()


def test_rows_of_a_unit_are_drawn_together():
    units = np.array(["b", "a", "b", "c", "c", "c"])
    drawn = weights(6, 500, units=units)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 3] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_scores_are_those_of_the_rows_drawn_and_paired():
    scorers = [MULTI.scorer("accuracy"), MULTI.scorer("log_loss"), MULTI.scorer("accuracy")]
    found = bootstrap_scores(scorers, 300, draws=20, seed=4)
    drawn = weights(300, 20, seed=4).astype(int)
    for name, scores in zip(("accuracy", "log_loss", "accuracy"), found, strict=True):
        expected = [MULTI.take(np.repeat(np.arange(300), row)).score(name) for row in drawn]
        assert scores == pytest.approx(expected)


def test_the_interval_of_an_accuracy_is_about_the_binomial_one():
    found = interval(bootstrap_scores([TWO.scorer("accuracy")], 300, draws=4000)[0])
    share = TWO.score("accuracy")
    half = 1.96 * np.sqrt(share * (1 - share) / 300)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.006)
    assert found.skipped_draws == 0


def test_draws_without_a_score_are_left_out_and_counted():
    values = np.append(np.arange(101.0), [np.nan, np.nan])
    found = interval(values, level=0.9)
    assert (found.low, found.high, found.skipped_draws) == (pytest.approx(5), pytest.approx(95), 2)
    nothing = interval(np.full(3, np.nan))
    assert np.isnan([nothing.low, nothing.high]).all()
    assert nothing.skipped_draws == 3


def test_memory_does_not_grow_with_the_draws():
    scorer = MULTI.scorer("accuracy")

    def peak(draws):
        tracemalloc.start()
        bootstrap_scores([scorer], 300, draws)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4000) < 1.2 * peak(1000)


def test_draws_are_fewer_only_where_a_thousand_would_take_minutes():
    accuracy, area = metrics.get("accuracy"), metrics.get("roc_auc")
    assert num_draws_for(accuracy, 100_000, 20) == num_draws_for(area, 1_000, 100) == 1000
    assert num_draws_for(area, 100_000, 20) == 250
    assert num_draws_for(area, 1_000_000, 100) == 100


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_the_interval_of_a_gain_is_that_of_paired_draws(name):
    metric = metrics.get(name)
    sure, unsure = np.eye(2)[[0, 1] * 50], np.full((100, 2), 0.5)
    better, worse = (
        metric.scorer(np.array([0, 1] * 50), np.clip(p, 0.1, 0.9), tasks.get("binary"))
        for p in (sure, unsure)
    )
    found = gain_interval(metric, better, worse, (100, 2))
    assert 0 < found.low <= found.high
    mirrored = gain_interval(metric, worse, better, (100, 2))
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    itself = gain_interval(metric, better, better, (100, 2))
    assert (itself.low, itself.high) == (0.0, 0.0)
