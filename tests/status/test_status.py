"""Stale, exchanged, edited and damaged artifacts are recognized and never used silently."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from kit import pipeline
from kit.errors import KitError
from kit.predictions import load_oof, load_test
from kit.storage.workspace import RunFolder, Workspace
from tests.conftest import COLORS, draw, raises_kit_error, run_kit, run_kit_json, write_config


@pytest.fixture(scope="module")
def finished(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the experiments a and b, and their submitted blend; tests copy it."""
    root = tmp_path_factory.mktemp("status") / "w"
    shutil.copytree(trained.root, root)
    workspace = Workspace.open(root)
    pipeline.blend(["tiny/a", "tiny/b"], name="both", workspace=workspace)
    pipeline.submit("tiny/both", workspace=workspace)
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(finished.root, tmp_path / "w")
    return Workspace.open(tmp_path / "w")


def states(workspace: Workspace, run: str) -> dict[str, str]:
    """Return artifact -> state of a run."""
    (found,) = pipeline.status(run, workspace=workspace)
    return {link.artifact: link.state for link in found.links}


def exchange(a: Path, b: Path) -> None:
    a.rename(a.with_name("x"))
    b.rename(a)
    a.with_name("x").rename(b)


def edit_column(path: Path, change: Callable[[pa.Table], pa.Array]) -> None:
    """Replace the first probabilities of a predictions file and keep its metadata."""
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, table.column_names[1], change(table)), path)


def paint(path: Path) -> None:
    Image.new("RGB", (32, 32), (9, 9, 9)).save(path)


def first_training_image(workspace: Workspace) -> Path:
    return min((workspace.root / "data/tiny/train").glob("*/*.png"))


# --- what each change makes of the chain


def test_a_finished_chain_is_up_to_date(workspace):
    for run in ("a", "b", "both"):
        assert set(states(workspace, run).values()) == {"up to date"}


def test_an_experiment_without_submission_and_models_is_usable(workspace):
    shutil.rmtree(workspace.run("tiny", "a").fold(0).path)
    workspace.submission("tiny", "a").path.unlink()
    found = states(workspace, "a")
    assert found["fold 0"] == found["a.csv"] == "missing"
    assert {found[f"{side} predictions"] for side in ("oof", "test")} == {"up to date"}
    assert pipeline.submit("tiny/a", workspace=workspace).written


def test_a_changed_test_image_makes_test_predictions_and_submission_stale_and_nothing_else(workspace):
    paint(workspace.root / "data/tiny/test/0.png")
    found = states(workspace, "a")
    assert {name for name, state in found.items() if state == "stale"} == {"test predictions", "a.csv"}
    for verb in (pipeline.submit, lambda run, **more: pipeline.blend([run, "tiny/b"], name="x", **more)):
        with raises_kit_error("artifact_stale") as caught:
            verb("tiny/a", workspace=workspace)
        assert "test/0.png" in caught.value.problem
        assert "kit predict tiny/a" in caught.value.next
    assert pipeline.evaluate("tiny/a", workspace=workspace).rows == 30


def test_run_renews_stale_predictions_and_says_why(workspace):
    paint(workspace.root / "data/tiny/test/0.png")
    output = run_kit("run", workspace.config("a"), "--workspace", workspace.root).output
    assert "predicting again: the images of the test predictions have changed" in output
    assert set(states(workspace, "a").values()) == {"up to date"}


@pytest.mark.parametrize("run", ["tiny/a", "tiny/both"])
def test_a_changed_training_image_makes_scores_stale_and_stops_every_verb(workspace, run):
    paint(first_training_image(workspace))
    assert states(workspace, run)["scores"] == "stale"
    for verb in (pipeline.evaluate, pipeline.submit):
        with raises_kit_error("artifact_stale"):
            verb(run, workspace=workspace)


def test_changed_labels_stop_every_verb(workspace):
    path = first_training_image(workspace)
    other = next(each for each in sorted(path.parents[1].iterdir()) if each != path.parent)
    path.rename(other / "moved.png")
    for verb in (pipeline.evaluate, pipeline.submit, pipeline.predict):
        with raises_kit_error("ids_missing"):
            verb("tiny/a", workspace=workspace)
    assert states(workspace, "a")["training data"] == "stale"
    assert all(row.stale for row in pipeline.leaderboard(workspace=workspace).entries)


