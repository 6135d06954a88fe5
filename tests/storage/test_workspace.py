import pytest

from kit.storage.files import atomic_write, read_json, write_json
from kit.storage.workspace import Workspace
from tests.conftest import raises_kit_error


def test_data_is_looked_up_in_every_root_in_order(tmp_path, monkeypatch):
    for name in ("option/x", "variable/x", "variable/y", "data/z"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("KIT_DATA", str(tmp_path / "variable"))
    workspace = Workspace.open(tmp_path, tmp_path / "option")
    assert [workspace.data(n).parent.name for n in "xyz"] == ["option", "variable", "data"]
    with raises_kit_error("data_not_found", where="competition.data w") as caught:
        workspace.data("w")
    roots = ("option", "variable", "data")
    assert [f"{tmp_path / root / 'w'}" in caught.value.problem for root in roots] == [True] * 3


def test_weights_are_looked_up_likewise(tmp_path, monkeypatch):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "m.safetensors").touch()
    monkeypatch.setenv("KIT_WEIGHTS", str(tmp_path / "w"))
    assert Workspace.open(tmp_path).weights("m.safetensors").parent.name == "w"
    with raises_kit_error("weights_not_found", where="model.weights n.safetensors"):
        Workspace.open(tmp_path).weights("n.safetensors")


def test_roots_that_are_no_folders_are_refused(tmp_path, monkeypatch):
    with raises_kit_error("folder_missing", where=f"--workspace {tmp_path / 'nowhere'}"):
        Workspace.open(tmp_path / "nowhere")
    with raises_kit_error("folder_missing", where=f"--data-root {tmp_path / 'nowhere'}"):
        Workspace.open(tmp_path, tmp_path / "nowhere")
    monkeypatch.setenv("KIT_DATA", "nowhere")
    with raises_kit_error("folder_missing", where="$KIT_DATA"):
        Workspace.open(tmp_path)


def make_run(workspace, competition, name):
    run = workspace.run(competition, name)
    run.path.mkdir(parents=True)
    run.config.touch()
    return run


def test_a_run_is_found_by_label_name_and_path(tmp_path):
    workspace = Workspace.open(tmp_path)
    run = make_run(workspace, "leaves", "first")
    make_run(workspace, "birds", "second")
    assert (
        workspace.find_run("leaves/first")
        == workspace.find_run("first")
        == workspace.find_run(str(run.path))
        == run
    )


def test_a_run_that_is_not_there_names_the_nearest(tmp_path):
    workspace = Workspace.open(tmp_path)
    with raises_kit_error("run_not_found") as caught:
        workspace.find_run("first")
    assert "kit train CONFIG" in caught.value.next
    make_run(workspace, "leaves", "first")
    with raises_kit_error("run_not_found") as caught:
        workspace.find_run("frist")
    assert "first?" in caught.value.next
    make_run(workspace, "birds", "first")
    with raises_kit_error("run_ambiguous") as caught:
        workspace.find_run("first")
    assert "birds/first, leaves/first" in caught.value.next


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with atomic_write(path) as draft:
        draft.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as draft:
        draft.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_json_round_trip_and_damage(tmp_path):
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}
    (tmp_path / "a.json").write_text("{")
    with raises_kit_error("file_damaged"):
        read_json(tmp_path / "a.json")


def test_paths_are_shown_as_the_user_would_type_them(tmp_path):
    workspace = Workspace.open(tmp_path)
    assert workspace.shown(workspace.folds("x")) == "folds/x.csv"
    assert workspace.shown(tmp_path.parent) == str(tmp_path.parent)


def test_json_holds_null_where_there_is_no_number(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (2, "é")}})
    assert read_json(path) == {"a": None, "b": [1.5, None], "c": {"d": [2, "é"]}}
    assert "NaN" not in path.read_text()
