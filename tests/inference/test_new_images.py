"""New images are predicted from run folders alone, exactly as ``kit predict`` predicts test images."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit import pipeline
from kit.config.load import load_config
from kit.errors import Interrupted
from kit.inference.new_images import images_in
from kit.predictions import load_test
from kit.runtime.deadline import Deadline
from kit.storage.files import read_json, write_json
from kit.storage.run_artifacts import read_blend, write_blend
from tests.conftest import TINY, draw, raises_kit_error, run_kit, run_kit_json, write_config
from tests.test_regression import AGES, draw_ages


def without_data(workspace):
    """Move the test images elsewhere and remove the competition's folder; return the images' folder."""
    (name,) = (workspace.root / "data").iterdir()
    folder = workspace.root / "elsewhere"
    shutil.copytree(name / "test", folder)
    shutil.rmtree(workspace.root / "data")
    return folder


def predicted(workspace, run, folder, **options) -> pd.DataFrame:
    done = pipeline.predict_images(
        run, images=folder, out=workspace.root / "new.csv", workspace=workspace, **options
    )
    assert done.num_images > 0
    assert not list(workspace.root.glob(".new.csv*"))
    return pd.read_csv(workspace.root / "new.csv", dtype={"id": str, "label": str, "labels": str})


def assert_same(table: pd.DataFrame, run) -> None:
    """Check that a CSV holds a run's test predictions."""
    test = load_test(run)
    assert set(table["id"]) == set(test.ids)
    found = table.set_index("id").loc[list(test.ids), list(test.classes)].to_numpy(np.float32)
    np.testing.assert_allclose(found, test.probs, rtol=0, atol=1e-6)
    assert found.std() > 0.001


def test_an_experiment_predicts_like_kit_predict_without_the_data(trained_copy):
    folder = without_data(trained_copy)
    shutil.rmtree(trained_copy.root / "folds")
    table = predicted(trained_copy, "tiny/a", folder)
    run = trained_copy.run("tiny", "a")
    assert_same(table, run)
    classes = load_test(run).classes
    assert list(table.columns) == ["id", *classes, "label"]
    assert list(table["label"]) == [classes[i] for i in table[list(classes)].to_numpy().argmax(axis=1)]


def test_an_id_is_the_path_below_the_folder(trained_copy):
    folder = without_data(trained_copy)
    plain = predicted(trained_copy, "tiny/a", folder).set_index("id")
    (folder / "more").mkdir()
    (folder / "0.png").rename(folder / "more" / "0.png")
    table = predicted(trained_copy, "tiny/a", folder).set_index("id")
    assert set(table.index) == {"more/0.png", *(f"{i}.png" for i in range(1, 8))}
    np.testing.assert_allclose(table.loc["more/0.png", "red"], plain.loc["0.png", "red"], atol=1e-6)


@pytest.mark.parametrize("method", ["mean", "gmean", "rank", "weights", "hill_climb", "stack", "soup"])
def test_a_blend_predicts_like_its_test_predictions_without_the_data(trained_copy, method):
    if method == "soup":  # one architecture
        config = load_config(write_config(trained_copy, name="b", train__lr=0.02))
        shutil.rmtree(trained_copy.run("tiny", "b").path)
        pipeline.run(config, workspace=trained_copy)
    pipeline.blend(["a", "b"], method=method, name="both", workspace=trained_copy)
    folder = without_data(trained_copy)
    assert_same(predicted(trained_copy, "tiny/both", folder), trained_copy.run("tiny", "both"))


def test_a_blend_of_a_blend_predicts_with_all_experiments(trained_copy):
    pipeline.blend(["a", "b"], name="both", workspace=trained_copy)
    pipeline.blend(["a", "both"], name="more", workspace=trained_copy)
    folder = without_data(trained_copy)
    assert_same(predicted(trained_copy, "tiny/more", folder), trained_copy.run("tiny", "more"))


def test_other_views_are_predicted_if_given(trained_copy):
    pipeline.predict("a", tta=load_config(trained_copy.config("a")).predict.tta, workspace=trained_copy)
    run_kit("predict", "a", "--tta", "identity", "--tta", "hflip", "--workspace", trained_copy.root)
    folder = without_data(trained_copy)
    with raises_kit_error("views_differ"):
        predicted(trained_copy, "tiny/a", folder)
    out = trained_copy.root / "new.csv"
    options = ["--tta", "identity", "--tta", "hflip", "--workspace", trained_copy.root]
    found = run_kit_json("predict", "tiny/a", "--images", folder, "--out", out, *options)
    assert found["images"] == 8
    assert_same(pd.read_csv(out, dtype={"id": str}), trained_copy.run("tiny", "a"))


def test_unreadable_images_are_listed_and_nothing_is_written(trained_copy):
    folder = without_data(trained_copy)
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "empty.jpg").write_bytes(b"")
    with raises_kit_error("images_unreadable") as caught:
        predicted(trained_copy, "tiny/a", folder)
    assert "broken.png" in caught.value.problem
    assert "empty.jpg" in caught.value.problem
    assert not list(trained_copy.root.glob("*new.csv*"))


def test_a_time_limit_keeps_what_is_predicted(trained_copy):
    folder = without_data(trained_copy)
    out = trained_copy.root / "new.csv"

    class AfterOneFold(Deadline):
        begun = 0

        def begin(self, what, needed):
            self.begun += "fold 1" in what
            if self.begun:
                raise Interrupted(what)

    with pytest.raises(Interrupted):
        predicted(trained_copy, "tiny/a", folder, time_limit=AfterOneFold())
    assert not out.exists()
    assert len(list((trained_copy.root / ".new.csv.partial").glob("fold-*"))) == 1
    assert_same(predicted(trained_copy, "tiny/a", folder), trained_copy.run("tiny", "a"))


