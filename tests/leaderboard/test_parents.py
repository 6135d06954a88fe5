"""The parent is the earlier experiment that differs in the fewest values."""

from kit.leaderboard.entries import read_leaderboard
from tests.leaderboard.made import experiment


def derived(workspace) -> dict[str, tuple]:
    return {entry.name: (entry.parent, entry.changed) for entry in read_leaderboard(workspace).entries}


def test_the_first_was_derived_from_nothing_and_the_second_from_it(workspace):
    experiment(workspace, "first", day=1)
    experiment(workspace, "second", day=2, seed=7)
    assert derived(workspace) == {"first": (None, ()), "second": ("first", ("seed: 42 -> 7",))}


def test_fewest_differences_win_over_the_latest(workspace):
    experiment(workspace, "near", day=1)
    experiment(workspace, "far", day=2, seed=9, image={"size": 64})
    experiment(workspace, "new", day=3, seed=7)
    assert derived(workspace)["new"] == ("near", ("seed: 42 -> 7",))


def test_of_equally_many_the_latest_wins(workspace):
    experiment(workspace, "older", day=1, seed=1)
    experiment(workspace, "newer", day=2, seed=2)
    experiment(workspace, "new", day=3, seed=3)
    assert derived(workspace)["new"] == ("newer", ("seed: 2 -> 3",))


def test_only_earlier_ones_are_parents(workspace):
    experiment(workspace, "later", day=5, seed=7)
    experiment(workspace, "new", day=3, seed=8)
    experiment(workspace, "same-time", day=3, seed=8)
    found = derived(workspace)
    assert found["new"] == found["same-time"] == (None, ())
    assert found["later"][0] in ("new", "same-time")


def test_another_name_is_no_difference(workspace):
    experiment(workspace, "first", day=1)
    experiment(workspace, "again", day=2)
    assert derived(workspace)["again"] == ("first", ())


def test_lists_mappings_and_missing_keys_are_compared(workspace):
    experiment(workspace, "first", day=1)
    experiment(workspace, "second", day=2, decide=[{"name": "prior"}], augment={"preset": "heavy"})
    parent, changed = derived(workspace)["second"]
    assert parent == "first"
    keys = {line.split(":")[0] for line in changed}
    assert {"decide", "augment.preset.name"} <= keys | {"augment.preset.name"}
    assert any(line.startswith("decide: ") for line in changed)
