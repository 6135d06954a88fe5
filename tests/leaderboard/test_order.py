import pytest

from kit.errors import KitError
from kit.leaderboard.entries import Entry
from kit.leaderboard.order import in_order, of_competition, picked

ROWS = [
    Entry("birds", "b", "experiment", "accuracy", True, 0.6, public=0.7, date="2026-11-02", minutes=3.0),
    Entry("birds", "a", "blend", "accuracy", True, 0.7, private=0.5, date="2026-11-03"),
    Entry("birds", "c", "submission", "accuracy", True, None, public=0.8, date="2026-11-01", minutes=1.0),
    Entry("ants", "y", "experiment", "log_loss", False, 0.6, public=0.4, private=0.2),
    Entry("ants", "x", "experiment", "log_loss", False, 0.5, public=0.5, private=0.3),
]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("cv", "x y a b c"),
        ("public", "y x c b a"),
        ("private", "y x a b c"),
        ("date", "x y a b c"),
        ("minutes", "x y c b a"),
        ("name", "x y a b c"),
    ],
)
def test_the_best_the_latest_the_quickest_come_first_and_none_last(by, expected):
    assert [entry.name for entry in in_order(ROWS, by)] == expected.split()


def test_dates_are_latest_first():
    rows = [
        Entry("c", name, "experiment", "m", True, 1, date=day) for name, day in zip("abc", "132", strict=True)
    ]
    assert [entry.name for entry in in_order(rows, "date")] == ["b", "c", "a"]


def test_rows_are_picked_by_competition_kind_and_pattern():
    assert {entry.name for entry in of_competition(ROWS, "ants")} == {"x", "y"}
    assert of_competition(ROWS, None) == ROWS
    assert [entry.name for entry in picked(ROWS, kind="experiment", pattern="[by]")] == ["b", "y"]
    assert picked(ROWS, pattern="B*") == []
    assert picked(ROWS) == ROWS


@pytest.mark.parametrize(
    ("call", "where", "hint"),
    [
        (lambda: in_order(ROWS, "pubic"), "--sort", "public"),
        (lambda: picked(ROWS, kind="blends"), "--kind", "blend"),
        (lambda: of_competition(ROWS, "bird"), "--competition", "birds"),
    ],
)
def test_what_is_unknown_is_told_with_the_nearest(call, where, hint):
    with pytest.raises(KitError) as raised:
        call()
    assert raised.value.where == where
    assert f"Did you mean {hint}?" in raised.value.next
