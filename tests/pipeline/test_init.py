"""``kit init`` says at once what ``kit run`` would refuse, and chooses folds that can be made and scored."""

import pandas as pd
import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.folds.table import read_folds
from tests.conftest import COLORS, draw, raises_kit_error, run_kit, run_kit_json


def draw_table(workspace, labels, ids=None, groups=None, scores=False):
    """Write a labels-CSV competition with a sample submission, and return its folder."""
    root = workspace.root / "data" / "c"
    ids = ids or [f"i{number}" for number in range(len(labels))]
    for number, each in enumerate(ids):
        draw(root / "train" / f"{each}.png", COLORS["red"], seed=number, size=(8, 8))
    table = pd.DataFrame({"id": ids, "label": labels}, dtype=str)
    if groups is not None:
        table["patient_id"] = groups
    table.to_csv(root / "train.csv", index=False)
    for number in range(4):
        draw(root / "test" / f"t{number}.png", COLORS["red"], seed=900 + number, size=(8, 8))
    cells = ["0.1", "0.25", "0.5", "0.7"] if scores else [labels[0]] * 4
    tests = [f"t{number}" for number in range(4)]
    pd.DataFrame({"id": tests, "label": cells}).to_csv(root / "sample_submission.csv", index=False)
    return root


@pytest.mark.parametrize(
    ("labels", "ids", "code"),
    [
        ("abc" * 6, [*(f"i{n}" for n in range(16)), "NaN", "nan"], "case_differs"),
        (["cat", "Cat", "dog"] * 6, None, "case_differs"),
        (["cat", "cat ", "dog"] * 6, None, "case_differs"),
        (["é", "e\u0301", "dog"] * 6, None, "case_differs"),
        ([*"abc" * 5, "", ""], None, "cells_blank"),
        ([*(f"{n}.5" for n in range(12)), "nan"], None, "class_too_small"),
    ],
)
def test_what_a_value_of_the_config_solves_is_told_with_the_written_config(workspace, labels, ids, code):
    data = draw_table(workspace, list(labels), ids)
    done = pipeline.init(str(data), workspace=workspace)
    assert done.to_edit.code == code
    with raises_kit_error(code):
        pipeline.folds(done.config, workspace=workspace)


def test_images_that_no_table_lists_are_told_and_ignored_with_the_named_value(workspace):
    data = draw_table(workspace, list("abc" * 6))
    draw(data / "train" / "more.png", COLORS["red"], seed=77)
    found = run_kit("init", data, "--workspace", workspace.root)
    assert "Edit it first" in found.stderr
    again = run_kit_json("init", data, "--workspace", workspace.root)
    assert again["to_edit"]["code"] == "images_unlisted"
    config = workspace.root / again["config"]
    pipeline.folds(config, overrides=["competition.unlisted=ignore"], workspace=workspace)


@pytest.mark.parametrize(
    ("labels", "code"), [("a" * 12, "num_classes_wrong"), (["id", "b", "c"] * 6, "class_name_reserved")]
)
def test_labels_that_no_value_of_the_config_solves_are_refused_and_no_config_is_written(
    workspace, labels, code
):
    data = draw_table(workspace, list(labels))
    with raises_kit_error(code):
        pipeline.init(str(data), workspace=workspace)
    assert not workspace.config("c").exists()


def test_an_image_without_a_file_is_refused(workspace):
    data = draw_table(workspace, list("abc" * 6))
    (data / "train" / "i4.png").unlink()
    with raises_kit_error("image_missing"):
        pipeline.init(str(data), workspace=workspace)


@pytest.mark.parametrize(
    ("labels", "scores", "count"),
    [
        ("abc" * 6, False, 5),
        ("abab", False, 4),  # an image per fold
        ("aba", False, 2),  # the only b is in training, always
        ("0" * 20 + "11", True, 2),  # ROC AUC needs both classes in every fold
        ("0" * 20 + "111", True, 3),
    ],
)
def test_the_number_of_folds_is_the_largest_up_to_five_that_can_be_made_and_scored(
    workspace, labels, scores, count
):
    done = pipeline.init(str(draw_table(workspace, list(labels), scores=scores)), workspace=workspace)
    assert done.to_edit is None
    config = load_config(done.config)
    assert config.folds.count == count
    made = pipeline.folds(config, workspace=workspace)
    assert read_folds(made.path, ["label"]).count == count


def test_a_metric_that_no_number_of_folds_makes_computable_is_told(workspace):
    data = draw_table(workspace, ["0"] * 20 + ["1"], scores=True)
    assert pipeline.init(str(data), workspace=workspace).to_edit.code == "metric_not_computable"


def test_a_single_group_is_told_with_the_scheme_that_solves_it(workspace):
    data = draw_table(workspace, list("abc" * 6), groups=["p"] * 18)
    done = pipeline.init(str(data), workspace=workspace)
    assert done.to_edit.code == "class_too_small"
    free = ["folds.scheme=stratified", "folds.rare=refuse"]
    pipeline.folds(done.config, overrides=free, workspace=workspace)


def test_an_unknown_model_and_missing_weights_are_refused(tiny):
    with raises_kit_error("unknown_name"):
        pipeline.init("tiny", model="nonsense", workspace=tiny)
    with raises_kit_error("weights_not_found"):
        pipeline.init("tiny", weights="missing.safetensors", workspace=tiny)
    assert not tiny.config("tiny").exists()