def test_stale_or_damaged_runs_are_refused(trained_copy):
    pipeline.blend(["a", "b"], name="both", workspace=trained_copy)
    run_kit("predict", "a", "--tta", "hflip", "--workspace", trained_copy.root)
    with raises_kit_error("artifact_stale"):
        predicted(trained_copy, "tiny/both", trained_copy.root / "data" / "tiny" / "test")
    run_kit("predict", "a", "--workspace", trained_copy.root)
    folder = without_data(trained_copy)
    model = trained_copy.run("tiny", "a").fold(0).model
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    for run in ("tiny/a", "tiny/both"):
        with raises_kit_error("model_damaged"):
            predicted(trained_copy, run, folder)


def test_a_blend_with_files_of_other_tools_is_refused(trained_copy):
    run = trained_copy.run("tiny", "both")
    pipeline.blend(["a", "b"], name="both", workspace=trained_copy)
    values, provenance = read_blend(run)
    values["members"] = ["theirs", *values["members"]]
    write_blend(run, values, provenance.inputs)
    with raises_kit_error("member_without_models"):
        predicted(trained_copy, "tiny/both", without_data(trained_copy))


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_folder_without_images_is_refused(tmp_path, what):
    folder = tmp_path / "images"
    if what == "empty":
        folder.mkdir()
    with raises_kit_error("folder_missing" if what == "missing" else "no_images"):
        images_in(folder)


def test_images_and_out_go_together(trained):
    for option, value in (("--images", "x"), ("--out", "x.csv")):
        error = run_kit_json("predict", "a", option, value, "--workspace", trained.root, code=1)["error"]
        assert error["code"] == "images_and_out_go_together"
    with raises_kit_error("is_folder"):
        pipeline.predict_images("a", images=trained.root, out=trained.root, workspace=trained)


def test_numbers_are_written_as_value_and_after_postprocessing(workspace):
    draw_ages(workspace.root / "data" / "ages")
    config = write_config(workspace, AGES, decide=[{"name": "clip"}], train__epochs=2)
    pipeline.run(config, workspace=workspace)
    table = predicted(workspace, "ages", without_data(workspace))
    run = workspace.run("ages", "ages")
    assert_same(table, run)
    assert list(table.columns) == ["id", "value", "label"]
    submitted = pd.read_csv(workspace.root / "submissions/ages/ages.csv").set_index("id").iloc[:, 0]
    np.testing.assert_allclose(
        table.set_index("id")["label"].astype(float), submitted[table["id"]], rtol=1e-5
    )


def weather_config(workspace):
    """Draw a competition of two labels that an image can have both, and return the path of its config."""
    data, rows = workspace.root / "data" / "weather", []
    for i in range(30):
        draw(data / ("train" if i < 24 else "test") / f"{i}.png", (200 * (i % 2), 90, 200 * (i // 2 % 2)), i)
        rows.append((f"{i}.png", i % 2, i // 2 % 2))
    table = pd.DataFrame(rows, columns=["id", "rain", "late sun"])
    table[:24].to_csv(data / "train.csv", index=False)
    table[24:].to_csv(data / "sample_submission.csv", index=False)
    source = {
        "layout": "csv",
        "folder": "train",
        "file": "train.csv",
        "id": "id",
        "label": ["rain", "late sun"],
    }
    competition = TINY["competition"] | {"name": "weather", "data": "weather", "task": "multilabel"}
    competition |= {"metric": "f1_macro", "train": source}
    competition["test"] = {"folder": "test", "file": "sample_submission.csv", "id": "id"}
    values = TINY | {"name": "weather", "competition": competition, "decide": [{"name": "thresholds"}]}
    values |= {"submission": {"sample": "sample_submission.csv", "kind": "flags"}}
    return write_config(workspace, values)


def test_several_labels_are_decided_by_the_fitted_thresholds(workspace):
    pipeline.run(weather_config(workspace), workspace=workspace)
    found = predicted(workspace, "weather", without_data(workspace)).set_index("id").fillna("")
    assert_same(found.reset_index(), workspace.run("weather", "weather"))
    written = pd.read_csv(workspace.root / "submissions/weather/weather.csv").set_index("id")
    expected = written.apply(lambda row: {*row.index[row == 1]}, axis=1)
    assert [{*filter(None, cell.split("|"))} for cell in found["labels"]] == list(expected[found.index])
    assert found["labels"].nunique() > 1


def test_images_of_other_channels_are_refused_in_one_message(trained_copy, tmp_path):
    from tests.competition.images.tiff import write_tiff

    folder = without_data(trained_copy)
    values = np.random.default_rng(0).integers(0, 255, (20, 24, 5)).astype(np.uint8)
    write_tiff(folder / "five.tif", values)
    with raises_kit_error("images_unreadable") as caught:
        predicted(trained_copy, "tiny/a", folder)
    assert "five.tif" in caught.value.problem
    (folder / "five.tif").unlink()
    Image.open(folder / "0.png").convert("L").save(folder / "grey.png")
    assert "grey.png" in set(predicted(trained_copy, "tiny/a", folder)["id"])


def test_the_labels_follow_the_stored_steps(trained_copy):
    run = trained_copy.run("tiny", "a")
    values = read_json(run.decision)
    write_json(run.decision, values | {"steps": [{"name": "temperature", "temperature": 2.0}]})
    with raises_kit_error("artifact_changed"):
        predicted(trained_copy, "tiny/a", without_data(trained_copy))
