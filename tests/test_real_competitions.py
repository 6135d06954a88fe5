"""Real competition folders, where this machine has them: KIT_DATA names the folder they lie in."""

import os
from pathlib import Path

import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.storage.workspace import Workspace

DATA = Path(os.environ.get("KIT_DATA", "nowhere"))


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"KIT_DATA holds no {name}")


def start(root, name):
    started = pipeline.init(name, workspace=Workspace.open(root, DATA))
    return load_config(started.config), {f.key: f for f in started.findings}


@needs("cse144")
def test_class_folders_with_a_sample_of_crlf(tmp_path):
    config, findings = start(tmp_path, "cse144")
    assert config.competition.train.layout == "class_folders"
    assert config.competition.task == "multiclass"
    assert (
        "100 folders: one class per folder, in natural order" in findings["competition.train.layout"].because
    )
    assert findings["competition.test.ids"].because == "the id is the file's name with its ending"
    assert "holds class names" in findings["submission.kind"].because


@needs("cse144")
def test_the_known_identical_files_are_found(tmp_path):
    config, _ = start(tmp_path, "cse144")
    found = pipeline.inspect(config, workspace=Workspace.open(tmp_path, DATA)).audit
    counts = {name: len(groups) for name, groups in vars(found.exact_duplicates).items()}
    assert counts == {"within_class": 0, "across_classes": 3, "train_test": 8, "test_test": 6}
    assert ["train/37/6.jpg", "test/824.jpg"] in found.exact_duplicates.train_test


@needs("dance8")
def test_labels_csv_without_a_sample(tmp_path):
    config, findings = start(tmp_path, "dance8")
    source = config.competition.train
    assert (source.file, source.id, source.label) == ("dataset/train.csv", "Image", "target")
    assert (config.submission.id, config.submission.label) == ("Image", "target")
    assert findings["submission.id"].because.startswith("no sample file")


@needs("dance8")
def test_near_copies_are_found(tmp_path):
    config, _ = start(tmp_path, "dance8")
    found = pipeline.inspect(config, workspace=Workspace.open(tmp_path, DATA)).audit
    assert len(found.near_duplicates.within_class) > 45
    assert len(found.near_duplicates.train_test) > 35
    assert found.near_duplicates.across_classes == []


@needs("bccd")
def test_boxes_with_sets_become_crops_and_a_held_out_set(tmp_path):
    config, findings = start(tmp_path, "bccd")
    assert config.competition.voc.as_ == "crops"
    assert "BloodImage_00338.xml object 12" in findings["competition.voc.bad_boxes"].because
    folds = pipeline.folds(config, workspace=Workspace.open(tmp_path, DATA)).folds
    assert (folds.table.groupby("group")["fold"].nunique() == 1).all()
    assert len(folds.table) == 3941


@needs("multilabel_qtt")
def test_a_labelled_test_set_beside_an_unlabelled_one(tmp_path):
    config, findings = start(tmp_path, "multilabel_qtt")
    assert config.competition.held_out["test"].folder == "testset"
    assert (config.competition.test.folder, config.competition.test.file) == ("test", None)
    assert "test.csv cannot be read" in findings["competition.test.ids"].because
    found = pipeline.inspect(config, workspace=Workspace.open(tmp_path, DATA)).audit
    assert found.co_occurrence["BD"]["HG"] == 33
    assert len(found.exact_duplicates.train_test) == 4
