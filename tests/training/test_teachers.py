"""Pseudo-labels and distillation: what a fold learns from models that never saw its validation images."""

import shutil

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.inference.teachers import write_teacher_predictions
from kit.predictions import load_oof
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT
from kit.storage.files import read_json
from kit.tasks import tasks
from kit.training.data import prepare
from kit.training.pseudo_labels import confident
from kit.training.teachers import TRAINED, VALIDATED, read_teacher, teacher_uses
from tests.conftest import RecordedProgress, raises_kit_error, write_config


def student(workspace, name="student", **changes):
    return load_config(write_config(workspace, name=name, **changes))


def train(workspace, config, **options):
    progress = RecordedProgress()
    pipeline.train(config, workspace=workspace, progress=progress, **options)
    return progress


# --- choosing images


PROBS = np.array([[0.95, 0.03, 0.02], [0.5, 0.3, 0.2], [0.02, 0.97, 0.01], [0.91, 0.05, 0.04]])


def test_an_image_is_used_if_its_class_is_probable_enough():
    assert confident(PROBS, tasks.get("multiclass"), 0.9).tolist() == [0, 2, 3]
    assert confident(PROBS, tasks.get("multiclass"), 0.0).tolist() == [0, 1, 2, 3]


def test_the_most_confident_images_of_each_class_are_used():
    assert confident(PROBS, tasks.get("multiclass"), 0.4, per_class=1).tolist() == [0, 2]


def test_with_several_classes_every_class_must_be_certain_and_no_class_counts_as_one():
    probs = np.array([[0.95, 0.02], [0.95, 0.5], [0.01, 0.03], [0.02, 0.02], [0.97, 0.96]])
    multilabel = tasks.get("multilabel")
    assert confident(probs, multilabel, 0.9).tolist() == [0, 2, 3, 4]
    assert confident(probs, multilabel, 0.9, per_class=1).tolist() == [3, 4]


# --- predictions of teachers


@pytest.fixture(scope="module")
def taught(trained, tmp_path_factory):
    """A copy of the trained workspace with a student of pseudo-labels (from a) and of a teacher (b)."""
    from kit.storage.workspace import Workspace

    root = tmp_path_factory.mktemp("taught") / "copy"
    shutil.copytree(trained.root, root)
    workspace = Workspace.open(root)
    config = student(
        workspace,
        train__pseudo_labels={"from": "a", "confidence": 0.4},
        train__teacher={"from": "b", "temperature": 3.0},
    )
    progress = train(workspace, config)
    pipeline.predict("student", workspace=workspace)
    return workspace, config, progress


def test_the_teacher_of_a_fold_is_the_other_experiments_model_of_that_fold(taught):
    workspace, config, _ = taught
    run, oof = workspace.run("tiny", "student"), load_oof(workspace.run("tiny", "a"))
    folds = pd.read_csv(workspace.folds("tiny"), dtype=str).set_index("id")["fold"]
    pseudo, _ = teacher_uses(config)
    for k in (0, 1):
        found = read_teacher(pseudo, run, k)
        validated = {
            i.removeprefix(VALIDATED): p
            for i, p in zip(found.ids, found.probs, strict=True)
            if i.startswith(VALIDATED)
        }
        assert set(validated) == set(folds[folds == str(k)].index)
        expected = oof.of_ids(list(validated))
        assert np.allclose(np.array(list(validated.values())), expected.probs, atol=1e-6)


def test_a_teacher_predicts_only_training_images_of_its_fold(taught):
    workspace, config, _ = taught
    folds = pd.read_csv(workspace.folds("tiny"), dtype=str).set_index("id")["fold"]
    _, teacher = teacher_uses(config)
    for k in (0, 1):
        found = read_teacher(teacher, workspace.run("tiny", "student"), k)
        trained_on = {i.removeprefix(TRAINED) for i in found.ids if i.startswith(TRAINED)}
        assert trained_on == set(folds[folds != str(k)].index)


def test_a_fold_records_what_it_added_and_from_which_predictions(taught):
    workspace, config, progress = taught
    run = workspace.run("tiny", "student")
    for k in (0, 1):
        done = read_json(run.fold(k).done)
        added = done["pseudo_labels"]
        assert added["added"] == sum(n for n, _, _ in added["classes"].values()) > 0
        assert added["candidates"] == 8
        uses = {use.name: read_teacher(use, run, k).digest() for use in teacher_uses(config)}
        assert uses.items() <= done["provenance"]["inputs"].items()
    assert "labeled by a" in progress


def teach(workspace, config, folds=(0,)):
    data = prepare(config, workspace)
    write_teacher_predictions(config, workspace, data, folds, SILENT, Deadline())
    (use,) = teacher_uses(config)
    return workspace.run("tiny", config.name).teacher(use.name, folds[0])


def test_only_damaged_or_missing_predictions_of_teachers_are_made_again(taught):
    workspace, _, _ = taught
    config = student(workspace, "again", train__teacher={"from": "b"})
    file = teach(workspace, config)
    whole, made = file.read_bytes(), file.stat().st_mtime_ns
    teach(workspace, config)
    assert file.stat().st_mtime_ns == made
    file.write_bytes(whole[:100])
    teach(workspace, config)
    assert file.read_bytes() == whole


def test_a_blend_teaches_with_the_mean_of_its_experiments(taught):
    workspace, _, _ = taught
    pipeline.blend(["a", "b"], name="ab", method="power", workspace=workspace)
    probs = {}
    for name in ("a", "b", "ab"):
        config = student(workspace, f"of-{name}", train__teacher={"from": name})
        teach(workspace, config)
        probs[name] = read_teacher(teacher_uses(config)[0], workspace.run("tiny", config.name), 0).probs
    assert np.allclose(probs["ab"], (probs["a"] + probs["b"]) / 2, atol=1e-6)


# --- what is refused


def test_a_teacher_must_exist(taught):
    workspace, _, _ = taught
    with raises_kit_error("run_not_found"):
        train(workspace, student(workspace, "other", train__teacher={"from": "nothing"}))


def test_an_experiment_cannot_teach_itself(taught):
    workspace, _, _ = taught
    with raises_kit_error("teacher_is_student"):
        train(workspace, student(workspace, "a", train__teacher={"from": "a"}), fresh=True)


def test_a_teacher_of_other_folds_is_refused(trained_copy):
    folds = trained_copy.folds("tiny")
    table = pd.read_csv(folds, dtype=str)
    table["fold"] = table["fold"].map({"0": "1", "1": "0"})
    table.to_csv(folds, index=False)
    with raises_kit_error("folds_differ"):
        train(trained_copy, student(trained_copy, train__teacher={"from": "a"}))


def test_training_without_the_predictions_of_the_teacher_is_refused(trained_copy):
    from kit.training import experiment

    with raises_kit_error("predictions_missing"):
        experiment.train(student(trained_copy, train__teacher={"from": "a"}), trained_copy)
