"""Filter and sort the rows of the leaderboard."""

import pytest

from kit.errors import KitError
from kit.leaderboard.entries import Entry
from kit.leaderboard.order import entries_of, filter_entries, sort_entries

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
def test_rows_are_sorted_by_a_column_and_rows_without_a_value_are_last(by, expected):
    assert [entry.name for entry in sort_entries(ROWS, by)] == expected.split()


def test_sorting_by_date_puts_the_latest_first():
    rows = [
        Entry("c", name, "experiment", "m", True, 1, date=day) for name, day in zip("abc", "132", strict=True)
    ]
    assert [entry.name for entry in sort_entries(rows, "date")] == ["b", "c", "a"]


def test_rows_are_filtered_by_competition_kind_and_pattern():
    assert {entry.name for entry in entries_of(ROWS, "ants")} == {"x", "y"}
    assert entries_of(ROWS, None) == ROWS
    assert [entry.name for entry in filter_entries(ROWS, kind="experiment", pattern="[by]")] == ["b", "y"]
    assert filter_entries(ROWS, pattern="B*") == []
    assert filter_entries(ROWS) == ROWS


@pytest.mark.parametrize(
    ("call", "where", "hint"),
    [
        (lambda: sort_entries(ROWS, "pubic"), "--sort", "public"),
        (lambda: filter_entries(ROWS, kind="blends"), "--kind", "blend"),
        (lambda: entries_of(ROWS, "bird"), "--competition", "birds"),
    ],
)
def test_an_unknown_name_suggests_the_nearest_one(call, where, hint):
    with pytest.raises(KitError) as raised:
        call()
    assert raised.value.where == where
    assert hint in raised.value.next
