"""Runs on competitions of several kinds: crops of boxes, held-out sets, holdout, repeats, extra images, leaks."""

import shutil

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config import Component
from kit.config.load import load_config
from kit.evaluation.per_image import pool_run
from kit.predictions import load_held_out, load_oof, load_predictions, load_test
from kit.storage.files import read_json
from kit.storage.provenance import Identity
from kit.storage.workspace import Workspace
from tests.competition.test_perceptual_hash import scene
from tests.conftest import (
    COLORS,
    TINY,
    RecordedProgress,
    draw,
    draw_class_folders,
    draw_voc,
    raises_kit_error,
    run_kit,
    run_kit_json,
    write_config,
)

SETS = {"train": "ImageSets/Main/trainval.txt", "test": "ImageSets/Main/test.txt"}
CROPS = TINY | {
    "name": "cells",
    "competition": {
        "name": "cells",
        "data": "cells",
        "task": "binary",
        "metric": "accuracy",
        "train": {"layout": "voc", "set": SETS["train"]},
        "held_out": {"test": {"layout": "voc", "set": SETS["test"]}},
        "test": None,
        "voc": {"as": "crops", "margin": 0.1},
    },
    "folds": {"count": 2},
    "train": TINY["train"] | {"balance": {"name": "cap", "at": "mean"}},
}
del CROPS["submission"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    root = tmp_path_factory.mktemp("cells")
    workspace = Workspace.open(root)
    draw_voc(root / "data" / "cells", images=24)
    progress = RecordedProgress()
    done = pipeline.run(load_config(write_config(workspace, CROPS)), workspace=workspace, progress=progress)
    return workspace, done, progress


def test_crops_have_ids_of_their_boxes_and_held_out_crops_are_scored(cells):
    workspace, done, progress = cells
    assert done.submitted is None
    assert "no test images: no submission to write" in progress.lines
    oof, held_out = load_oof(done.run), load_held_out(done.run, "test")
    assert "im_001#1" in oof.ids
    assert (len(oof.ids), len(held_out.ids)) == (24, 12)
    assert not set(oof.ids) & set(held_out.ids)
    truth = pd.read_csv(workspace.truth("cells", "test"), dtype=str).set_index("id")["label"]
    predicted = np.array(held_out.classes)[held_out.probs.argmax(axis=1)]
    expected = (truth.loc[list(held_out.ids)].to_numpy() == predicted).mean()
    assert done.evaluation.held_out == {"test": pytest.approx(expected)}
    assert expected > 0.9
    assert read_json(done.run.metrics)["held_out"]["test"] == pytest.approx(expected)


def test_crops_of_one_image_are_in_one_fold(cells):
    folds = pd.read_csv(cells[0].folds("cells"))
    assert (folds.groupby("group")["fold"].nunique() == 1).all()


def test_balancing_reports_and_stores_class_counts(cells):
    _, done, progress = cells
    assert any(line.startswith("balance cap: red 8 -> 6, green 4 -> 4") for line in progress.lines)
    assert read_json(done.run.fold(0).done)["classes"] == {"green": [4, 4], "red": [8, 6]}


def test_crops_are_pooled_per_image(cells):
    workspace, done, _ = cells
    oof_images, test_images = pool_run(done.run, workspace, "max")
    pooled = load_predictions(oof_images.file, Identity("cells/cells", "oof"), "kit evaluate")
    crops = load_oof(done.run)
    assert (oof_images.images, test_images.images) == (16, 8)
    rows = [i for i, crop in enumerate(crops.ids) if crop.startswith("im_001#")]
    np.testing.assert_allclose(pooled.probs[pooled.ids.index("im_001")], crops.probs[rows].max(axis=0))
    assert oof_images.scores["f1_macro"] > 0.8
    assert oof_images.scores["roc_auc"] is None  # every image has red
    pooled_file = pool_run(done.run, workspace, "mean")[0].file
    mean = load_predictions(pooled_file, Identity("cells/cells", "oof"), "kit evaluate")
    np.testing.assert_allclose(
        mean.probs[mean.ids.index("im_001")], crops.probs[rows].mean(axis=0), rtol=1e-5
    )


def test_the_commands_show_held_out_sets_and_pooled_crops(cells, monkeypatch):
    workspace, done, _ = cells
    monkeypatch.chdir(workspace.root)
    score = done.evaluation.held_out["test"]
    text = run_kit("evaluate", "cells/cells", "--per-image", "max").stdout
    assert f"{score:.4f}" in text
    assert "undefined" in text
    found = run_kit_json("evaluate", "cells/cells", "--per-image", "mean")
    assert found["held_out"] == {"test": score}
    assert set(found["per_image"]) == {"oof", "test"}
    assert "held out test" in run_kit("run", "configs/cells.yaml").stdout
    assert run_kit_json("run", "configs/cells.yaml")["submission"] is None
    assert "there is nothing to submit" in run_kit("submit", "cells/cells", code=1).stderr


def test_the_folds_command_shows_groups_and_evenness(cells, monkeypatch):
    workspace = cells[0]
    monkeypatch.chdir(workspace.root)
    text = run_kit("folds", "configs/cells.yaml").stdout
    assert "groups" in text
    assert "chi-square" in text
    found = run_kit_json("folds", "configs/cells.yaml")
    assert {"file", "count", "rows", "largest_deviation", "chi_square", "p_value"} <= set(found)


def test_inspect_suggests_keeping_near_duplicates_together(workspace):
    data = draw_class_folders(workspace.root / "data" / "tiny")
    scene(3).save(data / "train/red/0.png")
    scene(3).save(data / "train/red/1.jpg", quality=60)
    (data / "train/red/1.png").unlink()
    write_config(workspace)
    assert "keep_duplicates_together=near" in run_kit("inspect", "configs/tiny-cnn.yaml").stdout
    found = run_kit_json("inspect", "configs/tiny-cnn.yaml")
    assert found["near_duplicates"]["within_class"] == [["train/red/0.png", "train/red/1.jpg"]]
    near = ("--set", "folds.keep_duplicates_together=near")
    text, _, _ = run_kit("inspect", "configs/tiny-cnn.yaml", *near).stdout.partition("Next:")
    assert "keep_duplicates_together=near" not in text
    run_kit("folds", "configs/tiny-cnn.yaml", *near)
    fold = pd.read_csv(workspace.folds("tiny")).set_index("id")["fold"]
    assert fold["red/0.png"] == fold["red/1.jpg"]
    page = workspace.page("tiny", "audit").read_text()
    assert "Near duplicates" in page
    assert page.count("data:image/jpeg;base64,") >= 5


def test_submitting_without_test_images_is_refused(cells):
    workspace, done, _ = cells
    with raises_kit_error("no_test_images"):
        pipeline.submit(done.run, workspace=workspace)


def test_a_blend_scores_held_out_sets(cells):
    workspace, done, _ = cells
    second = pipeline.run(
        load_config(write_config(workspace, CROPS, name="cells-2", seed=7)), workspace=workspace
    )
    run = pipeline.blend(
        [done.run, second.run], method=Component(name="mean"), name="both", workspace=workspace
    ).blended.run
    evaluation = pipeline.evaluate(run, workspace=workspace)
    assert set(evaluation.held_out) == {"test"}
    members = [load_held_out(r, "test").probs for r in (done.run, second.run)]
    np.testing.assert_allclose(load_held_out(run, "test").probs, np.mean(members, axis=0), atol=1e-6)


def test_pooling_whole_images_is_refused(trained):
    with raises_kit_error("no_crops"):
        pool_run(trained.run("tiny", "a"), trained, "max")


def test_a_holdout_split_trains_one_model_and_scores_the_held_out_rows(tiny):
    folds = {"scheme": "holdout", "fractions": [0.6, 0.2, 0.2]}
    done = pipeline.run(load_config(write_config(tiny, folds=folds, **{"train__epochs": 2})), workspace=tiny)
    assert [k for k in range(3) if done.run.fold(k).done.exists()] == [0]
    assert len(load_oof(done.run).ids) == 6
    assert set(done.evaluation.held_out) == {"holdout"}
    assert len(load_held_out(done.run, "holdout").ids) == 6
    assert len(done.evaluation.folds) == 1
    assert done.evaluation.sd == 0


def test_repeated_folds_train_all_models_and_average_their_oof_probs(tiny):
    folds = {"scheme": "repeated", "count": 2, "repeats": 2}
    done = pipeline.run(load_config(write_config(tiny, folds=folds, **{"train__epochs": 2})), workspace=tiny)
    assert all(done.run.fold(k).done.exists() for k in range(4))
    assert len(load_oof(done.run).ids) == 30
    assert len(done.evaluation.folds) == 4
    assert done.submitted.proof.mirror == pytest.approx(done.evaluation.cv)


def test_images_without_a_label_are_reported_and_not_used(tiny):
    draw(tiny.root / "data/tiny/train/loose.png", COLORS["red"], 1)
    progress = RecordedProgress()
    path = write_config(tiny, competition__unlisted="unlabelled", train__epochs=2)
    done = pipeline.run(load_config(path), workspace=tiny, progress=progress)
    assert "1 training image has no label and is not used" in progress.lines
    assert len(load_oof(done.run).ids) == 30
    folds = pd.read_csv(tiny.folds("tiny"), dtype=str, keep_default_na=False).set_index("id")
    assert folds.loc["loose.png"].tolist() == ["-1", ""]


def test_extra_images_are_used_for_training_only(tiny):
    for i in range(4):
        draw(tiny.root / "data/tiny/more/red" / f"{i}.png", COLORS["red"], 900 + i)
    extra = [{"layout": "class_folders", "folder": "more"}]
    done = pipeline.run(
        load_config(write_config(tiny, competition__extra=extra, train__epochs=2)), workspace=tiny
    )
    oof = load_oof(done.run)
    assert not any(i.startswith("more/") for i in oof.ids)
    assert len(oof.ids) == 30
    assert pd.read_csv(tiny.folds("tiny")).set_index("id").loc["more/red/0.png", "fold"] == -1


def draw_leaks(root):
    """Copy one training image to the test images, and another to the test images and to a second class."""
    data = draw_class_folders(root / "data" / "tiny")
    shutil.copy(data / "train/10/7.png", data / "test/1.png")
    shutil.copy(data / "train/2/3.png", data / "test/2.png")
    shutil.copy(data / "train/2/3.png", data / "train/red/3.png")


@pytest.mark.parametrize("leaks", ["report", "use"])
def test_a_test_image_equal_to_a_training_image_is_reported_and_its_label_used_if_configured(
    workspace, leaks
):
    draw_leaks(workspace.root)
    progress = RecordedProgress()
    config = load_config(
        write_config(workspace, competition__leaks=leaks, train__epochs=1, train__schedule__warmup_epochs=0)
    )
    submitted = pipeline.run(config, workspace=workspace, progress=progress).submitted
    assert [(leak.test_id, leak.train_id) for leak in submitted.leaks] == [("1.png", "10/7.png")]
    written = pd.read_csv(submitted.file.path, dtype=str).set_index("ID")["Label"]
    test = load_test(workspace.run("tiny", "tiny-cnn"))
    predicted = dict(zip(test.ids, np.array(test.classes)[test.probs.argmax(axis=1)], strict=True))
    expected = predicted | ({"1.png": "10"} if leaks == "use" else {})
    assert written.to_dict() == expected
    text = "KNOWN LABELS" if leaks == "use" else "their rows are predictions"
    assert any(text in line and "1.png = 10/7.png" in line for line in progress.lines)


def test_duplicates_are_in_one_fold(workspace):
    draw_leaks(workspace.root)
    pipeline.folds(load_config(write_config(workspace)), workspace=workspace)
    fold = pd.read_csv(workspace.folds("tiny")).set_index("id")["fold"]
    assert fold["2/3.png"] == fold["red/3.png"]


@pytest.mark.parametrize("how", ["mask", "crop"])
def test_training_with_masked_or_cropped_foreground(cells, how):
    workspace = cells[0]
    config = load_config(write_config(workspace, CROPS, name=how, image__foreground=how, train__epochs=4))
    assert pipeline.run(config, workspace=workspace).evaluation.cv > 0.9
    assert len(list(workspace.foreground("cells").iterdir())) >= 36
