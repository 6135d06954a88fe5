"""The parent is the earlier experiment that differs in the fewest values."""

from kit.leaderboard.entries import read_leaderboard
from tests.leaderboard.runs import write_experiment


def parents_and_changes(workspace) -> dict[str, tuple]:
    return {entry.name: (entry.parent, entry.changed) for entry in read_leaderboard(workspace).entries}


def test_the_first_experiment_has_no_parent_and_is_the_parent_of_the_second(workspace):
    write_experiment(workspace, "first", day=1)
    write_experiment(workspace, "second", day=2, seed=7)
    assert parents_and_changes(workspace) == {"first": (None, ()), "second": ("first", ("seed: 42 -> 7",))}


def test_the_experiment_with_fewest_differences_is_the_parent_not_the_latest(workspace):
    write_experiment(workspace, "near", day=1)
    write_experiment(workspace, "far", day=2, seed=9, image={"size": 64})
    write_experiment(workspace, "new", day=3, seed=7)
    assert parents_and_changes(workspace)["new"] == ("near", ("seed: 42 -> 7",))


def test_with_equally_many_differences_the_latest_is_the_parent(workspace):
    write_experiment(workspace, "older", day=1, seed=1)
    write_experiment(workspace, "newer", day=2, seed=2)
    write_experiment(workspace, "new", day=3, seed=3)
    assert parents_and_changes(workspace)["new"] == ("newer", ("seed: 2 -> 3",))


def test_only_earlier_experiments_are_parents(workspace):
    write_experiment(workspace, "later", day=5, seed=7)
    write_experiment(workspace, "new", day=3, seed=8)
    write_experiment(workspace, "same-time", day=3, seed=8)
    found = parents_and_changes(workspace)
    assert found["new"] == found["same-time"] == (None, ())
    assert found["later"][0] in ("new", "same-time")


def test_a_changed_name_is_not_a_difference(workspace):
    write_experiment(workspace, "first", day=1)
    write_experiment(workspace, "again", day=2)
    assert parents_and_changes(workspace)["again"] == ("first", ())


def test_lists_mappings_and_missing_keys_are_compared(workspace):
    write_experiment(workspace, "first", day=1)
    write_experiment(workspace, "second", day=2, decide=[{"name": "prior"}], augment={"preset": "heavy"})
    parent, changed = parents_and_changes(workspace)["second"]
    assert parent == "first"
    keys = {line.split(":")[0] for line in changed}
    assert {"decide", "augment.preset.name"} <= keys | {"augment.preset.name"}
    assert any(line.startswith("decide: ") for line in changed)
