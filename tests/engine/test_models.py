import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from kit.config import ImageConfig, ModelConfig
from kit.engine.heads import head_parameters
from kit.engine.models import build_model, check_model, check_weights, rebuild_model
from kit.engine.preprocessing import Preprocessing, overridden
from kit.errors import KitError

SOURCES = [
    "simple_cnn",
    "residual_cnn",
    "mobilenetv3_small_050",
    "torchvision:squeezenet1_1",
    "torchvision:mobilenet_v3_small",
]


def build(name, classes=5, weights=None, image=None, **config):
    config = {"pretrained": weights is not None} | config
    return build_model(ModelConfig(name=name, **config), image or ImageConfig(size=32), classes, weights)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_every_source_maps_images_to_logits(name, mode):
    model, _ = build(name, image=ImageConfig(size=32, mode=mode))
    images = torch.randint(0, 255, (2, 3 if mode == "rgb" else 1, 32, 32), dtype=torch.uint8)
    logits = model.eval()(images)
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", SOURCES)
def test_the_head_is_the_layer_with_one_value_per_class(name):
    model, _ = build(name)
    assert sorted(p.shape[0] for p in head_parameters(model.backbone)) == [5, 5]


@pytest.mark.parametrize("name", SOURCES)
def test_a_model_is_rebuilt_around_its_weights(name):
    model, _ = build(name)
    model.eval()
    config = ModelConfig(name=name, pretrained=True)
    copy = rebuild_model(config, model.preprocessing, 5).eval()
    copy.load_state_dict(model.state_dict())
    images = torch.randint(0, 255, (1, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(copy(images), model(images))


def test_normalisation_is_that_of_the_weights():
    model, notes = build("mobilenetv3_small_050", image=ImageConfig())
    expects = timm.data.resolve_model_data_config(timm.create_model("mobilenetv3_small_050"))
    own = model.preprocessing
    assert (own.size, own.mean, own.std) == (expects["input_size"][-1], expects["mean"], expects["std"])
    assert own.crop == expects["crop_pct"]
    assert notes == []
    images = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    model.backbone = torch.nn.Flatten()
    got = model(images).view(3, -1)[:, 0]
    torch.testing.assert_close(got, (1 - torch.tensor(own.mean)) / torch.tensor(own.std))


def test_torchvision_preprocessing_comes_from_its_weights():
    model, _ = build("torchvision:squeezenet1_1@IMAGENET1K_V1", image=ImageConfig())
    own = model.preprocessing
    assert (own.size, own.crop, own.interpolation) == (224, 224 / 256, "bilinear")
    assert own.mean == (0.485, 0.456, 0.406)


def test_overrides_are_followed_and_said():
    own = Preprocessing(224, (0.4, 0.5, 0.6), (0.2,) * 3)
    changed, notes = overridden(own, ImageConfig(size=128, mean=[0.5, 0.5, 0.5], predict_size=160))
    assert (changed.size, changed.mean, changed.std, changed.predicting) == (128, (0.5,) * 3, own.std, 160)
    assert notes == [
        "image.size 128 instead of the model's own 224",
        "image.predict_size 160 instead of the model's own 224",
        "image.mean (0.5, 0.5, 0.5) instead of the model's own (0.4, 0.5, 0.6)",
    ]
    grey, _ = overridden(own, ImageConfig(mode="grey"))
    assert grey.channels == 1
    with pytest.raises(KitError, match="image.mean: has 1 values for 3 channels"):
        overridden(own, ImageConfig(mean=[0.5]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilnetv2_100", r"model.name: there is no model 'mobilnetv2_100'.*mobilenetv2_100"),
        ("torchvision:resnet5", r"there is no torchvision model 'resnet5'.*Did you mean"),
        ("torchvision:resnet18@V1", "there is no set of weights of resnet18 'V1'. Known: IMAGENET1K_V1"),
        ("simple_cn", "Did you mean simple_cnn"),
    ],
)
def test_an_unknown_model_names_the_nearest(name, message):
    with pytest.raises(KitError, match=message):
        check_model(ModelConfig(name=name))


def test_options_of_a_small_model_are_bound():
    check_model(ModelConfig(name="simple_cnn", options={"widths": [4, 8]}))
    with pytest.raises(KitError, match=r"model.options.width: there is no option 'width'.*mean widths\?"):
        check_model(ModelConfig(name="simple_cnn", options={"width": 4}))
    with pytest.raises(KitError, match="model.options: mobilenetv3_small_050 refuses them"):
        build("mobilenetv3_small_050", options={"colour": 3})
    with pytest.raises(KitError, match="simple_cnn is trained from scratch"):
        build("simple_cnn", weights="x.safetensors")


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "torchvision:squeezenet1_1"])
@pytest.mark.parametrize("ask", ["build", "check"])
def test_weights_out_of_reach_say_which_file_to_put_where(name, ask, monkeypatch, tmp_path):
    monkeypatch.setattr("kit.engine.models.reachable", lambda _: False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(KitError) as caught:
        build(name, pretrained=True) if ask == "build" else check_weights(ModelConfig(name=name))
    text = str(caught.value)
    assert "are not on this machine and cannot be downloaded" in text
    assert ("model.safetensors" if "torchvision" not in name else "squeezenet1_1") in text
    assert "model.weights: FILE" in text


def test_timm_weights_from_a_file_keep_all_but_the_head(tmp_path):
    source = timm.create_model("mobilenetv3_small_050", num_classes=1000)
    file = tmp_path / "w.safetensors"
    save_file(source.state_dict(), file)
    model, _ = build("mobilenetv3_small_050", weights=file)
    assert torch.equal(model.backbone.conv_stem.weight, source.conv_stem.weight)
    assert model.backbone.classifier.out_features == 5


def test_torchvision_weights_from_a_file(tmp_path):
    source = torchvision.models.squeezenet1_1()
    file = tmp_path / "w.pth"
    torch.save({"state_dict": source.state_dict()}, file)
    model, _ = build("torchvision:squeezenet1_1", weights=file)
    assert torch.equal(model.backbone.features[0].weight, source.features[0].weight)
    for other in ("torchvision:resnet18", "mobilenetv3_small_050"):
        with pytest.raises(KitError, match=rf"w.pth: does not fit {other}: \d+ of \d+ tensors are not in it"):
            build(other, weights=file)


def test_weights_of_a_file_are_loaded_into_a_grey_stem(tmp_path):
    source = timm.create_model("mobilenetv3_small_050")
    file = tmp_path / "w.safetensors"
    save_file(source.state_dict(), file)
    model, _ = build("mobilenetv3_small_050", weights=file, image=ImageConfig(size=32, mode="grey"))
    expected = source.conv_stem.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(model.backbone.conv_stem.weight, expected)


def test_pickled_code_is_not_run(tmp_path):
    class Boom:
        def __reduce__(self):
            return (print, ("boom",))

    file = tmp_path / "w.pth"
    torch.save({"a": Boom()}, file)
    with pytest.raises(KitError, match="w.pth: is not a file of weights"):
        build("torchvision:squeezenet1_1", weights=file)
    (tmp_path / "w.safetensors").write_bytes(b"cut")
    with pytest.raises(KitError, match="is not a file of weights"):
        build("mobilenetv3_small_050", weights=tmp_path / "w.safetensors")


PRETRAINED = ["mobilenetv3_small_050", "torchvision:squeezenet1_1", "deit_tiny_distilled_patch16_224"]


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_head_of_a_pretrained_network_starts_quiet_and_learns(name, tmp_path):
    plain = torchvision.models.squeezenet1_1() if ":" in name else timm.create_model(name)
    file = tmp_path / "w.safetensors"
    save_file(plain.state_dict(), file)
    model, _ = build(name, weights=file, pretrained=True, image=ImageConfig())
    torch.manual_seed(0)
    images, targets = torch.rand(4, 3, 224, 224) * 255, torch.tensor([0, 1, 2, 3])
    logits = model.eval()(images)
    assert logits.abs().max() < 1.5
    before = torch.nn.functional.cross_entropy(logits, targets)
    before.backward()
    assert any(p.grad.abs().max() > 0 for p in head_parameters(model.backbone))


@pytest.mark.parametrize("name", ["torchvision:googlenet", "torchvision:inception_v3"])
def test_networks_with_auxiliary_heads_are_rebuilt_the_same(name):
    torch.manual_seed(0)
    model, _ = build(name, image=ImageConfig(size=96))
    copy = rebuild_model(ModelConfig(name=name), model.preprocessing, 5)
    copy.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 96, 96) * 255
    assert torch.equal(copy.eval()(images), model.eval()(images))
    assert model.backbone.transform_input


def test_an_unknown_tag_of_weights_names_the_nearest():
    with pytest.raises(
        KitError, match="no set of weights of mobilenetv2_100 'mobilenetv2_100.ra_in1'.*ra_in1k"
    ):
        check_model(ModelConfig(name="mobilenetv2_100.ra_in1"))


@pytest.mark.parametrize("value", [32, [], [0], "wide"])
def test_options_of_a_small_model_are_bound_by_value(value):
    with pytest.raises(KitError, match="model.options.widths: is "):
        check_model(ModelConfig(name="simple_cnn", options={"widths": value}))