def test_a_changed_config_of_a_run_makes_its_models_stale(workspace):
    run = workspace.run("tiny", "a")
    values = yaml.safe_load(run.config.read_text())
    values["train"]["epochs"] += 1
    run.config.write_text(yaml.safe_dump(values))
    assert states(workspace, "a")["fold 0"] == "stale"
    with raises_kit_error("fold_of_other_training"):
        pipeline.predict("tiny/a", workspace=workspace)


def test_a_missing_competition_folder_is_told_and_predictions_are_still_checked(workspace):
    shutil.rmtree(workspace.root / "data")
    output = run_kit("status", "a", "--workspace", workspace.root).output
    assert "images and labels are not compared" in output
    edit_column(workspace.run("tiny", "a").oof, lambda table: table[2])
    with raises_kit_error("artifact_changed"):
        pipeline.evaluate("tiny/a", workspace=workspace)


# --- exchanged, copied and renamed


def test_exchanged_folds_are_refused(workspace):
    run = workspace.run("tiny", "a")
    exchange(run.fold(0).path, run.fold(1).path)
    for verb in (pipeline.predict, pipeline.submit, pipeline.evaluate):
        with raises_kit_error("artifact_misplaced"):
            verb("tiny/a", workspace=workspace)
    with raises_kit_error("artifact_misplaced"):
        pipeline.run(workspace.config("a"), workspace=workspace)


def test_the_state_of_exchanged_folds_is_printed_and_given_as_json(workspace):
    run = workspace.run("tiny", "a")
    exchange(run.fold(0).path, run.fold(1).path)
    (found,) = run_kit_json("status", "a", "--workspace", workspace.root)["runs"]
    assert found["state"] == "damaged"
    output = run_kit("status", "a", "--workspace", workspace.root).output
    assert "move or restore fold 0" in output
    assert "kit predict" not in output.partition("To renew")[2].partition("move or restore")[0]


def test_exchanged_weights_alone_are_damage_and_are_trained_again(workspace):
    run = workspace.run("tiny", "a")
    exchange(run.fold(0).model, run.fold(1).model)
    with raises_kit_error("model_damaged"):
        pipeline.predict("tiny/a", workspace=workspace)
    output = run_kit("train", workspace.config("a"), "--workspace", workspace.root).output
    assert "fold 0 is trained again" in output
    assert "fold 1 is trained again" in output
    assert pipeline.predict("tiny/a", workspace=workspace).evaluation.rows == 30


def test_weights_whose_digest_was_adjusted_are_recognized_by_their_own_metadata(workspace):
    from kit.training.trained_folds import record_fold, trained_fold

    run = workspace.run("tiny", "a")
    exchange(run.fold(0).model, run.fold(1).model)
    for k in (0, 1):
        values = {"score": 1.0}
        record_fold(run, k, values, trained_fold(run, k, verify=False).inputs)
    paint(workspace.root / "data/tiny/test/0.png")
    with raises_kit_error("artifact_misplaced"):
        pipeline.predict("tiny/a", workspace=workspace)


def test_exchanged_runs_are_refused(workspace):
    a, b = workspace.run("tiny", "a"), workspace.run("tiny", "b")
    exchange(a.path, b.path)
    for verb in (pipeline.submit, pipeline.evaluate, pipeline.predict):
        with raises_kit_error("artifact_misplaced"):
            verb("tiny/a", workspace=workspace)
    found = pipeline.leaderboard(workspace=workspace)
    assert {problem.code for problem in found.problems} == {"artifact_misplaced"}
    assert {entry.name for entry in found.entries if entry.kind == "experiment"} == set()


def test_a_copied_run_is_recognized_and_not_selected(workspace):
    shutil.copytree(workspace.run("tiny", "a").path, workspace.run("tiny", "c").path)
    found = pipeline.leaderboard(workspace=workspace)
    assert "c" not in {entry.name for entry in found.entries}
    assert [problem.code for problem in found.problems] == ["artifact_misplaced"]
    assert states(workspace, "tiny/c")["training data"] == "damaged"
    with raises_kit_error("artifact_misplaced"):
        pipeline.blend(["tiny/a", "tiny/c"], workspace=workspace)


def test_a_copied_blend_is_refused(workspace):
    shutil.copytree(workspace.run("tiny", "both").path, workspace.run("tiny", "c").path)
    with raises_kit_error("artifact_misplaced"):
        pipeline.submit("tiny/c", workspace=workspace)


