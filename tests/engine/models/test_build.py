import json

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from kit.config import ImageConfig, ModelConfig
from kit.engine.models.build import build_model, check_model, check_weights, rebuild_model
from kit.engine.models.heads import head_parameters
from kit.engine.models.preprocessing import Preprocessing, overridden
from kit.errors import KitError
from tests.conftest import raises_kit_error

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


def test_timm_preprocessing_comes_from_its_weights():
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


def test_config_overrides_of_the_preprocessing_are_applied_and_noted():
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
    with raises_kit_error("channels_differ", "image.mean"):
        overridden(own, ImageConfig(mean=[0.5]))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mobilnetv2_100", "mobilenetv2_100"),
        ("torchvision:resnet5", "resnet50"),
        ("torchvision:resnet18@V1", "IMAGENET1K_V1"),
        ("simple_cn", "simple_cnn"),
    ],
)
def test_an_unknown_model_names_the_nearest(name, nearest):
    with raises_kit_error("unknown_name", "model.name") as caught:
        check_model(ModelConfig(name=name))
    assert nearest in caught.value.rule + caught.value.next


def test_model_options_are_checked():
    check_model(ModelConfig(name="simple_cnn", options={"widths": [4, 8]}))
    with raises_kit_error("unknown_option", "model.options.width"):
        check_model(ModelConfig(name="simple_cnn", options={"width": 4}))
    with raises_kit_error("option_invalid", "model.options"):
        build("mobilenetv3_small_050", options={"color": 3})
    with raises_kit_error("weights_not_supported", "model.weights"):
        build("simple_cnn", weights="x.safetensors")


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "torchvision:squeezenet1_1"])
@pytest.mark.parametrize("ask", ["build", "check"])
def test_missing_weights_name_the_file_and_where_to_put_it(name, ask, monkeypatch, tmp_path):
    monkeypatch.setattr("kit.engine.models.timm_models.reachable", lambda _: False)
    monkeypatch.setattr("kit.engine.models.torchvision_models.reachable", lambda _: False)
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
        with raises_kit_error("weights_do_not_fit", str(file)):
            build(other, weights=file)


def test_weights_from_a_file_are_summed_for_a_gray_stem(tmp_path):
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
    with raises_kit_error("not_weights"):
        build("torchvision:squeezenet1_1", weights=file)
    (tmp_path / "w.safetensors").write_bytes(b"cut")
    with raises_kit_error("not_weights"):
        build("mobilenetv3_small_050", weights=tmp_path / "w.safetensors")


PRETRAINED = ["mobilenetv3_small_050", "torchvision:squeezenet1_1", "deit_tiny_distilled_patch16_224"]


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_head_of_a_pretrained_network_starts_with_small_logits_and_gets_gradients(name, tmp_path):
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


AUXILIARY = [
    ("torchvision:googlenet", 64, 2),
    pytest.param("torchvision:inception_v3", 299, 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "size", "count"), AUXILIARY)
@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_auxiliary_heads_return_logits_in_training_only(name, size, count, mode):
    model, _ = build(name, image=ImageConfig(size=size, mode=mode))
    channels = 3 if mode == "rgb" else 1
    logits = model.train()(torch.rand(2, channels, size, size) * 255)
    assert isinstance(logits, tuple)
    assert [each.shape for each in logits] == [(2, 5)] * (1 + count)
    assert model.auxiliary_weight == 0.3
    assert sum(p.shape[0] == 5 for p in head_parameters(model.backbone)) == 2 * (1 + count)
    with torch.no_grad():
        assert model.eval()(torch.rand(1, channels, size, size) * 255).shape == (1, 5)


@pytest.mark.parametrize(("name", "size", "count"), AUXILIARY)
@pytest.mark.parametrize("options", [{}, {"aux_logits": False}])
def test_networks_with_auxiliary_heads_are_rebuilt_the_same(name, size, count, options):
    model, _ = build(name, image=ImageConfig(size=size), options=options, head=[8, "relu"], pool="gem")
    assert any("aux" in key.lower() for key in model.state_dict()) == (options == {})
    copy = rebuild_model(
        ModelConfig(name=name, options=options, head=[8, "relu"], pool="gem"), model.preprocessing, 5
    )
    copy.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, size, size) * 255
    with torch.no_grad():
        assert torch.equal(copy.eval()(images), model.eval()(images))


@pytest.mark.parametrize(
    ("image", "key"),
    [({"size": 128}, "image.size"), ({"size_by_epoch": {1: 128, 2: 299}}, "image.size_by_epoch")],
)
def test_images_too_small_for_an_auxiliary_head_are_refused(image, key):
    with raises_kit_error("image_size_unsuitable", key):
        build("torchvision:inception_v3", image=ImageConfig(**image))
    model, _ = build("torchvision:inception_v3", image=ImageConfig(**image), options={"aux_logits": False})
    assert model(torch.rand(2, 3, 128, 128)).shape == (2, 5)


