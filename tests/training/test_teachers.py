"""Pseudo-labels and distillation: what a fold learns from models that never saw its validation images."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from kit import pipeline
from kit.config import Component, NearConfig, PseudoLabelsConfig, TeacherConfig
from kit.config.load import load_config
from kit.engine.data.datasets import ImageSet
from kit.engine.fit.components import TrainingObjective
from kit.engine.fit.trainer import RetryState
from kit.engine.fit.validate_config import check_recipe
from kit.engine.optim.distillation import with_teacher
from kit.engine.optim.target_scale import TargetScale
from kit.inference.teachers import write_teacher_predictions
from kit.predictions import load_oof
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT
from kit.status.chain import chain_of
from kit.storage.files import read_json
from kit.tasks import tasks
from kit.training.data import image_set, image_store, prepare
from kit.training.fold import FoldRunner
from kit.training.pseudo_labels import confident
from kit.training.teachers import TRAINED, VALIDATED, read_teacher, teacher_uses
from kit.training.trained_folds import training_digest
from kit.training.training_images import TrainingImages
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
    for damaged in (whole[:100], whole[:200] + bytes(100) + whole[300:]):
        file.write_bytes(damaged)
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


def test_without_images_to_label_pseudo_labels_are_refused(trained_copy):
    with raises_kit_error("no_unlabeled_images"):
        pseudo = {"from": "a", "images": "unlabelled"}
        train(trained_copy, student(trained_copy, train__pseudo_labels=pseudo))


@pytest.mark.parametrize(
    ("changes", "task", "metric", "code"),
    [
        ({"train__pseudo_labels": {"from": "a"}}, "regression", "rmse", "pseudo_labels_unsuitable"),
        ({"predict__knn": {}}, "regression", "rmse", "knn_unsuitable"),
        ({"model__classifier": "arcface"}, "multilabel", "f1_macro", "classifier_unsuitable"),
    ],
)
def test_what_does_not_suit_the_task_is_refused(tiny, changes, task, metric, code):
    config = load_config(write_config(tiny, **changes))
    update = {"task": task, "metric": Component(name=metric)}
    other = config.competition.model_copy(update=update)
    with raises_kit_error(code):
        check_recipe(config.model_copy(update={"competition": other}), tiny)


# --- when a teacher changes


@pytest.mark.slow
def test_a_teacher_that_is_trained_again_makes_its_students_stale(trained_copy):
    config = student(trained_copy, train__teacher={"from": "a"})
    train(trained_copy, config, folds=[0])
    teacher = load_config(trained_copy.run("tiny", "a").config, ["train.epochs=1"])
    pipeline.train(teacher, fresh=True, workspace=trained_copy)
    run = trained_copy.run("tiny", "student")
    with raises_kit_error("teacher_changed"):
        train(trained_copy, config)
    states = {link.artifact: link.state for link in chain_of(run, trained_copy, None)}
    assert states["fold 0"] == "stale"
    train(trained_copy, config, fresh=True)
    states = {link.artifact: link.state for link in chain_of(run, trained_copy, None)}
    assert states["fold 0"] == states["fold 1"] == "up to date"


def test_a_fold_that_was_interrupted_starts_anew_if_its_labels_have_changed(tiny):
    config = load_config(write_config(tiny, train__epochs=3, checkpoint__every_minutes=0.0001))
    data = prepare(config, tiny)
    mask = data.folds.training(data.samples, 0)

    def resumed_epochs(targets):
        images = replace(image_set(data, mask), targets=targets)
        store = image_store(config, tiny, data)
        runner = FoldRunner(config, tiny, data, tiny.run("tiny", "tiny-cnn"), store, SILENT)
        runner.prepared[0] = TrainingImages(images)
        trainer = runner.trainer(0, RetryState())
        if trainer.state.epoch == 0:
            trainer.train_epoch(SILENT, "")
            trainer._validate_epoch(SILENT, "")
            trainer._save()
        return trainer.state.epoch, trainer.is_outdated

    labels = image_set(data, mask).targets
    assert resumed_epochs(labels) == (1, False)
    assert resumed_epochs(labels) == (1, False)
    changed = np.concatenate([[labels[0] + 1], labels[1:]])
    assert resumed_epochs(changed) == (1, True)


def test_what_chooses_unlabeled_images_belongs_to_the_training_of_a_student(tiny_config):
    near = tiny_config.competition.model_copy(update={"near": NearConfig(distance=3)})
    other = tiny_config.model_copy(update={"competition": near})
    assert training_digest(tiny_config) == training_digest(other)
    pseudo = tiny_config.train.model_copy(update={"pseudo_labels": PseudoLabelsConfig(from_="a")})
    assert training_digest(tiny_config.model_copy(update={"train": pseudo})) != training_digest(
        other.model_copy(update={"train": pseudo})
    )


def test_a_student_is_scored_without_its_teachers(taught):
    workspace, _, _ = taught
    before = pipeline.evaluate("student", workspace=workspace)
    assert [m.role for m in before.taught.models] == [
        "student",
        "train.pseudo_labels.from",
        "train.teacher.from",
    ]
    for name in ("a", "b"):
        workspace.run("tiny", name).path.rename(workspace.root / name)
    try:
        after = pipeline.evaluate("student", workspace=workspace)
        assert after.cv == before.cv
        assert [m.role for m in after.taught.models] == ["student"]
    finally:
        for name in ("a", "b"):
            (workspace.root / name).rename(workspace.run("tiny", name).path)


# --- the loss


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_loss_of_a_teacher_is_zero_for_its_own_probabilities_and_has_hintons_gradient(task):
    torch.manual_seed(0)
    theirs = torch.randn(4, 3)
    logits = theirs.clone().requires_grad_()
    activation = torch.softmax(theirs, 1) if task == "multiclass" else torch.sigmoid(theirs)
    teacher = TeacherConfig(from_="a", temperature=3.0, weight=1.0)
    loss = with_teacher(lambda *_: torch.zeros(()), tasks.get(task), teacher)
    value = loss(logits, torch.cat([torch.zeros(4, 3), activation], dim=1))
    assert value.item() == pytest.approx(0.0, abs=1e-5)
    value.backward()
    assert logits.grad.abs().max() < 1e-4
    if task == "multiclass":
        moved = (theirs + 1.0 * torch.eye(4, 3)).requires_grad_()
        loss(moved, torch.cat([torch.zeros(4, 3), activation], dim=1)).backward()
        expected = 3.0 * (torch.softmax(moved / 3, 1) - torch.softmax(theirs / 3, 1)) / 4
        assert torch.allclose(moved.grad, expected, atol=1e-5)


def test_labels_and_teacher_share_the_loss_by_weight():
    teacher = TeacherConfig(from_="a", weight=0.25)
    loss = with_teacher(
        lambda logits, targets: (logits - targets).abs().mean(), tasks.get("regression"), teacher
    )
    value = loss(torch.tensor([[1.0]]), torch.tensor([[3.0, 0.0]]))
    assert value.item() == pytest.approx(0.75 * 2 + 0.25 * 1)


def test_a_bounded_loss_gets_the_teachers_numbers_within_the_range_of_the_training_numbers():
    images = ImageSet(["x", "y"], [], np.array([[1.0], [3.0]]), teacher=np.array([[0.0], [9.0]]))
    for bounded, expected in ((True, [[0.0, 0.0], [1.0, 1.0]]), (False, [[-1.0, -2.0], [1.0, 7.0]])):
        scale = TargetScale.fitted(np.array([[1.0], [3.0]]), bounded)
        objective = TrainingObjective(tasks.get("regression"), 1, None, None, scale)
        assert objective.targets(images).tolist() == expected
