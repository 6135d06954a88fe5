"""A regression from end to end: numbers that follow the color of an image, in their own units at every stage."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from kit import pipeline
from kit.config import Component
from kit.config.load import load_config
from kit.engine.models.checkpoints import read_about
from kit.predictions import load_oof, load_test
from kit.storage.files import read_json
from kit.storage.workspace import Workspace
from tests.conftest import (
    TINY,
    RecordedProgress,
    draw,
    raises_kit_error,
    run_kit,
    run_kit_json,
    write_config,
)

AGES = TINY | {
    "name": "ages",
    "competition": {
        "name": "ages",
        "data": "ages",
        "task": "regression",
        "metric": "rmse",
        "train": {"layout": "csv", "folder": "train", "file": "train.csv", "id": "id", "label": "age"},
        "test": {"folder": "test", "file": "sample_submission.csv", "id": "id"},
    },
    "submission": {"sample": "sample_submission.csv", "kind": "value"},
    "image": {"size": 32},
    "augment": {"preset": "light", "mixup": 0.2},
    "train": TINY["train"] | {"epochs": 12, "lr": 0.02, "keep": "best"},
}


def age_of(i: int) -> float:
    """The number of image i, between -20 and 79.5."""
    return round(-20 + (i * 37 % 200) / 2, 1)


def color_of(age: float) -> tuple[int, int, int]:
    level = int(40 + (age + 20) * 1.7)
    return level, 60, 255 - level


def draw_ages(root, train: int = 40, test: int = 10) -> None:
    for i in range(train + test):
        draw(root / ("train" if i < train else "test") / f"{i}.png", color_of(age_of(i)), i, (32, 32))
    table = pd.DataFrame({"id": [f"{i}.png" for i in range(train)], "age": map(age_of, range(train))})
    table.to_csv(root / "train.csv", index=False)
    ids = [f"{i}.png" for i in range(train, train + test)]
    pd.DataFrame({"id": ids, "age": 30.5}).to_csv(root / "sample_submission.csv", index=False)


@pytest.fixture(scope="module")
def ages(tmp_path_factory):
    workspace = Workspace.open(tmp_path_factory.mktemp("ages"))
    draw_ages(workspace.root / "data" / "ages")
    done = pipeline.run(load_config(write_config(workspace, AGES)), workspace=workspace)
    return workspace, done


@pytest.fixture(scope="module")
def blended(ages):
    """A second experiment with the loss ``bce``, and the blend of both."""
    workspace, done = ages
    loss, augment = {"name": "bce"}, {"preset": "light", "mixup": 0.0}
    path = write_config(workspace, AGES, name="bounded", train__loss=loss, augment=augment)
    second = pipeline.run(load_config(path), workspace=workspace)
    runs = [done.run, second.run]
    blend = pipeline.blend(runs, method=Component(name="mean"), name="both", workspace=workspace).blended
    return workspace, done, second, blend


def test_predictions_follow_the_numbers_in_their_units(ages):
    _, done = ages
    oof, test = load_oof(done.run), load_test(done.run)
    assert (oof.classes, oof.probs.dtype, oof.origin.task) == (("value",), np.float32, "regression")
    for predictions in (oof, test):
        truth = [age_of(int(i.removesuffix(".png"))) for i in predictions.ids]
        assert r2_score(truth, predictions.probs[:, 0]) > 0.6
    assert done.evaluation.cv < 18  # the standard deviation of the numbers is about 29
    others = {other.metric: other.score for other in done.evaluation.others}
    assert set(others) == {"mae", "r2", "spearman", "rmsle"}
    assert others["r2"] > 0.6


def test_each_fold_stores_the_scale_of_its_own_training_side(ages):
    workspace, done = ages
    folds = pd.read_csv(workspace.folds("ages"))
    assert folds["value"].tolist() == [age_of(int(i.removesuffix(".png"))) for i in folds["id"]]
    for k in range(2):
        scale = read_about(done.run.fold(k).model)["target_scale"]
        training = folds["value"][folds["fold"] != k]
        assert scale["offset"] == pytest.approx(training.mean())
        assert scale["factor"] == pytest.approx(training.std(ddof=0))


def test_a_fold_predicts_as_in_training(ages):
    """The score of the kept epoch and of the stored predictions are equal: both use the fold's own scale."""
    workspace, done = ages
    folds = pd.read_csv(workspace.folds("ages")).set_index("id")
    oof = load_oof(done.run)
    rows = folds.loc[list(oof.ids)]
    squares = (oof.probs[:, 0] - rows["value"].to_numpy()) ** 2
    for k in range(2):
        score = np.sqrt(squares[(rows["fold"] == k).to_numpy()].mean())
        assert read_json(done.run.fold(k).done)["score"] == pytest.approx(score, rel=1e-4)


def test_the_submission_holds_the_numbers_and_scores_as_measured(ages):
    workspace, done = ages
    written = pd.read_csv(done.submitted.file.path)
    sample = pd.read_csv(workspace.root / "data" / "ages" / "sample_submission.csv")
    assert (list(written), written["id"].tolist()) == (list(sample), sample["id"].tolist())
    test = load_test(done.run)
    expected = pd.Series(test.probs[:, 0], test.ids).loc[written["id"]].to_numpy()
    if read_json(done.run.decision)["steps"]:  # clipped to the range of the training numbers
        numbers = [age_of(i) for i in range(40)]
        expected = expected.clip(np.float32(min(numbers)), np.float32(max(numbers)))
    np.testing.assert_array_equal(written["age"].to_numpy(np.float32), expected)
    assert done.submitted.proof.mirror == pytest.approx(done.evaluation.cv)


