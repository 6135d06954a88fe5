"""Real competitions, tested if the folder KIT_DATA has them."""

import os
from pathlib import Path

import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.storage.workspace import Workspace

DATA = Path(os.environ.get("KIT_DATA", "nowhere"))


def requires_data(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"KIT_DATA holds no {name}")


def init_config(root, name):
    started = pipeline.init(name, workspace=Workspace.open(root, DATA))
    return load_config(started.config), {f.key: f for f in started.findings}


@requires_data("cse144")
def test_cse144_is_inferred_as_class_folders(tmp_path):
    config, findings = init_config(tmp_path, "cse144")
    assert config.competition.train.layout == "class_folders"
    assert config.competition.task == "multiclass"
    assert (
        "100 folders: one class per folder, in natural order" in findings["competition.train.layout"].because
    )
    assert config.competition.test.ids == "name"
    assert "holds class names" in findings["submission.kind"].because


@requires_data("cse144")
def test_the_exact_duplicates_of_cse144_are_found(tmp_path):
    config, _ = init_config(tmp_path, "cse144")
    found = pipeline.inspect(config, workspace=Workspace.open(tmp_path, DATA)).audit
    counts = {name: len(groups) for name, groups in vars(found.exact_duplicates).items()}
    assert counts == {"within_class": 0, "across_classes": 3, "train_test": 8, "test_test": 6}
    assert ["train/37/6.jpg", "test/824.jpg"] in found.exact_duplicates.train_test


@requires_data("dance8")
def test_dance8_is_inferred_as_labels_csv_without_a_sample(tmp_path):
    config, findings = init_config(tmp_path, "dance8")
    source = config.competition.train
    assert (source.file, source.id, source.label) == ("dataset/train.csv", "Image", "target")
    assert (config.submission.id, config.submission.label) == ("Image", "target")
    assert findings["submission.id"].because.startswith("no sample file")


@requires_data("dance8")
def test_the_near_duplicates_of_dance8_are_found(tmp_path):
    config, _ = init_config(tmp_path, "dance8")
    found = pipeline.inspect(config, workspace=Workspace.open(tmp_path, DATA)).audit
    assert len(found.near_duplicates.within_class) > 45
    assert len(found.near_duplicates.train_test) > 35
    assert found.near_duplicates.across_classes == []


@requires_data("bccd")
def test_bccd_is_inferred_as_crops_grouped_by_image(tmp_path):
    config, findings = init_config(tmp_path, "bccd")
    assert config.competition.voc.as_ == "crops"
    assert "BloodImage_00338.xml object 12" in findings["competition.voc.bad_boxes"].because
    folds = pipeline.folds(config, workspace=Workspace.open(tmp_path, DATA)).folds
    assert (folds.table.groupby("group")["fold"].nunique() == 1).all()
    assert len(folds.table) == 3941


@requires_data("multilabel_qtt")
def test_multilabel_qtt_has_a_labeled_held_out_set_and_an_unlabeled_test_set(tmp_path):
    config, findings = init_config(tmp_path, "multilabel_qtt")
    assert config.competition.held_out["test"].folder == "testset"
    assert (config.competition.test.folder, config.competition.test.file) == ("test", None)
    assert "test.csv cannot be read" in findings["competition.test.ids"].because
    found = pipeline.inspect(config, workspace=Workspace.open(tmp_path, DATA)).audit
    assert found.co_occurrence["BD"]["HG"] == 33
    assert len(found.exact_duplicates.train_test) == 4
