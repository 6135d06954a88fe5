"""The linear probe: its classifier, the ranking of backbones, their weights files, and the command."""

import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from kit.config.load import load_config
from kit.errors import KitError
from kit.probe import probe as probe_module
from kit.probe.probe import probe, weights_of
from kit.training.data import prepare
from kit.training.linear import C_VALUES, best_strength, fitted_probs
from tests.conftest import raises_kit_error, run_kit, write_config


@pytest.fixture
def features_and_labels():
    """Features (60, 6) and labels of three overlapping classes, and features (30, 6) of other rows; one column is constant."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    rows = rng.normal(size=(90, 6)) + np.eye(6)[labels] * 2
    rows = (rows * [1, 100, 0.01, 1, 1, 1]).astype(np.float32)
    rows[:, 5] = 7
    return rows[:60], labels[:60], rows[60:]


def write_weights(workspace, name, architecture="test_resnet"):
    """Write the weights of a small timm network, initialized with a fixed seed."""
    torch.manual_seed(0)
    path = workspace.root / "weights" / name
    path.parent.mkdir(exist_ok=True)
    save_file(timm.create_model(architecture, pretrained=False).state_dict(), path)


def next_command(text):
    return " ".join(text[text.index("Next:") :].split())


# --- the classifier


def test_probs_agree_with_scikit_learn_logistic_regression_on_standardized_features(features_and_labels):
    rows, labels, other_rows = features_and_labels
    scaler = StandardScaler().fit(rows[:, :5])
    model = LogisticRegression(C=0.03, max_iter=1000).fit(scaler.transform(rows[:, :5]), labels)
    found = fitted_probs(rows, np.eye(3)[labels], other_rows, "class", 0.03)
    np.testing.assert_allclose(found, model.predict_proba(scaler.transform(other_rows[:, :5])), atol=1e-3)


def test_multilabel_probs_agree_with_one_binary_classifier_per_label(features_and_labels):
    rows, labels, other_rows = features_and_labels
    truth = np.stack([labels == 0, labels > 0, labels == 1], axis=1).astype(np.float32)
    found = fitted_probs(rows, truth, other_rows, "classes", 0.03)
    alone = fitted_probs(rows, np.stack([1 - truth[:, 2], truth[:, 2]], axis=1), other_rows, "class", 0.03)
    np.testing.assert_allclose(found[:, 0] + found[:, 1], 1, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], alone[:, 1], atol=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_class_without_rows_gets_a_probability_near_0(features_and_labels, exclusive):
    rows, labels, other_rows = features_and_labels
    found = fitted_probs(rows, np.eye(4)[labels], other_rows, exclusive, 0.03)
    assert found.shape == (30, 4)
    assert (found[:, 3] < 1e-4).all()
    assert (found[:, :3].sum(axis=1) > 0.5).all()


def test_a_label_of_every_row_gets_a_probability_near_1(features_and_labels):
    rows, labels, other_rows = features_and_labels
    truth = np.stack([labels == 0, labels >= 0], axis=1).astype(np.float32)
    assert (fitted_probs(rows, truth, other_rows, "classes", 0.03)[:, 1] > 0.999).all()


def test_noise_features_get_stronger_regularization_than_useful_features(features_and_labels):
    rows, labels, _ = features_and_labels
    noise = np.random.default_rng(1).normal(size=(60, 40)).astype(np.float32)
    assert best_strength(noise, np.eye(3)[labels], "class") == min(C_VALUES)
    assert best_strength(rows, np.eye(3)[labels], "class") > min(C_VALUES)


# --- the probe


def test_each_backbone_has_a_score_speed_and_size(tiny):
    found = probe(load_config(write_config(tiny)), tiny, ["simple_cnn", "residual_cnn"])
    assert {each.model for each in found.models} == {"simple_cnn", "residual_cnn"}
    assert min(each.oof for each in found.models) > 0.5  # chance is 0.33 for three colors
    assert (found.metric, found.higher_is_better, found.images) == ("accuracy", True, 30)
    for each in found.models:
        assert len(each.folds) == 2
        assert each.oof == pytest.approx(np.mean(each.folds), abs=0.02)
        assert each.size == 16
        assert each.strength in C_VALUES
        assert each.images_per_second > 0
        assert each.megabytes == pytest.approx(each.parameters * 4 / 1e6)


@pytest.mark.parametrize(("metric", "higher"), [("accuracy", True), ("log_loss", False)])
def test_the_better_backbone_is_first_for_metrics_of_both_directions(tiny, monkeypatch, metric, higher):
    calls = []

    def constant_for_the_first_model(features, truth, other_rows, exclusive, strength):
        calls.append(strength)
        if len(calls) <= 2:  # the folds of the first model
            return np.tile([0.4, 0.3, 0.3], (len(other_rows), 1))
        return fitted_probs(features, truth, other_rows, exclusive, strength)

    monkeypatch.setattr(probe_module, "fitted_probs", constant_for_the_first_model)
    config = load_config(write_config(tiny, competition__metric=metric))
    found = probe(config, tiny, ["simple_cnn", "residual_cnn"])
    assert found.higher_is_better == higher
    assert [each.model for each in found.models] == ["residual_cnn", "simple_cnn"]


def test_the_score_is_the_metric_of_oof_rows(tiny, monkeypatch):
    """A classifier that memorizes its training rows predicts the second class for every other row."""
    seen = []

    def memorized(features, truth, other_rows, exclusive, strength):
        seen.append({row.tobytes() for row in features})
        known = [row.tobytes() in seen[-1] for row in other_rows]
        return np.stack([known, np.ones(len(other_rows)), np.zeros(len(other_rows))], axis=1).astype(float)

    monkeypatch.setattr(probe_module, "fitted_probs", memorized)
    config = load_config(write_config(tiny, folds__count=3))
    (found,) = probe(config, tiny, ["simple_cnn"]).models
    folds = prepare(config, tiny)
    second = folds.samples["label"] == folds.competition.classes[1]
    assert len(seen) == 3
    assert found.oof == pytest.approx(second.mean())
    assert found.folds == pytest.approx([second[folds.samples["fold"] == k].mean() for k in range(3)])


def test_every_fold_is_fitted_with_the_strength_chosen_on_its_training_rows(tiny, monkeypatch):
    strengths, class_counts = [], []

    def chosen_strength(features, truth, exclusive):
        class_counts.append(truth.sum(axis=0).tolist())
        return [0.3, 0.03, 0.003][len(class_counts) - 1]

    def record_and_fit(features, truth, other_rows, exclusive, strength):
        strengths.append(strength)
        assert truth.sum(axis=0).tolist() == class_counts[-1]
        return fitted_probs(features, truth, other_rows, exclusive, strength)

    monkeypatch.setattr(probe_module, "best_strength", chosen_strength)
    monkeypatch.setattr(probe_module, "fitted_probs", record_and_fit)
    config = load_config(write_config(tiny, folds__count=3))
    (found,) = probe(config, tiny, ["simple_cnn"]).models
    data = prepare(config, tiny)
    assert [sum(counts) for counts in class_counts] == [
        data.folds.training(data.samples, k).sum() for k in range(3)
    ]
    assert strengths == [0.3, 0.03, 0.003]
    assert found.strength == 0.03


def test_held_out_rows_are_neither_fitted_nor_scored(tiny):
    folds = {"scheme": "holdout", "fractions": [0.6, 0.2, 0.2]}
    found = probe(load_config(write_config(tiny, folds=folds)), tiny, ["simple_cnn"])
    assert found.images == 24
    assert len(found.models[0].folds) == 1
    assert found.models[0].oof == pytest.approx(found.models[0].folds[0])


# --- models and their weights files


def test_all_unusable_models_are_reported_together_before_images_are_read(tiny):
    write_weights(tiny, "test_resnet_a.safetensors")
    write_weights(tiny, "test_resnet.b.safetensors")
    config = load_config(write_config(tiny, competition__data="nowhere"))
    models = ["simple_cn", "test_resnet", "simple_cnn=none.pth", "simple_cnn"]
    with pytest.raises(KitError) as caught:
        probe(config, tiny, models)
    text = str(caught.value)
    assert text.startswith("--models: 3 of 4 cannot be probed:")
    assert "there is no model 'simple_cn'" in text
    assert "2 weights files have this name (test_resnet.b.safetensors, test_resnet_a.safetensors)" in text
    assert "--models test_resnet=test_resnet.b.safetensors" in text
    assert "none.pth" in text


def test_a_single_mistake_is_raised_as_its_own_error(tiny):
    with raises_kit_error("unknown_name", where="model.name"):
        probe(load_config(write_config(tiny)), tiny, ["simple_cnn", "simple_cn"])


def test_weights_that_are_missing_and_cannot_be_downloaded_are_refused(tiny):
    with raises_kit_error("weights_unavailable") as caught:
        probe(load_config(write_config(tiny)), tiny, ["simple_cnn", "test_resnet"])
    assert "test_resnet" in str(caught.value)


def test_only_the_weights_file_with_the_name_of_the_model_is_used(tiny):
    write_weights(tiny, "test_resnet_mine.safetensors")
    (tiny.root / "weights" / "test_resnet_notes.txt").touch()
    (tiny.root / "weights" / "test_resnetx.safetensors").touch()
    found = probe(load_config(write_config(tiny, image__size=32)), tiny, ["test_resnet"])
    assert [each.weights for each in found.models] == ["test_resnet_mine.safetensors"]
    assert found.models[0].features > 10


def test_unsuitable_weights_are_reported_before_images_are_read(tiny):
    write_weights(tiny, "own.safetensors")
    config = load_config(write_config(tiny, competition__data="nowhere"))
    models = ["simple_cnn", "simple_cnn=own.safetensors", "test_convnext=own.safetensors"]
    with raises_kit_error("several_mistakes", where="--models") as caught:
        probe(config, tiny, models)
    assert "2 of 3" in caught.value.problem


def test_a_weights_file_in_two_folders_counts_once(tiny):
    write_weights(tiny, "test_resnet_a.safetensors")
    other = tiny.root / "more"
    shutil.copytree(tiny.root / "weights", other)
    two_folders = replace(tiny, weights_roots=(other, *tiny.weights_roots))
    found = probe(load_config(write_config(tiny, image__size=32)), two_folders, ["test_resnet"])
    assert found.models[0].weights == "test_resnet_a.safetensors"


def test_a_weights_file_belongs_to_the_model_with_the_longest_matching_name(tiny):
    write_weights(tiny, "test_resnet_a.safetensors")
    assert weights_of("test_resnet", tiny) == "test_resnet_a.safetensors"
    assert weights_of("convnext_tiny", tiny) is None
    (tiny.root / "weights" / "convnext_tiny_hnf_a.safetensors").touch()
    assert weights_of("convnext_tiny", tiny) is None
    assert weights_of("convnext_tiny_hnf", tiny) == "convnext_tiny_hnf_a.safetensors"


def test_folds_that_the_metric_cannot_score_are_refused_before_features_are_computed(tiny, monkeypatch):
    monkeypatch.setattr(
        "kit.training.feature_cache.FeatureFiles.read", lambda *_: pytest.fail("features were computed")
    )
    config = load_config(write_config(tiny, competition__metric="roc_auc", folds__count=5))
    prepare(config, tiny)
    table = pd.read_csv(tiny.folds("tiny"), dtype={"id": str, "label": str}).sort_values("label")
    table.assign(fold=np.arange(30) // 6).to_csv(tiny.folds("tiny"), index=False)
    with raises_kit_error("metric_not_computable"):
        probe(config, tiny, ["simple_cnn"])


# --- the command


def test_the_command_ends_with_the_next_command(tiny):
    write_weights(tiny, "own.safetensors")
    path = write_config(tiny, image__size=32)
    text = run_kit("probe", path, "--models", "test_resnet=own.safetensors").stdout
    assert "test_resnet" in text
    assert "accuracy" in text
    assert "--set model.name=test_resnet --set model.weights=own.safetensors" in next_command(text)


def test_json_has_the_metric_and_the_models(tiny):
    path = write_config(tiny)
    models = ("--models", "simple_cnn,residual_cnn", "--models", "simple_cnn")
    found = json.loads(run_kit("probe", path, *models, "--json").stdout)
    assert found["metric"] == "accuracy"
    assert sorted(each["model"] for each in found["models"]) == ["residual_cnn", "simple_cnn"]
    first = found["models"][0]
    keys = {"oof", "folds", "images_per_second", "parameters", "megabytes", "size", "licence", "seconds"}
    assert keys <= set(first)
    error = json.loads(run_kit("probe", path, "--models", "simple_cn", "--json", code=1).stdout)
    assert error["error"]["where"] == "model.name"


def test_probe_starts_no_experiment(tiny):
    run_kit("probe", write_config(tiny), "--models", "simple_cnn")
    assert tiny.runs() == []


def test_the_suggested_command_trains_the_probed_model(tiny):
    write_weights(tiny, "own.safetensors")
    path = write_config(tiny, model__pool="max")  # the model of the config has its own options
    text = run_kit("probe", path, "--models", "test_resnet=own.safetensors", "--set", "image.size=32").stdout
    words = shlex.split(next_command(text).removeprefix("Next: "))
    config = load_config(path, [word for word in words if "=" in word])
    assert (config.model.name, config.model.weights, config.image.size) == (
        "test_resnet",
        "own.safetensors",
        32,
    )


def test_the_next_command_removes_theweights_of_the_config_for_another_model(tiny):
    write_weights(tiny, "own.safetensors")
    path = write_config(tiny, model={"name": "test_resnet", "weights": "own.safetensors", "pretrained": True})
    assert "model.weights=null" in next_command(run_kit("probe", path, "--models", "simple_cnn").stdout)


def test_an_empty_list_of_models_is_refused(tiny):
    assert "--models: names no model" in run_kit("probe", write_config(tiny), "--models", ",", code=1).stderr