def test_the_report_shows_residuals_and_no_classes(ages, monkeypatch):
    workspace, done = ages
    monkeypatch.chdir(workspace.root)
    text = run_kit("evaluate", "ages/ages").stdout
    assert "true number" in text
    assert "highest absolute error" in text
    assert "residuals.csv" in text
    for word in ("precision", "ROC AUC", "confusion"):
        assert word not in text
    page = done.run.report.read_text()
    assert page.count("<svg") == 2  # learning curves, and predicted against true
    assert "data:image/jpeg;base64," in page
    assert not done.run.confusion.exists()
    table = pd.read_csv(done.run.residuals)
    np.testing.assert_allclose(table["predicted"] - table["true"], table["error"])
    assert table["error"].abs().is_monotonic_decreasing
    assert np.sqrt((table["error"] ** 2).mean()) == pytest.approx(done.evaluation.cv)
    found = run_kit_json("evaluate", "ages/ages")
    assert sum(each["images"] for each in found["residuals"]) == 40
    assert found["hardest"][0]["loss"] == pytest.approx(table["error"].abs().max())
    assert found["low"] < found["cv"] < found["high"]


def test_bce_keeps_predictions_in_the_training_range_and_a_blend_is_scored_and_submitted(blended):
    workspace, done, second, blend = blended
    bounds = [age_of(i) for i in range(40)]
    for predictions in (load_oof(second.run), load_test(second.run)):
        assert (predictions.probs >= min(bounds)).all()
        assert (predictions.probs <= max(bounds)).all()
    assert blend.evaluation.nested < max(done.evaluation.cv, second.evaluation.cv)
    assert all(pair.disagreement is None for pair in blend.evaluation.pairs)
    submitted = pipeline.submit(blend.run, workspace=workspace)
    assert submitted.proof.mirror == pytest.approx(blend.evaluation.nested)


def test_a_blend_of_ranks_is_refused_with_the_methods_that_suit(blended, monkeypatch):
    workspace = blended[0]
    monkeypatch.chdir(workspace.root)
    arguments = ("blend", "ages/ages", "ages/bounded", "--name", "x", "--method")
    assert "mean, " in run_kit(*arguments, "rank", code=1).stderr
    assert "lowest: -" in run_kit(*arguments, "gmean", code=1).stderr
    assert "both" in run_kit("leaderboard").stdout


def test_the_commands_around_training_work(ages, monkeypatch):
    workspace, _ = ages
    monkeypatch.chdir(workspace.root)
    config = "configs/ages.yaml"
    assert "40 different, from -20 to" in run_kit("inspect", config).stdout
    assert "range" in run_kit("folds", config).stdout
    assert run_kit_json("train", config, "--dry-run")["facts"]["loss"] == "mse"
    run_kit("augment", config, "--images", "2", "--epochs", "2")
    assert "identity" in run_kit("evaluate", "ages/ages", "--tta-report").stdout
    assert "checked" in run_kit("run", config).stdout
    run_kit("check", "submissions/ages/ages.csv", config)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"train__loss": {"name": "cross_entropy"}}, "loss_unsuitable"),
        ({"competition__metric": "accuracy"}, "metric_unsuitable"),
        ({"train__balance": {"name": "sampler"}}, "balance_unsuitable"),
        ({"predict": {"merge": "gmean"}}, "merge_unsuitable"),
        ({"decide": [{"name": "thresholds"}]}, "step_unsuitable"),
        ({"folds__scheme": "stratified"}, "scheme_unsuitable"),
        ({"submission__kind": "label"}, "kind_unsuitable"),
        ({"competition__unlisted": "negative"}, "values_contradict"),
    ],
)
def test_what_needs_classes_is_refused_before_training(ages, changes, code):
    workspace, _ = ages
    with raises_kit_error(code):
        pipeline.run(load_config(write_config(workspace, AGES, name="wrong", **changes)), workspace=workspace)
    assert not workspace.run("ages", "wrong").fold(0).done.exists()


def test_a_training_side_of_equal_numbers_is_refused(workspace):
    draw_ages(workspace.root / "data" / "ages", train=12)
    table = workspace.root / "data" / "ages" / "train.csv"
    pd.read_csv(table).assign(age=4.5).to_csv(table, index=False)
    with raises_kit_error("targets_constant"):
        pipeline.run(load_config(write_config(workspace, AGES)), workspace=workspace)


def test_a_fold_that_the_metric_cannot_score_is_named_before_training(workspace):
    draw_ages(workspace.root / "data" / "ages", train=12)
    changes = {"competition__metric": "r2", "folds__count": 12}
    with raises_kit_error("metric_not_computable", where="fold 0"):
        pipeline.run(load_config(write_config(workspace, AGES, **changes)), workspace=workspace)


def test_an_unreadable_test_image_gets_the_mean_and_a_known_one_its_number(ages, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(ages[0].root, root)
    workspace, data = Workspace.open(root), root / "data" / "ages"
    (data / "test" / "40.png").write_bytes(b"broken")
    shutil.copy(data / "train" / "3.png", data / "test" / "41.png")
    progress = RecordedProgress()
    changes = {"competition__leaks": "use", "train__epochs": 1, "train__schedule__warmup_epochs": 0}
    done = pipeline.run(
        load_config(write_config(workspace, AGES, name="leaky", **changes)),
        workspace=workspace,
        progress=progress,
    )
    written = pd.read_csv(done.submitted.file.path).set_index("id")["age"]
    assert written["40.png"] == pytest.approx(np.mean([age_of(i) for i in range(40)]), rel=1e-6)
    assert written["41.png"] == pytest.approx(age_of(3))
    assert "mean of the training numbers" in progress
    assert read_json(done.run.metrics)["residuals"]