def test_inception_preprocessing_equals_torchvision_transform_input():
    """What torchvision's `transform_input` makes of ImageNet's normalization."""
    model, _ = build("torchvision:googlenet", image=ImageConfig(size=64))
    images = torch.randint(0, 255, (2, 3, 64, 64)).float()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    seen = []
    model.eval().backbone.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(images)
        model.backbone.transform_input = True
        model.backbone(normal)
    torch.testing.assert_close(seen[0], seen[1])


OWN_SIZES = [
    ("torchvision:vit_l_16@IMAGENET1K_SWAG_E2E_V1", 512),
    ("torchvision:vit_b_16@IMAGENET1K_SWAG_LINEAR_V1", 224),
    ("torchvision:resnext101_64x4d@IMAGENET1K_V1", 224),
    ("torchvision:wide_resnet50_2", 224),
    ("torchvision:mobilenet_v3_large", 224),
    ("torchvision:shufflenet_v2_x1_0", 224),
    ("torchvision:efficientnet_b0", 224),
    ("torchvision:squeezenet1_1", 224),
    ("torchvision:convnext_tiny", 224),
    ("torchvision:swin_t", 224),
    ("torchvision:googlenet", 224),
    pytest.param("torchvision:inception_v3", 299, marks=pytest.mark.slow),
    ("torchvision:mnasnet0_5", 224),
    pytest.param("torchvision:maxvit_t", 224, marks=pytest.mark.slow),
    pytest.param("vit_large_patch14_clip_336", 336, marks=pytest.mark.slow),
    ("swinv2_tiny_window8_256", 256),
]


@pytest.mark.parametrize(("name", "size"), OWN_SIZES)
@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_networks_accept_the_image_size_of_their_weights_and_gray_images(name, size, mode):
    """The meta device computes shapes without data, so that large networks are fast."""
    channels = 3 if mode == "rgb" else 1
    with torch.device("meta"):
        model, _ = build(name, image=ImageConfig(mode=mode))
        assert model.preprocessing.size == size
        assert model.eval()(torch.empty(2, channels, size, size)).shape == (2, 5)


@pytest.mark.parametrize(("name", "own"), [("test_vit", 160), ("swin_tiny_patch4_window7_224", 224)])
def test_a_network_of_fixed_size_accepts_every_size_in_the_config(name, own):
    options = {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 2]} if "swin" in name else {}
    image = ImageConfig(size=96, predict_size=128, size_by_epoch={1: 64, 3: 96})
    config = ModelConfig(name=name, pretrained=False, options=options)
    model, notes = build_model(config, image, 5)
    assert sorted(model.preprocessing.all_sizes) == [64, 96, 128]
    assert f"image.size_by_epoch 64, then 96 instead of the model's own {own}" in notes
    copy = rebuild_model(config, Preprocessing.from_dict(model.preprocessing.as_dict()), 5).eval()
    copy.load_state_dict(model.state_dict())
    for size in model.preprocessing.all_sizes:
        images = torch.rand(2, 3, size, size) * 255
        assert model.train()(images).shape == (2, 5)
        with torch.no_grad():
            assert torch.equal(copy(images), model.eval()(images))


@pytest.mark.parametrize(
    ("image", "key"),
    [
        ({"predict_size": 256}, "image.predict_size"),
        ({"size_by_epoch": {1: 192, 2: 224}}, "image.size_by_epoch"),
    ],
)
def test_a_second_image_size_is_refused_by_networks_that_accept_one(image, key):
    with (
        torch.device("meta"),
        raises_kit_error("image_size_unsuitable", key),
    ):
        build("torchvision:vit_b_32", image=ImageConfig(**image))
    with raises_kit_error("image_size_unsuitable", "image.size"):
        build("torchvision:vit_b_32", image=ImageConfig(size=100))


def test_a_torchvision_vit_is_built_and_rebuilt_for_the_image_size():
    with torch.device("meta"):
        model, _ = build("torchvision:vit_b_32", image=ImageConfig(size=384))
        copy = rebuild_model(ModelConfig(name="torchvision:vit_b_32"), model.preprocessing, 5)
        assert model.eval()(torch.empty(1, 3, 384, 384)).shape == (1, 5)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (model, copy)]
    assert shapes[0] == shapes[1]


def test_preprocessing_is_read_from_current_and_older_files():
    own = Preprocessing(64, (0.5,), (0.2,), predict_size=96, training_sizes=(32, 64))
    assert Preprocessing.from_dict(json.loads(json.dumps(own.as_dict()))) == own
    older = {
        "size": 64,
        "mean": [0.5],
        "std": [0.2],
        "interpolation": "bicubic",
        "crop": 0.9,
        "predict_size": None,
    }
    read = Preprocessing.from_dict(older)
    assert (read.size, read.predicting, read.training) == (64, 64, {64: "image.size"})


def test_a_predict_size_equal_to_the_default_gives_no_note():
    own = Preprocessing(224, (0.5,) * 3, (0.2,) * 3)
    assert overridden(own, ImageConfig(predict_size=224))[1] == []
    assert overridden(own, ImageConfig(size=128, predict_size=128))[1] == [
        "image.size 128 instead of the model's own 224"
    ]


def test_an_unknown_weights_tag_is_refused():
    with raises_kit_error("unknown_name", "model.name"):
        check_model(ModelConfig(name="mobilenetv2_100.ra_in1"))