def test_a_workspace_copied_elsewhere_stays_valid(workspace, tmp_path):
    shutil.copytree(workspace.root, tmp_path / "elsewhere")
    assert set(states(Workspace.open(tmp_path / "elsewhere"), "both").values()) == {"up to date"}


# --- edited predictions


def reverse(table: pa.Table) -> pa.Array:
    return table[1].take(list(range(table.num_rows))[::-1])


def with_nan(table: pa.Table) -> pa.Array:
    values = table[1].to_numpy().copy()
    values[0] = np.nan
    return pa.array(values, pa.float32())


@pytest.mark.parametrize("change", [reverse, with_nan, lambda table: table[2]])
@pytest.mark.parametrize("side", ["oof", "test"])
def test_edited_predictions_are_refused_by_every_reader(workspace, side, change):
    edit_column(getattr(workspace.run("tiny", "a"), side), change)
    for read in (
        lambda: (load_oof if side == "oof" else load_test)(workspace.run("tiny", "a")),
        lambda: pipeline.submit("tiny/a", workspace=workspace),
        lambda: pipeline.evaluate("tiny/a", workspace=workspace),
        lambda: pipeline.blend(["tiny/a", "tiny/b"], name="x", workspace=workspace),
    ):
        with raises_kit_error("artifact_changed"):
            read()
    assert states(workspace, "a")[f"{side} predictions"] == "damaged"


def test_a_repeated_row_is_refused(workspace):
    path = workspace.run("tiny", "a").test
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with raises_kit_error("artifact_changed"):
        pipeline.submit("tiny/a", workspace=workspace)


def test_predictions_saved_by_pandas_are_refused_with_the_way_to_use_them(workspace):
    path = workspace.run("tiny", "a").test
    pd.read_parquet(path).to_parquet(path)
    with raises_kit_error("provenance_missing") as caught:
        pipeline.submit("tiny/a", workspace=workspace)
    assert "--oof" in caught.value.next


def test_edited_predictions_are_predicted_again_by_run(workspace):
    path = workspace.run("tiny", "a").test
    before = load_test(workspace.run("tiny", "a")).digest()
    edit_column(path, reverse)
    output = run_kit("run", workspace.config("a"), "--workspace", workspace.root).output
    assert "predicting again" in output
    assert load_test(workspace.run("tiny", "a")).digest() == before


@pytest.mark.parametrize("name", ["metrics", "decision"])
def test_edited_scores_are_reported_and_their_row_is_left_out(workspace, name):
    path = getattr(workspace.run("tiny", "a"), name)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cv": 0.99}))
    found = pipeline.leaderboard(workspace=workspace)
    assert states(workspace, "a")["scores" if name == "metrics" else "postprocessing"] == "damaged"
    assert "artifact_changed" in {problem.code for problem in found.problems}


# --- blends


def retrain(workspace: Workspace) -> None:
    values = yaml.safe_load(workspace.config("b").read_text()) | {"seed": 5}
    workspace.config("b").write_text(yaml.safe_dump(values))
    pipeline.run(workspace.config("b"), fresh=True, workspace=workspace)


def remove(workspace: Workspace) -> None:
    shutil.rmtree(workspace.run("tiny", "b").path)


@pytest.mark.parametrize(("change", "word"), [(retrain, "changed"), (remove, "gone")])
def test_a_blend_with_a_changed_member_is_refused_and_names_it(workspace, change, word):
    change(workspace)
    for verb in (pipeline.submit, pipeline.evaluate):
        with raises_kit_error("artifact_stale") as caught:
            verb("tiny/both", workspace=workspace)
        assert word in caught.value.problem
        assert "tiny/b oof" in caught.value.problem
        assert "kit blend tiny/a tiny/b --method mean --name both" in caught.value.next
    rows = {entry.name: entry for entry in pipeline.leaderboard(workspace=workspace).entries}
    assert "tiny/b" in rows["both"].stale
    assert not rows["a"].stale
    selected = pipeline.leaderboard(workspace=workspace).selections
    assert all("both" not in pick.experiment for each in selected for pick in (each.first, each.second))


def test_the_renewed_blend_is_up_to_date(workspace):
    retrain(workspace)
    pipeline.blend(["tiny/a", "tiny/b"], name="both", workspace=workspace)
    pipeline.submit("tiny/both", workspace=workspace)
    assert set(states(workspace, "both").values()) == {"up to date"}


