"""A bundle predicts a hidden test folder from its own files alone, exactly as ``kit predict`` would."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config.load import config_yaml, load_config
from kit.errors import Interrupted
from kit.platforms.predict_bundle import predict_bundle
from kit.platforms.record import NAME
from kit.platforms.scripts import notebook, script
from kit.platforms.write_bundle import write_bundle
from kit.predictions import load_test
from kit.storage.workspace import Workspace
from tests.conftest import COLORS, RecordedProgress, draw, raises_kit_error, run_kit, run_kit_json

CLASSES = ["red", "2", "10"]  # the columns of the sample, in another order than the classes


@pytest.fixture
def competition(trained_copy) -> Workspace:
    """The trained workspace, with a submission of probabilities."""
    write_sample(trained_copy.root / "data" / "tiny", [f"{i}.png" for i in range(8)])
    for name in ("a", "b"):
        run = trained_copy.run("tiny", name)
        config = load_config(run.config)
        submission = config.submission.model_copy(update={"kind": "probabilities"})
        run.config.write_text(config_yaml(config.model_copy(update={"submission": submission})))
    return trained_copy


def write_sample(root, ids) -> None:
    sample = pd.DataFrame(1 / 3, index=pd.Index(ids, name="ID"), columns=CLASSES)
    sample.to_csv(root / "sample_submission.csv")


def draw_hidden(root, number: int, sample: bool = True):
    """Write a hidden test folder of new images, and return it."""
    ids = [f"hidden-{i}.png" for i in range(number)]
    for i, name in enumerate(ids):
        draw(root / "test" / name, COLORS[("red", "10", "2")[i % 3]], seed=50_000 + i)
    if sample:
        write_sample(root, ids[::-1])
    return root


def bundled(workspace, run="tiny/a", **options):
    """Write the bundle of a run outside the workspace, and return its folder."""
    folder = workspace.root.parent / "bundle"
    pipeline.bundle(run, out=folder, workspace=workspace, **options)
    return folder


def submitted(bundle, data, **options) -> pd.DataFrame:
    out = bundle.parent / "out" / "submission.csv"
    done = predict_bundle(bundle, data, out, **options)
    assert [path.name for path in out.parent.iterdir()] == ["submission.csv"]
    table = pd.read_csv(out, dtype={"ID": str}).set_index("ID")
    assert done.rows == len(table)
    return table


def predictions_of(workspace, run, data) -> pd.DataFrame:
    """Return what ``kit predict`` writes for the images of a hidden test folder."""
    out = workspace.root / "new.csv"
    pipeline.predict_images(run, images=data / "test", out=out, workspace=workspace)
    return pd.read_csv(out, dtype={"id": str}).set_index("id")


def assert_equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert set(found.index) == set(expected.index)
    expected = expected.loc[found.index, CLASSES]
    np.testing.assert_allclose(found[CLASSES], expected, rtol=0, atol=1e-6)
    assert expected.to_numpy().std() > 0.01


@pytest.mark.parametrize("number", [3, 20])  # the placeholder has 8 images
@pytest.mark.parametrize("method", [None, "mean", "stack"])
def test_a_bundle_predicts_any_test_folder_like_kit_predict(competition, tmp_path, method, number):
    run = "tiny/a"
    if method is not None:
        pipeline.blend(["a", "b"], method=method, name="both", workspace=competition)
        run = "tiny/both"
    data = draw_hidden(tmp_path / "hidden", number)
    expected = predictions_of(competition, run, data)
    bundle = bundled(competition, run)
    shutil.rmtree(competition.root)
    found = submitted(bundle, data)
    assert_equal(found, expected)
    assert list(found.index) == [f"hidden-{i}.png" for i in reversed(range(number))]  # as in the sample
    checked = pipeline.check(bundle.parent / "out" / "submission.csv", sample=data / "sample_submission.csv")
    assert [problem for problem in checked.problems if problem.severity == "error"] == []


def test_the_placeholder_gives_the_submission_that_kit_submit_writes(competition):
    written = pipeline.submit("a", workspace=competition).file.path.read_bytes()
    bundle = bundled(competition)
    submitted(bundle, competition.root / "data" / "tiny")
    assert (bundle.parent / "out" / "submission.csv").read_bytes() == written


def test_without_a_hidden_sample_the_ids_come_from_the_folder(competition, tmp_path):
    data = draw_hidden(tmp_path / "hidden", 12, sample=False)
    expected = predictions_of(competition, "tiny/a", data)
    bundle = bundled(competition)
    shutil.rmtree(competition.root)
    found = submitted(bundle, data)
    assert_equal(found, expected)
    assert list(found.columns) == CLASSES
    assert list(found.index) == [f"hidden-{i}.png" for i in range(12)]


def test_images_that_the_hidden_sample_does_not_list_are_left_out(competition, tmp_path):
    data = draw_hidden(tmp_path / "hidden", 5)
    write_sample(data, ["hidden-4.png", "hidden-1.png"])
    assert list(submitted(bundled(competition), data).index) == ["hidden-4.png", "hidden-1.png"]


def test_an_unreadable_image_gets_the_prior_as_in_kit_predict(competition, tmp_path):
    test = competition.root / "data" / "tiny" / "test"
    (test / "3.png").write_bytes((test / "3.png").read_bytes()[:100])
    pipeline.predict("a", workspace=competition)
    expected = load_test(competition.run("tiny", "a"))
    bundle, progress = bundled(competition), RecordedProgress()
    found = submitted(bundle, competition.root / "data" / "tiny", progress=progress)
    np.testing.assert_allclose(
        found.loc[list(expected.ids), list(expected.classes)], expected.probs, rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(found.loc["3.png"], 1 / 3, atol=1e-6)


@pytest.mark.parametrize("change", ["changed", "missing", "added"])
def test_a_damaged_bundle_is_refused(competition, tmp_path, change):
    bundle, data = bundled(competition), draw_hidden(tmp_path / "hidden", 3)
    model = bundle / "runs/tiny/a/fold-1/best.safetensors"
    if change == "changed":
        model.write_bytes(model.read_bytes()[:-1] + b"x")
    if change == "missing":
        model.unlink()
    if change == "added":
        (bundle / "runs/tiny/a/fold-1/decision.json").write_text("{}")
    with raises_kit_error("bundle_damaged"):
        submitted(bundle, data)
    assert not (bundle.parent / "out").exists()


def test_a_foreign_bundle_is_refused(competition, tmp_path):
    bundle, data = bundled(competition), draw_hidden(tmp_path / "hidden", 3)
    record = (bundle / NAME).read_text()
    (bundle / NAME).write_text(record.replace('"kind": "probabilities"', '"kind": "label"'))
    with raises_kit_error("artifact_changed"):
        submitted(bundle, data)
    shutil.copy(competition.run("tiny", "a").metrics, bundle / NAME)
    with raises_kit_error("bundle_foreign"):
        submitted(bundle, data)
    (bundle / NAME).unlink()
    with raises_kit_error("bundle_foreign"):
        submitted(bundle, data)
    other = bundle.parent / "other"
    pipeline.bundle("b", out=other, workspace=competition)
    shutil.copy(other / NAME, bundle / NAME)
    with raises_kit_error("bundle_damaged"):
        submitted(bundle, data)


def test_a_test_folder_that_does_not_fit_is_refused(competition, tmp_path):
    bundle, data = bundled(competition), draw_hidden(tmp_path / "hidden", 3)
    with raises_kit_error("folder_missing"):
        submitted(bundle, tmp_path / "nowhere")
    write_sample(data, ["hidden-0.png", "other.png"])
    with raises_kit_error("image_missing"):
        submitted(bundle, data)
    write_sample(data, ["hidden-0.png"])
    sample = data / "sample_submission.csv"
    pd.read_csv(sample).to_csv(sample)  # with a column of row numbers
    with raises_kit_error("format_differs"):
        submitted(bundle, data)
    shutil.rmtree(data / "test")
    (data / "test").mkdir()
    with raises_kit_error("no_images"):
        submitted(bundle, data)


def test_ids_that_file_names_do_not_give_need_their_list(competition, tmp_path):
    config = competition.config("a")
    config.write_text(config.read_text().replace("file: sample_submission.csv", "file: test.csv"))
    data = competition.root / "data" / "tiny"
    rows = [(f"item {i}", f"{i}.png") for i in range(8)]
    pd.DataFrame(rows, columns=["ID", "image"]).to_csv(data / "test.csv", index=False)
    write_sample(data, [name for name, _ in rows])
    run = competition.run("tiny", "a")
    loaded = load_config(run.config)
    test = loaded.competition.test.model_copy(update={"file": "test.csv", "image": "image"})
    changed = loaded.competition.model_copy(update={"test": test})
    run.config.write_text(config_yaml(loaded.model_copy(update={"competition": changed})))
    pipeline.predict("a", workspace=competition)
    bundle = bundled(competition)
    assert set(submitted(bundle, data).index) == {name for name, _ in rows}
    with raises_kit_error("ids_unknown"):
        submitted(bundle, draw_hidden(tmp_path / "hidden", 3))


def test_a_time_limit_that_has_passed_writes_nothing_and_a_later_call_continues(competition, tmp_path):
    bundle = bundled(competition, time_limit="1s")  # less than is reserved for stopping
    data, out = draw_hidden(tmp_path / "hidden", 3), tmp_path / "submission.csv"
    with pytest.raises(Interrupted):
        predict_bundle(bundle, data, out)
    assert not out.exists()
    predict_bundle(bundle, data, out, "1h")
    assert out.exists()


def test_a_stale_run_is_not_bundled(competition):
    image = competition.root / "data" / "tiny" / "test" / "0.png"
    draw(image, COLORS["red"], seed=9)
    with raises_kit_error("artifact_stale"):
        bundled(competition)
    assert not (competition.root.parent / "bundle").exists()


def test_only_a_bundle_is_replaced(competition):
    folder = competition.root.parent / "bundle"
    folder.mkdir()
    bundled(competition)
    first = (folder / NAME).read_bytes()
    bundled(competition)
    assert (folder / NAME).read_bytes() == first
    (folder / NAME).unlink()
    with raises_kit_error("folder_not_empty"):
        bundled(competition)
    with raises_kit_error("time_limit_invalid"):
        pipeline.bundle("a", out=folder.with_name("new"), time_limit="soon", workspace=competition)
    assert not folder.with_name("new").exists()
    assert not list(folder.parent.glob(".*.tmp"))


def test_the_command_says_what_it_wrote(competition, tmp_path):
    options = ["--out", tmp_path / "made", "--workspace", competition.root]
    found = run_kit_json("bundle", "a", *options)
    files = [path for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert found["files"] == len(files)
    assert found["bytes"] == sum(path.stat().st_size for path in files)
    assert found["wheels"] == ["kit-0.1.0-py3-none-any.whl"]
    assert "predict.py" in run_kit("bundle", "a", *options).stdout


def test_script_and_notebook_are_short():
    assert len(script().splitlines()) <= 30
    text = notebook("leaves 'of' trees")
    assert len(text.splitlines()) <= 30
    compile(script(), "predict.py", "exec")
    compile("".join(json.loads(text)["cells"][0]["source"]), "predict.ipynb", "exec")


def without_network() -> list[str]:
    """Return the command that runs another one without network; skip the test if this is not allowed."""
    command = ["unshare", "-n"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let the test cut the network (unshare -n)")
    return command


@pytest.mark.slow
@pytest.mark.parametrize(("method", "number"), [(None, 3), ("weights", 20)])
def test_the_script_of_a_bundle_predicts_without_network_and_without_kit_installed(
    competition, tmp_path, method, number
):
    cut, run = without_network(), "tiny/a"
    if method is not None:
        pipeline.blend(["a", "b"], method=method, name="both", workspace=competition)
        run = "tiny/both"
    data = draw_hidden(tmp_path / "hidden", number)
    expected = predictions_of(competition, run, data)
    bundle = bundled(competition, run, time_limit="1h")
    shutil.rmtree(competition.root)
    files = sorted(bundle.rglob("*"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = [*cut, sys.executable, str(bundle / "predict.py"), str(data)]
    done = subprocess.run(script, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["submission.csv"]
    assert sorted(bundle.rglob("*")) == files  # it may be on a read-only disk
    assert_equal(pd.read_csv(elsewhere / "submission.csv").set_index("ID"), expected)


def test_an_unknown_platform_is_refused(competition):
    run, folder = competition.run("tiny", "a"), competition.root.parent / "new"
    with raises_kit_error("platform_unknown"):
        write_bundle(run, competition, folder, "kaggle-2026-09")
