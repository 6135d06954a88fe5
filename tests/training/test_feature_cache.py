"""Training only the head: each image runs through the network once, with the same results."""

from collections import Counter

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from kit import pipeline
from kit.config import Component
from kit.config.load import load_config
from kit.engine.device.amp import Amp
from kit.engine.fit.frozen_features import FeatureModel, HeadClassifier, MultiHeadClassifier, why_not_split
from kit.engine.fit.trainer import RetryState
from kit.engine.models.build import build_model
from kit.inference import fold_models
from kit.inference.experiment_models import open_models
from kit.inference.predict import predict
from kit.predictions import Origin, load_oof, load_test
from kit.storage.workspace import RunFolder
from kit.training import experiment
from kit.training.data import image_store, prepare
from kit.training.fold import FoldRunner, sized_prediction_transform
from tests.conftest import RecordedProgress, draw, draw_class_folders, write_config

MODEL = "test_resnet"
SAMPLES = 30


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of pretrained weights."""
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(MODEL).state_dict(), path)
    return path


@pytest.fixture
def workspace(workspace, weights):
    draw_class_folders(workspace.root / "data" / "tiny")
    return workspace


def config(workspace, weights, *overrides, name="a"):
    values = [f"name={name}", f"model={{name: {MODEL}, weights: {weights}, trains: head}}", "image.size=32"]
    return load_config(write_config(workspace), [*values, *overrides])


@pytest.fixture
def counted(monkeypatch):
    """Count the images that run through the network before its head."""
    counts: Counter[str] = Counter()
    plain = FeatureModel.forward

    def counting(self, images):
        counts["features"] += len(images)
        return plain(self, images)

    monkeypatch.setattr(FeatureModel, "forward", counting)
    # Their trial runs also call the network.
    monkeypatch.setattr("kit.training.feature_cache.why_not_cached", lambda *_: "")
    monkeypatch.setattr("kit.engine.fit.frozen_features.why_not_split", lambda *_: "")
    monkeypatch.setattr("kit.engine.models.fold_norms.with_folded_norms", lambda model: model)
    return counts


@pytest.mark.parametrize(
    ("views", "passes"),
    [(2, 3), pytest.param(0, 1, marks=pytest.mark.slow), pytest.param(99, 5, marks=pytest.mark.slow)],
)
def test_each_variation_runs_through_the_network_once_for_all_folds_and_epochs(
    workspace, weights, counted, views, passes
):
    wanted = [f"augment.views={views}", "train.epochs=4"]
    experiment.train(config(workspace, weights, *wanted), workspace)
    assert counted["features"] == SAMPLES * passes
    experiment.train(config(workspace, weights, *wanted, "train.lr=0.02", name="b"), workspace)
    assert counted["features"] == SAMPLES * passes  # another experiment, the same images and network


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("seed=1", 3),
        pytest.param("augment.preset=heavy", 4, marks=pytest.mark.slow),
        pytest.param("image.mean=[0.1, 0.1, 0.1]", 4, marks=pytest.mark.slow),
        pytest.param("model.pool=max", 4, marks=pytest.mark.slow),
    ],
)
def test_features_are_computed_again_if_anything_they_depend_on_changes(
    workspace, weights, counted, changed, again
):
    experiment.train(config(workspace, weights), workspace, only=[0])
    first = counted["features"]
    assert first == 4 * SAMPLES  # without augmentation, and three variations
    experiment.train(config(workspace, weights, changed, name="b"), workspace, only=[0])
    assert counted["features"] == first + again * SAMPLES


def test_features_of_another_format_are_computed_again(workspace, weights, counted, monkeypatch):
    experiment.train(config(workspace, weights), workspace, only=[0])
    first = counted["features"]
    monkeypatch.setattr("kit.engine.fit.frozen_features.FORMAT", "another")
    experiment.train(config(workspace, weights, name="b"), workspace, only=[0])
    assert counted["features"] == 2 * first


def test_training_on_features_equals_training_on_images_without_augmentation(workspace, weights):
    plain = ["augment={preset: none, hflip: false}", "train.epochs=6"]
    on_features = pipeline.run(config(workspace, weights, *plain), workspace=workspace).run
    progress = RecordedProgress()
    wanted = config(workspace, weights, *plain, "augment.views=null", name="b")
    on_images = pipeline.run(wanted, workspace=workspace, progress=progress).run
    assert "augment.views is null" in progress
    ours, theirs = load_oof(on_features), load_oof(on_images)
    np.testing.assert_allclose(ours.probs, theirs.probs, atol=1e-4)
    assert ours.probs.std() > 0.01


def test_validation_images_are_predicted_from_the_features_of_training(workspace, weights, counted):
    done = experiment.train(config(workspace, weights), workspace)
    trained = counted["features"]
    progress = RecordedProgress()
    predict(done, workspace, progress=progress)
    assert counted["features"] == trained + 8  # the test images, once for all folds
    from_features = load_oof(done)
    for file in workspace.cache("tiny").glob("*"):
        file.unlink()
    same = load_config(done.config)
    models = open_models(same, done, workspace, prepare(same, workspace), progress)
    view = (Component(name="identity"),)
    from_images, _ = models.predict_oof([view, (Component(name="hflip"),)], from_features.origin)
    assert from_features.ids == from_images.oof.ids
    np.testing.assert_allclose(from_features.probs, from_images.oof.probs, atol=1e-4)
    assert from_features.probs.std() > 0.01


def test_finished_variations_survive_an_interruption(workspace, weights, monkeypatch):
    from kit.engine.fit.frozen_features import FeatureExtractor

    plain, calls = FeatureExtractor.features, []

    def interrupted(self, images, view, seed, number, *rest):
        calls.append(number)
        if calls == [0, 1, 2]:
            raise KeyboardInterrupt
        return plain(self, images, view, seed, number, *rest)

    monkeypatch.setattr(FeatureExtractor, "features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config(workspace, weights), workspace)
    experiment.train(config(workspace, weights), workspace)
    assert calls == [0, 1, 2, 2, 3]


def test_truncated_features_are_computed_again(workspace, weights, counted):
    experiment.train(config(workspace, weights), workspace, only=[0])
    before = counted["features"]
    for file in sorted(workspace.cache("tiny").glob("*.features.npy"))[:2]:
        file.write_bytes(file.read_bytes()[:200])
    experiment.train(config(workspace, weights, name="b"), workspace, only=[0])
    assert counted["features"] == before + 2 * SAMPLES


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x93NUMPY\x01\x00\x05\x00{'a'(",
        *(pytest.param(d, marks=pytest.mark.slow) for d in (b"", b"PK\x03\x04")),
    ],
)
def test_a_damaged_features_file_is_computed_again(workspace, weights, counted, damaged):
    experiment.train(config(workspace, weights), workspace, only=[0])
    before = counted["features"]
    next(workspace.cache("tiny").glob("*.features.npy")).write_bytes(damaged)
    experiment.train(config(workspace, weights, name="b"), workspace, only=[0])
    assert counted["features"] == before + SAMPLES


def test_features_with_missing_rows_are_computed_again(workspace, weights, counted):
    experiment.train(config(workspace, weights), workspace, only=[0])
    before = counted["features"]
    file = next(workspace.cache("tiny").glob("*.features.npy"))
    np.save(file, np.load(file)[: SAMPLES // 2])
    experiment.train(config(workspace, weights, name="b"), workspace, only=[0])
    assert counted["features"] == before + SAMPLES


def test_finished_parts_survive_an_interruption(workspace, weights, counted, monkeypatch):
    expected = pipeline.run(config(workspace, weights, "augment.views=1"), workspace=workspace).run
    (workspace.root / "runs").rename(workspace.root / "before")
    monkeypatch.setattr("kit.training.feature_cache.PART_SIZE", 8)
    wanted, plain = config(workspace, weights, "augment.views=1"), FeatureModel.forward

    def interrupted(self, images):
        if counted["features"] == counted["stop"]:
            raise KeyboardInterrupt
        return plain(self, images)

    counted["stop"] = counted["features"] + SAMPLES + 16  # in the third part of the second variation
    monkeypatch.setattr(FeatureModel, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(wanted, workspace)
    kept = [file.name for file in workspace.cache("tiny").glob("*.features.npy")]
    assert len(kept) == 1 + 2
    assert sum("-part-" in name for name in kept) == 2
    monkeypatch.setattr(FeatureModel, "forward", plain)
    before = counted["features"]
    experiment.train(wanted, workspace)
    assert counted["features"] - before == SAMPLES - 16
    assert not list(workspace.cache("tiny").glob("*-part-*"))
    ours = load_oof(pipeline.run(wanted, workspace=workspace).run)
    theirs = load_oof(
        RunFolder(workspace.root / "before" / expected.path.relative_to(workspace.root / "runs"))
    )
    np.testing.assert_allclose(ours.probs, theirs.probs, atol=1e-6)


def test_cached_features_are_memory_mapped(workspace, weights):
    wanted = config(workspace, weights)
    data, run = prepare(wanted, workspace), workspace.run("tiny", "a")
    runner = FoldRunner(
        wanted, workspace, data, run, image_store(wanted, workspace, data), RecordedProgress()
    )
    for _ in range(2):  # computed, then read
        runner.features.clear()
        runner.trainer(0, RetryState())
        assert len(runner.features) == 4
        assert all(isinstance(features, np.memmap) for features in runner.features.values())


@pytest.mark.parametrize("cache", ["none", pytest.param("1MB", marks=pytest.mark.slow)])
def test_features_beyond_the_cache_limit_are_computed_once_and_not_stored(
    workspace, weights, counted, monkeypatch, cache
):
    monkeypatch.setattr("kit.engine.data.cache.UNITS", {"MB": 1, "GB": 1})
    experiment.train(config(workspace, weights, f"image.cache={cache}"), workspace)
    assert not list(workspace.cache("tiny").glob("*.features.npy"))
    assert counted["features"] == 4 * SAMPLES  # for both folds


def test_a_full_disk_stops_caching_features_only(workspace, weights, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    progress = RecordedProgress()
    run = experiment.train(config(workspace, weights), workspace, progress=progress)
    assert "features cannot be cached" in progress
    assert "No space left on device" in progress
    assert run.fold(1).done.exists()


def test_feature_extraction_halves_the_batch_on_out_of_memory(workspace, weights, monkeypatch):
    plain, largest = FeatureModel.forward, []

    def narrow(self, images):
        if len(images) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        largest.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(FeatureModel, "forward", narrow)
    progress = RecordedProgress()
    run = experiment.train(config(workspace, weights), workspace, progress=progress)
    assert max(largest) == 8
    assert "out of memory with a micro-batch of 16 images: continuing with 8" in progress
    assert not run.memory.exists()  # the head's own steps fit


def test_norms_in_a_head_allow_shared_features_and_are_not_changed_by_the_trial(workspace, weights, counted):
    normed = ["model.head=[8, batch_norm, relu]", "augment.views=1"]
    experiment.train(config(workspace, weights, *normed), workspace)
    assert counted["features"] == 2 * SAMPLES
    model = classifier(MODEL, head=[8, "batch_norm", "relu"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert why_not_split(model) == ""
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["augment.mixup=0.2"], "MixUp or CutMix"),
        (["image.size_by_epoch={1: 32, 2: 48}"], "image.size_by_epoch is set"),
        (["model.pretrained=false", "model.weights=null"], "folds do not share the weights before the head"),
    ],
)
def test_uncacheable_features_give_a_note_with_the_reason(workspace, weights, overrides, why):
    progress = RecordedProgress()
    experiment.train(config(workspace, weights, *overrides), workspace, only=[0], progress=progress)
    assert f"features cannot be cached, every epoch runs the whole network: {why}" in progress


def classifier(name, head=(), **options):
    from kit.config import ImageConfig, ModelConfig

    model_config = ModelConfig(name=name, pretrained=False, options=options, head=list(head))
    return build_model(model_config, ImageConfig(size=64), 5)[0]


@pytest.mark.parametrize("name", [MODEL, "test_vit", "torchvision:squeezenet1_1", "torchvision:mobilenet_v2"])
def test_body_and_head_together_equal_the_whole_network(name):
    model = classifier(name).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    reason = why_not_split(model)
    if name == "torchvision:squeezenet1_1":
        assert reason == "its head is not its last module"  # a convolution, then the pooling
        return
    assert reason == ""
    with torch.no_grad():
        torch.testing.assert_close(HeadClassifier(model)(FeatureModel(model)(images)), model(images))
    assert set(HeadClassifier(model).state_dict()) == set(model.state_dict())


def test_a_network_with_dropout_before_its_head_is_not_split():
    assert why_not_split(classifier("test_vit", proj_drop_rate=0.5)) == "it has dropout before its head"


# --- prediction with a network that all folds share


def test_multi_head_classifier_equals_the_single_classifiers():
    first, second = classifier(MODEL).eval(), classifier(MODEL).eval()
    second.backbone.load_state_dict(
        first.backbone.state_dict() | {"fc.weight": torch.randn(5, first.backbone.fc.in_features)}
    )
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    assert MultiHeadClassifier.is_possible([first, second])
    with torch.no_grad():
        logits = torch.stack([first(images), second(images)])
        torch.testing.assert_close(MultiHeadClassifier([first, second]).eval()(images), logits)
    assert not torch.allclose(logits[0], logits[1], atol=0.1)


def test_folds_with_a_shared_network_predict_in_one_pass_with_equal_results(workspace, weights, monkeypatch):
    heads = ["model.head=[8, relu, batch_norm]", "predict.tta=[identity, hflip]", "predict.merge=rank"]
    run = experiment.train(config(workspace, weights, *heads), workspace)
    calls = []
    plain = fold_models.FoldModels._predict_missing
    monkeypatch.setattr(
        fold_models.FoldModels,
        "_predict_missing",
        lambda self, ks, images, view_lists: (
            calls.append((list(ks), len(images))) or plain(self, ks, images, view_lists)
        ),
    )
    predict(run, workspace)
    tests = len(load_test(run).ids)
    assert calls[-1] == ([0, 1], tests)  # the test images once, after each fold's validation rows
    together = load_test(run).probs
    monkeypatch.setattr(fold_models.FoldModels, "_share_backbone", False)
    run.test.unlink()
    predict(run, workspace)
    assert calls[-2:] == [([0], tests), ([1], tests)]
    np.testing.assert_array_equal(load_test(run).probs, together)
    assert together.std() > 0.01


def test_folds_with_different_frozen_networks_do_not_share_a_pass(workspace, weights):
    untrained = ["model.pretrained=false", "model.weights=null"]
    run = experiment.train(config(workspace, weights, *untrained), workspace)
    assert not models_of(run, workspace)._share_backbone


def models_of(run, workspace):
    wanted = load_config(run.config)
    return open_models(wanted, run, workspace, prepare(wanted, workspace), RecordedProgress())


def test_partial_predictions_are_not_computed_again(workspace, weights, counted):
    run = experiment.train(config(workspace, weights), workspace)
    models = models_of(run, workspace)
    assert models._share_backbone
    test = models.data.competition.test
    origin = Origin("test", "multiclass", run.label, "", ("identity",), "", "these")
    before = counted["features"]
    models.predict_samples(test, origin)
    models.predict_samples(test, origin)
    assert counted["features"] == before + len(test)


def test_judging_labels_by_features_does_not_replace_images_that_must_be_augmented(workspace, weights):
    overrides = ["train.relabel={margin: 0.5}", "augment.mixup=0.2", "train.epochs=1"]
    experiment_config = config(workspace, weights, *overrides)
    data = prepare(experiment_config, workspace)
    store = image_store(experiment_config, workspace, data)
    run = workspace.run("tiny", "a")
    runner = FoldRunner(experiment_config, workspace, data, run, store, RecordedProgress())
    assert not isinstance(runner.trainer(0, RetryState()).components.model, HeadClassifier)


def test_features_of_images_without_a_label_are_those_of_their_current_pixels(workspace, weights):
    pipeline.train(config(workspace, weights, name="teacher"), workspace=workspace)
    pseudo = "train.pseudo_labels={from: teacher, confidence: 0.0}"
    student = config(workspace, weights, pseudo, "train.epochs=1", name="student")

    def features_of(name):
        data = prepare(student, workspace)
        store = image_store(student, workspace, data)
        run = workspace.run("tiny", "student")
        runner = FoldRunner(student, workspace, data, run, store, RecordedProgress())
        candidates = runner._preparer.pseudo_labeler.candidates
        model = runner.model(0)
        plain = [sized_prediction_transform(model.preprocessing)]
        found = runner.feature_files(model, Amp(torch.device("cpu"), "fp32"), plain).read(candidates)
        return found.plain[list(found.ids).index(f"new:test/{name}")].copy()

    before = features_of("7.png")
    draw(workspace.root / "data/tiny/test/7.png", (5, 250, 5), seed=1)
    assert not np.allclose(features_of("7.png"), before)
    (workspace.root / "data/tiny/test/6.png").write_bytes(b"no image")
    pipeline.train(student, workspace=workspace)  # an unreadable image is left out