def test_a_changed_file_of_another_tool_makes_a_blend_stale_also_seen_from_another_folder(
    workspace, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = []
    for side, load in (("oof", load_oof), ("test", load_test)):
        found = load(workspace.run("tiny", "b"))
        table = pd.DataFrame(found.probs.astype(str), columns=list(found.classes))
        table.insert(0, "id", list(found.ids))
        files.append(Path(f"{side}.csv"))
        table.to_csv(files[-1], index=False)
    pipeline.blend(["tiny/a"], name="mixed", foreign=[tuple(files)], workspace=workspace)
    monkeypatch.chdir(workspace.root)
    assert states(workspace, "mixed")["members"] == "up to date"
    path = tmp_path / files[1]
    path.write_text(path.read_text() + "\n")
    assert states(workspace, "mixed")["members"] == "stale"


# --- the command


def test_status_lists_all_runs_with_their_first_problem(workspace):
    paint(workspace.root / "data/tiny/test/0.png")
    found = run_kit_json("status", "--workspace", workspace.root)["runs"]
    assert {run["experiment"]: run["state"] for run in found} == dict.fromkeys(
        ("tiny/a", "tiny/b", "tiny/both"), "stale"
    )
    (stale,) = (each for each in found[0]["artifacts"] if each["artifact"] == "test predictions")
    assert "test/0.png" in stale["why"]
    assert stale["since"].startswith("20")
    assert stale["command"] == "kit predict tiny/a"


def test_an_edited_submission_is_stale(workspace):
    file = workspace.submission("tiny", "a")
    file.path.write_text(file.path.read_text() + "\n")
    assert states(workspace, "a")["a.csv"] == "stale"


def test_runs_are_read_once_per_competition(workspace, monkeypatch):
    from kit.status import current

    opened: list[object] = []
    original = current.open_competition
    monkeypatch.setattr(
        current, "open_competition", lambda *arguments: opened.append(1) or original(*arguments)
    )
    pipeline.status(workspace=workspace)
    assert len(opened) == 1


def test_a_damaged_training_record_is_one_message(workspace):
    path = RunFolder(workspace.run("tiny", "a").path).training_data
    path.write_text("{")
    with raises_kit_error("file_damaged"):
        pipeline.predict("tiny/a", workspace=workspace)
    with pytest.raises(KitError):
        pipeline.run(workspace.config("a"), workspace=workspace)


# --- held-out labels


@pytest.fixture
def held_out(tiny: Workspace) -> Workspace:
    """A workspace with a trained experiment and a held-out set ``late`` of two images."""
    root = tiny.root / "data/tiny"
    for name, color in (("x.png", "red"), ("y.png", "green")):
        draw(root / "late" / name, COLORS[color], seed=7)
    classes = sorted(path.name for path in (root / "train").iterdir())
    (root / "late.csv").write_text(f"id,label\nx.png,{classes[0]}\ny.png,{classes[1]}\n")
    late = {"layout": "csv", "file": "late.csv", "id": "id", "label": "label", "folder": "late"}
    pipeline.run(write_config(tiny, competition__held_out={"late": late}), workspace=tiny)
    return tiny


def test_a_changed_held_out_label_makes_its_predictions_stale_and_run_scores_it_again(held_out):
    path = held_out.root / "data/tiny/late.csv"
    path.write_text(
        path.read_text().replace("x.png", "z.png").replace("y.png", "x.png").replace("z.png", "y.png")
    )
    before = pipeline.status("tiny-cnn", workspace=held_out)[0]
    assert {link.artifact: link.state for link in before.links}["held out late predictions"] == "stale"
    with raises_kit_error("artifact_stale"):
        pipeline.evaluate("tiny-cnn", workspace=held_out)
    pipeline.run(held_out.config("tiny-cnn"), workspace=held_out)
    assert set(states(held_out, "tiny-cnn").values()) == {"up to date"}


def test_edited_labels_of_a_held_out_set_are_not_scored(held_out):
    path = held_out.truth("tiny", "late")
    path.write_text(path.read_text() + "\n")
    found = pipeline.evaluate("tiny-cnn", workspace=held_out)
    assert found.held_out == {"late": None}
    assert "has changed" in found.not_computed["late"]
