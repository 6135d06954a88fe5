"""A head that trains alone: images go through the network once, and what comes of it is the same."""

from collections import Counter

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from kit import pipeline
from kit.config.load import load_config
from kit.engine.fit.frozen_features import FeatureModel, HeadClassifier, ManyHeads, why_not_cut
from kit.engine.fit.trainer import RetryState
from kit.engine.models.build import build_model
from kit.inference import fold_models
from kit.inference.fold_models import open_models
from kit.inference.predict import predict
from kit.predictions import Origin, load_predictions
from kit.training import experiment
from kit.training.data import image_store, prepare
from kit.training.fold import FoldWork
from tests.conftest import Heard, draw_class_folders, write_config

MODEL = "test_resnet"
SAMPLES = 30


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of weights, as pretrained ones come."""
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(MODEL).state_dict(), path)
    return path


@pytest.fixture
def place(workspace, weights):
    draw_class_folders(workspace.root / "data" / "tiny")
    return workspace


def config(place, weights, *overrides, name="a"):
    values = [f"name={name}", f"model={{name: {MODEL}, weights: {weights}, trains: head}}", "image.size=32"]
    return load_config(write_config(place), [*values, *overrides])


@pytest.fixture
def through(monkeypatch):
    """Count the images that go through the network up to its head, by how it was asked."""
    seen: Counter[str] = Counter()
    plain = FeatureModel.forward

    def counting(self, images):
        seen["features"] += len(images)
        return plain(self, images)

    monkeypatch.setattr(FeatureModel, "forward", counting)
    # Their trials go through it, too.
    monkeypatch.setattr("kit.training.feature_cache.why_not", lambda *_: "")
    monkeypatch.setattr("kit.engine.models.fold_norms.with_folded_norms", lambda model: model)
    return seen


@pytest.mark.parametrize(("views", "passes"), [(2, 3), (0, 1), pytest.param(99, 5, marks=pytest.mark.slow)])
def test_each_view_of_an_image_goes_through_the_network_once_for_all_folds_and_epochs(
    place, weights, through, views, passes
):
    wanted = [f"augment.views={views}", "train.epochs=4"]
    experiment.train(config(place, weights, *wanted), place)
    assert through["features"] == SAMPLES * passes
    experiment.train(config(place, weights, *wanted, "train.lr=0.02", name="b"), place)
    assert through["features"] == SAMPLES * passes  # another experiment, the same images and network


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("seed=1", 3),
        ("augment.preset=heavy", 4),
        pytest.param("image.mean=[0.1, 0.1, 0.1]", 4, marks=pytest.mark.slow),
        pytest.param("model.pool=max", 4, marks=pytest.mark.slow),
    ],
)
def test_features_are_made_anew_where_anything_they_depend_on_differs(
    place, weights, through, changed, again
):
    experiment.train(config(place, weights), place, only=[0])
    first = through["features"]
    assert first == 4 * SAMPLES  # as predicted, and three variations
    experiment.train(config(place, weights, changed, name="b"), place, only=[0])
    assert through["features"] == first + again * SAMPLES


def test_features_that_an_earlier_kit_took_another_way_are_made_anew(place, weights, through, monkeypatch):
    experiment.train(config(place, weights), place, only=[0])
    first = through["features"]
    monkeypatch.setattr("kit.engine.fit.frozen_features.FORMAT", "another")
    experiment.train(config(place, weights, name="b"), place, only=[0])
    assert through["features"] == 2 * first


def test_training_on_features_is_training_on_images_that_do_not_vary(place, weights):
    plain = ["augment={preset: none, hflip: false}", "train.epochs=6"]
    on_features = pipeline.run(config(place, weights, *plain), workspace=place).run
    heard = Heard()
    wanted = config(place, weights, *plain, "augment.views=null", name="b")
    on_images = pipeline.run(wanted, workspace=place, progress=heard).run
    assert "augment.views is null" in heard
    ours, theirs = load_predictions(on_features.oof), load_predictions(on_images.oof)
    np.testing.assert_allclose(ours.probs, theirs.probs, atol=1e-4)
    assert ours.probs.std() > 0.01


def test_what_is_done_is_kept_view_by_view(place, weights, monkeypatch):
    from kit.engine.fit.frozen_features import Extractor

    plain, asked = Extractor.features, []

    def interrupted(self, images, view, seed, number, *rest):
        asked.append(number)
        if asked == [0, 1, 2]:
            raise KeyboardInterrupt
        return plain(self, images, view, seed, number, *rest)

    monkeypatch.setattr(Extractor, "features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config(place, weights), place)
    experiment.train(config(place, weights), place)
    assert asked == [0, 1, 2, 2, 3]


def test_features_that_were_cut_are_made_anew(place, weights, through):
    experiment.train(config(place, weights), place, only=[0])
    before = through["features"]
    for file in sorted(place.cache("tiny").glob("*.features.npy"))[:2]:
        file.write_bytes(file.read_bytes()[:200])
    experiment.train(config(place, weights, name="b"), place, only=[0])
    assert through["features"] == before + 2 * SAMPLES


@pytest.mark.parametrize("damaged", [b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00\x05\x00{'a'(", b""])
def test_a_damaged_file_of_features_is_made_anew(place, weights, through, damaged):
    experiment.train(config(place, weights), place, only=[0])
    before = through["features"]
    next(place.cache("tiny").glob("*.features.npy")).write_bytes(damaged)
    experiment.train(config(place, weights, name="b"), place, only=[0])
    assert through["features"] == before + SAMPLES


def test_features_of_fewer_images_than_there_are_are_made_anew(place, weights, through):
    experiment.train(config(place, weights), place, only=[0])
    before = through["features"]
    file = next(place.cache("tiny").glob("*.features.npy"))
    np.save(file, np.load(file)[: SAMPLES // 2])
    experiment.train(config(place, weights, name="b"), place, only=[0])
    assert through["features"] == before + SAMPLES


def test_of_many_images_what_is_done_is_kept_part_by_part(place, weights, through, monkeypatch):
    expected = pipeline.run(config(place, weights, "augment.views=1"), workspace=place).run
    (place.root / "runs").rename(place.root / "before")
    monkeypatch.setattr("kit.training.feature_cache.AT_A_TIME", 8)
    wanted, plain = config(place, weights, "augment.views=1"), FeatureModel.forward

    def interrupted(self, images):
        if through["features"] == through["stop"]:
            raise KeyboardInterrupt
        return plain(self, images)

    through["stop"] = through["features"] + SAMPLES + 16  # in the second view's third part
    monkeypatch.setattr(FeatureModel, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(wanted, place)
    kept = [file.name for file in place.cache("tiny").glob("*.features.npy")]
    assert len(kept) == 1 + 2
    assert sum("-part-" in name for name in kept) == 2
    monkeypatch.setattr(FeatureModel, "forward", plain)
    before = through["features"]
    experiment.train(wanted, place)
    assert through["features"] - before == SAMPLES - 16
    assert not list(place.cache("tiny").glob("*-part-*"))
    ours = load_predictions(pipeline.run(wanted, workspace=place).run.oof)
    theirs = load_predictions(place.root / "before" / expected.oof.relative_to(place.root / "runs"))
    np.testing.assert_allclose(ours.probs, theirs.probs, atol=1e-6)


def test_what_is_kept_of_features_takes_no_memory(place, weights):
    wanted = config(place, weights)
    data, run = prepare(wanted, place), place.run("tiny", "a")
    work = FoldWork(wanted, place, data, run, image_store(wanted, place, data), Heard())
    for _ in range(2):  # computed, then found
        work.features.clear()
        work.trainer(0, RetryState())
        assert len(work.features) == 4
        assert all(isinstance(features, np.memmap) for features in work.features.values())


@pytest.mark.parametrize("cache", ["none", "1MB"])
def test_features_take_no_more_room_than_images_may_and_are_computed_once_all_the_same(
    place, weights, through, monkeypatch, cache
):
    monkeypatch.setattr("kit.engine.data.cache.UNITS", {"MB": 1, "GB": 1})
    experiment.train(config(place, weights, f"image.cache={cache}"), place)
    assert not list(place.cache("tiny").glob("*.features.npy"))
    assert through["features"] == 4 * SAMPLES  # for both folds


def test_a_full_disk_ends_the_keeping_of_features_and_not_the_training(place, weights, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    heard = Heard()
    run = experiment.train(config(place, weights), place, progress=heard)
    assert "features cannot be kept" in heard
    assert "No space left on device" in heard
    assert run.fold(1).done.exists()


def test_features_are_taken_of_as_many_images_at_once_as_fit(place, weights, monkeypatch):
    plain, largest = FeatureModel.forward, []

    def narrow(self, images):
        if len(images) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        largest.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(FeatureModel, "forward", narrow)
    heard = Heard()
    run = experiment.train(config(place, weights), place, progress=heard)
    assert max(largest) == 8
    assert "out of memory with a micro-batch of 16 images: 8 from here on" in heard
    assert not run.memory.exists()  # the head's own steps fit


def test_norms_in_a_head_neither_keep_folds_from_sharing_features_nor_see_the_trial(place, weights, through):
    normed = ["model.head=[8, batch_norm, relu]", "augment.views=1"]
    experiment.train(config(place, weights, *normed), place)
    assert through["features"] == 2 * SAMPLES
    model = cut(MODEL, head=[8, "batch_norm", "relu"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert why_not_cut(model) == ""
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["augment.mixup=0.2"], "batches are mixed"),
        (["image.size_by_epoch={1: 32, 2: 48}"], "images grow with the epochs"),
        (["model.pretrained=false", "model.weights=null"], "folds do not share what lies before the head"),
    ],
)
def test_where_features_cannot_stand_for_images_it_says_why_and_trains(place, weights, overrides, why):
    heard = Heard()
    experiment.train(config(place, weights, *overrides), place, only=[0], progress=heard)
    assert f"no stored features, every epoch runs the whole network: {why}" in heard


def cut(name, head=(), **options):
    from kit.config import ImageConfig, ModelConfig

    asked = ModelConfig(name=name, pretrained=False, options=options, head=list(head))
    return build_model(asked, ImageConfig(size=64), 5)[0]


@pytest.mark.parametrize("name", [MODEL, "test_vit", "torchvision:squeezenet1_1", "torchvision:mobilenet_v2"])
def test_both_halves_of_a_network_are_the_network(name):
    model = cut(name).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    reason = why_not_cut(model)
    if name == "torchvision:squeezenet1_1":
        assert reason == "something follows its head"  # a convolution, then the pooling
        return
    assert reason == ""
    with torch.no_grad():
        torch.testing.assert_close(HeadClassifier(model)(FeatureModel(model)(images)), model(images))
    assert set(HeadClassifier(model).state_dict()) == set(model.state_dict())


def test_a_network_that_drops_out_before_its_head_is_not_cut():
    assert why_not_cut(cut("test_vit", proj_drop_rate=0.5)) == "it has dropout before its head"


# --- predicting with a network that all folds share


def test_several_heads_on_one_network_say_what_each_classifier_says():
    first, second = cut(MODEL).eval(), cut(MODEL).eval()
    second.backbone.load_state_dict(
        first.backbone.state_dict() | {"fc.weight": torch.randn(5, first.backbone.fc.in_features)}
    )
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    assert ManyHeads.can_be([first, second])
    with torch.no_grad():
        said = torch.stack([first(images), second(images)])
        torch.testing.assert_close(ManyHeads([first, second]).eval()(images), said)
    assert not torch.allclose(said[0], said[1], atol=0.1)


def test_folds_that_share_a_network_predict_in_one_pass_what_each_says_alone(place, weights, monkeypatch):
    heads = ["model.head=[8, relu, batch_norm]", "predict.tta=[identity, hflip]", "predict.merge=rank"]
    run = experiment.train(config(place, weights, *heads), place)
    asked = []
    plain = fold_models.FoldModels._ask_now
    monkeypatch.setattr(
        fold_models.FoldModels,
        "_ask_now",
        lambda self, ks, images, questions: (
            asked.append((list(ks), len(images))) or plain(self, ks, images, questions)
        ),
    )
    predict(run, place)
    tests = len(load_predictions(run.test).ids)
    assert asked[-1] == ([0, 1], tests)  # the test images once; before it, each fold its own rows
    together = load_predictions(run.test).probs
    monkeypatch.setattr(fold_models.FoldModels, "_share_a_body", False)
    run.test.unlink()
    predict(run, place)
    assert asked[-2:] == [([0], tests), ([1], tests)]
    np.testing.assert_array_equal(load_predictions(run.test).probs, together)
    assert together.std() > 0.01


def test_folds_whose_frozen_networks_differ_are_asked_in_turn(place, weights):
    untrained = ["model.pretrained=false", "model.weights=null"]
    run = experiment.train(config(place, weights, *untrained), place)
    assert not models_of(run, place)._share_a_body


def models_of(run, place):
    wanted = load_config(run.config)
    return open_models(wanted, run, place, prepare(wanted, place), Heard())


def test_an_answer_that_one_fold_has_given_is_not_asked_for_again(place, weights, through):
    run = experiment.train(config(place, weights), place)
    models = models_of(run, place)
    assert models._share_a_body
    test = models.data.competition.test
    origin = Origin("test", "multiclass", run.label, "", ("identity",), "", "these")
    before = through["features"]
    models.of_others(test, origin)
    models.of_others(test, origin)
    assert through["features"] == before + len(test)
