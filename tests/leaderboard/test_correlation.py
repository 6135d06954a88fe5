"""The Spearman rank correlation of CV and leaderboard scores."""

import pytest
from scipy.stats import spearmanr

from kit.leaderboard.correlation import correlations
from kit.leaderboard.entries import Entry


def entries_with(pairs, board="public", competition="c", higher=True) -> list[Entry]:
    return [
        Entry(competition, f"e{n}", "experiment", "m", higher, cv, **{board: score})
        for n, (cv, score) in enumerate(pairs)
    ]


def test_correlation_agrees_with_scipy_also_with_ties():
    pairs = [(0.5, 0.61), (0.6, 0.60), (0.6, 0.70), (0.9, 0.70), (0.7, 0.80)]
    (found,) = correlations(entries_with(pairs))
    assert found.spearman == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
    assert (found.board, found.submissions) == ("public", 5)
    assert f"{found.spearman:.2f} over 5 submissions" in found.summary


@pytest.mark.parametrize("higher", [True, False])
def test_the_same_order_has_correlation_1_for_metrics_of_both_directions(higher):
    (found,) = correlations(entries_with([(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)], higher=higher))
    assert found.spearman == pytest.approx(1)


def test_the_opposite_order_has_correlation_minus_1():
    (found,) = correlations(entries_with([(1, 3), (2, 2), (3, 1)], board="private"))
    assert found.spearman == pytest.approx(-1)
    assert "private LB" in found.summary and "-1.00 over 3 submissions" in found.summary


def test_correlation_needs_three_submissions_with_both_scores():
    pairs = [(0.1, 0.2), (0.3, 0.4), (None, 0.5), (0.6, None)]
    assert correlations(entries_with(pairs)) == []
    assert len(correlations(entries_with([*pairs, (0.7, 0.1)]))) == 1


def test_constant_scores_have_no_correlation():
    (found,) = correlations(entries_with([(0.1, 0.5), (0.2, 0.5), (0.3, 0.5)]))
    assert found.spearman is None
    assert found.submissions == 3


def test_each_competition_and_board_has_its_own_correlation():
    both = entries_with([(1, 1), (2, 2), (3, 3)], competition="b") + entries_with(
        [(1, 3), (2, 2), (3, 1)], competition="a"
    )
    assert [(c.competition, round(c.spearman)) for c in correlations(both)] == [("a", -1), ("b", 1)]
    private = entries_with([(1, 1), (2, 2), (3, 3)], board="private")
    assert [c.board for c in correlations(private)] == ["private"]
