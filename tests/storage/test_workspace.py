import pytest

from kit.errors import KitError
from kit.storage.files import read_json, write_json, atomic_write
from kit.storage.workspace import Workspace


def test_data_is_looked_up_in_every_root_in_order(tmp_path, monkeypatch):
    for name in ("option/x", "variable/x", "variable/y", "data/z"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("KIT_DATA", str(tmp_path / "variable"))
    workspace = Workspace.open(tmp_path, tmp_path / "option")
    assert [workspace.data(n).parent.name for n in "xyz"] == ["option", "variable", "data"]
    with pytest.raises(KitError, match="there is no .*option/w or .*variable/w or .*data/w"):
        workspace.data("w")


def test_weights_are_looked_up_likewise(tmp_path, monkeypatch):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "m.safetensors").touch()
    monkeypatch.setenv("KIT_WEIGHTS", str(tmp_path / "w"))
    assert Workspace.open(tmp_path).weights("m.safetensors").parent.name == "w"
    with pytest.raises(KitError, match="model.weights n.safetensors: there is no .* Set KIT_WEIGHTS"):
        Workspace.open(tmp_path).weights("n.safetensors")


def test_roots_that_are_no_folders_are_refused(tmp_path, monkeypatch):
    with pytest.raises(KitError, match="--workspace .*nowhere: there is no such folder"):
        Workspace.open(tmp_path / "nowhere")
    with pytest.raises(KitError, match="--data-root"):
        Workspace.open(tmp_path, tmp_path / "nowhere")
    monkeypatch.setenv("KIT_DATA", "nowhere")
    with pytest.raises(KitError, match=r"\$KIT_DATA: 'nowhere' is no folder"):
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
    with pytest.raises(KitError, match="no such experiment.*Train one: `kit train CONFIG`"):
        workspace.find_run("first")
    make_run(workspace, "leaves", "first")
    with pytest.raises(KitError, match=r"Did you mean first\?"):
        workspace.find_run("frist")
    make_run(workspace, "birds", "first")
    with pytest.raises(KitError, match="2 competitions have it. Say which: birds/first, leaves/first"):
        workspace.find_run("first")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
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
    with pytest.raises(KitError, match="cannot be read"):
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
