"""Weights from files: whose names they have, what is left over, what is refused."""

import re
from contextlib import contextmanager

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.models.build import build_model, load_trained
from kit.engine.models.checkpoints import save_model
from kit.engine.models.heads import find_heads, head_parameters
from kit.engine.models.pretrained import license_note
from tests.conftest import raises_kit_error

PREFIX = "torchvision:"


def library_model(name, **options):
    """Return the library's own network, its norms and biases drawn at random so that a swap of two shows."""
    torch.manual_seed(0)
    if name.startswith(PREFIX):
        model = torchvision.models.get_model(name.removeprefix(PREFIX), weights=None, **options)
    else:
        model = timm.create_model(name, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    for parameter in model.parameters():
        if parameter.ndim < 4 and parameter.detach().std(correction=0) == 0:
            nn.init.uniform_(parameter, 0.5, 1.0)
    return model.eval()


def build(name, weights, image=None, classes=5, **config):
    config = ModelConfig(name=name, pretrained=True, **config)
    model, notes = build_model(config, image or ImageConfig(), classes, weights)
    return model.eval(), notes


def features(model, images):
    """Return what reaches the classifier."""
    caught = []
    (classifier,) = find_heads(model).values()
    hook = classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].flatten(1)))
    with torch.no_grad():
        model(images)
    hook.remove()
    return caught[0]


# Directions of one pair differ in nothing but who is translated, so that the quick tests take one of each.
ALIKE = ["resnet18", "inception_v3", "densenet121", "wide_resnet50_2"]
PAIRS = [
    ("mobilenetv2_100", "mobilenet_v2"),
    ("regnety_004", "regnet_y_400mf"),
    ("efficientnet_b0", "efficientnet_b0"),
    ("regnetx_004_tv", "regnet_x_400mf"),
    ("mnasnet_050", "mnasnet0_5"),
    ("mnasnet_100", "mnasnet1_0"),
    ("vit_base_patch32_224", "vit_b_32"),
    ("vit_base_patch16_224", "vit_b_16"),
    ("convnext_tiny", "convnext_tiny"),
    ("swin_tiny_patch4_window7_224", "swin_t"),
    ("vgg11", "vgg11"),
    ("vgg11_bn", "vgg11_bn"),
    ("efficientnet_b3", "efficientnet_b3"),
    ("regnetx_008", "regnet_x_800mf"),
    ("regnety_008_tv", "regnet_y_800mf"),
    ("regnety_016", "regnet_y_1_6gf"),
]
QUICK = [(PREFIX + "mobilenet_v2", "mobilenetv2_100"), ("mnasnet_050", PREFIX + "mnasnet0_5")]


def directions(pairs, quick):
    """Return (source, target) for both directions of every pair, all but the quick ones marked slow."""
    both = [d for a, b in pairs for d in ((a, PREFIX + b), (PREFIX + b, a))]
    return [pytest.param(*d, marks=[] if d in quick else pytest.mark.slow, id="-".join(d)) for d in both]


def agrees_across_libraries(source, target, tmp_path):
    """Load one library's weights into the other's network, and compare what reaches the classifiers."""
    options = {"init_weights": False, "aux_logits": False} if source == f"{PREFIX}inception_v3" else {}
    theirs = library_model(source, **options)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    config = {"options": {"aux_logits": False}} if target == f"{PREFIX}inception_v3" else {}
    ours, notes = build(target, tmp_path / "w.safetensors", **config)
    size = ours.preprocessing.size if "vit" in target or "swin" in target else 96
    images = torch.randn(1, 3, size, size)
    expected = features(theirs, images)
    assert expected.std() > 0
    torch.testing.assert_close(
        features(ours.backbone, images), expected, rtol=1e-3, atol=1e-3 * expected.abs().max()
    )
    return notes


@pytest.mark.parametrize(
    ("source", "target"),
    directions(
        [(n, n) for n in ALIKE],
        [("resnet18", PREFIX + "resnet18"), (PREFIX + "resnet18", "resnet18")],
    ),
)
def test_networks_with_equal_keys_have_equal_outputs(source, target, tmp_path):
    assert agrees_across_libraries(source, target, tmp_path) == []


@pytest.mark.parametrize(("source", "target"), directions(PAIRS, QUICK))
def test_the_other_librarys_weights_are_translated_and_the_outputs_agree(source, target, tmp_path):
    notes = agrees_across_libraries(source, target, tmp_path)
    assert notes == [f"w.safetensors: keys translated from {source}; the outputs agree"]


def test_weights_are_refused_if_the_outputs_of_both_libraries_differ(tmp_path):
    """torchvision's MobileNetV3 has norms of another epsilon; told so, timm's network computes the same."""
    file = tmp_path / "w.safetensors"
    save_file(library_model(f"{PREFIX}mobilenet_v3_small").state_dict(), file)
    with raises_kit_error("weights_do_not_fit", "model.weights"):
        build("mobilenetv3_small_100", file)
    _, notes = build("mobilenetv3_small_100", file, options={"bn_eps": 1e-3})
    assert "keys translated" in notes[0]


def test_translated_weights_fit_another_image_size_and_gray_images(tmp_path):
    file = tmp_path / "w.safetensors"
    theirs = library_model(f"{PREFIX}mobilenet_v2")
    save_file(theirs.state_dict(), file)
    model, notes = build("mobilenetv2_100", file, ImageConfig(size=64, mode="grey"))
    grey = torch.randn(1, 1, 64, 64)
    expected = features(theirs, grey.expand(1, 3, 64, 64))
    torch.testing.assert_close(features(model.backbone, grey), expected, rtol=1e-3, atol=1e-3)
    assert any("keys translated" in note for note in notes)


# --- the network's own names, or nearly


@pytest.mark.parametrize("wrapper", ["module.", "model.", "backbone.", "module.model.", "_orig_mod."])
def test_key_prefixes_of_wrappers_are_removed(wrapper, tmp_path):
    source = library_model("test_resnet")
    torch.save({f"{wrapper}{k}": v for k, v in source.state_dict().items()}, tmp_path / "w.pth")
    model, notes = build("test_resnet", tmp_path / "w.pth")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(features(model.backbone, images), features(source, images))
    assert notes == []


def test_key_prefixes_are_removed_before_translation(tmp_path):
    source = library_model(f"{PREFIX}mobilenet_v2")
    torch.save({f"module.{k}": v for k, v in source.state_dict().items()}, tmp_path / "w.pth")
    _, notes = build("mobilenetv2_100", tmp_path / "w.pth")
    assert "keys translated from torchvision:mobilenet_v2" in notes[0]


def test_two_networks_in_one_file_are_refused(tmp_path):
    state = library_model("test_resnet").state_dict()
    torch.save(
        {f"{side}.{k}": v for side in ("module", "model") for k, v in state.items()}, tmp_path / "w.pth"
    )
    with raises_kit_error("weights_do_not_fit"):
        build("test_resnet", tmp_path / "w.pth")


OLDER = [
    pytest.param("densenet121", r"(norm|conv)([12])\.", r"\1.\2.", marks=pytest.mark.slow),
    pytest.param("vit_b_32", r"mlp\.0\.", "mlp.linear_1.", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "now", "then"), OLDER)
def test_torchvisions_own_older_names_are_read(name, now, then, tmp_path):
    source = library_model(PREFIX + name)
    state = {
        re.sub(now, then, re.sub(r"mlp\.3\.", "mlp.linear_2.", k)): v for k, v in source.state_dict().items()
    }
    assert set(state) != set(source.state_dict())
    save_file(state, tmp_path / "w.safetensors")
    model, _ = build(PREFIX + name, tmp_path / "w.safetensors")
    for key, tensor in source.state_dict().items():
        if not key.startswith(("classifier", "heads")):
            assert torch.equal(model.backbone.state_dict()[key], tensor)


class Renamed(nn.Module):
    """A network like `test_resnet`'s own, as somebody else may have named its layers."""

    def __init__(self, model, swap=False):
        super().__init__()
        children = list(model.named_children())
        for number, (_, child) in enumerate(reversed(children) if swap else children):
            self.add_module(f"part{number}", child)


def test_a_pytorch_file_of_other_names_is_paired_in_its_order(tmp_path):
    source = library_model("test_resnet")
    torch.save(Renamed(source).state_dict(), tmp_path / "w.pth")
    model, notes = build("test_resnet", tmp_path / "w.pth")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(features(model.backbone, images), features(source, images))
    assert notes == ["w.pth: its keys differ; tensors were paired by order, shape and kind"]


def test_an_ambiguous_order_is_refused(tmp_path):
    """A safetensors file is sorted by name; and in another order, equal shapes may mean other layers."""
    source = library_model("test_resnet")
    state = source.state_dict().items()
    save_file(
        {f"t{n:04}.{k.rpartition('.')[2]}": v for n, (k, v) in enumerate(state)}, tmp_path / "w.safetensors"
    )
    torch.save(Renamed(source, swap=True).state_dict(), tmp_path / "w.pth")
    for file in ("w.safetensors", "w.pth"):
        with raises_kit_error("weights_do_not_fit"):
            build("test_resnet", tmp_path / file)


# --- what is left over


def test_unused_tensors_of_a_head_give_a_note_and_others_are_refused(tmp_path):
    state = library_model("test_resnet").state_dict()
    state["aux_head.weight"] = torch.ones(3)
    save_file(state, tmp_path / "w.safetensors")
    _, notes = build("test_resnet", tmp_path / "w.safetensors")
    assert notes == ["w.safetensors: 1 tensor of a head is not used (aux_head.weight)"]
    state["layer5.0.conv1.weight"] = torch.ones(3)
    save_file(state, tmp_path / "w.safetensors")
    with raises_kit_error("weights_do_not_fit"):
        build("test_resnet", tmp_path / "w.safetensors")


def test_a_deeper_networks_file_is_refused(tmp_path):
    save_file(library_model("resnet34").state_dict(), tmp_path / "w.safetensors")
    with raises_kit_error("weights_do_not_fit"):
        build("torchvision:resnet18", tmp_path / "w.safetensors")


def test_auxiliary_heads_are_loaded_except_their_last_layers(tmp_path):
    source = library_model("torchvision:googlenet", init_weights=False, aux_logits=True)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    model, notes = build("torchvision:googlenet", tmp_path / "w.safetensors", ImageConfig(size=64))
    assert notes == ["image.size 64 instead of the model's own 224"]
    assert torch.equal(model.backbone.aux1.fc1.weight, source.aux1.fc1.weight)
    assert model.backbone.aux1.fc2.weight.shape[0] == 5
    assert not model.backbone.aux1.fc2.weight.any()
    _, notes = build("torchvision:googlenet", tmp_path / "w.safetensors", options={"aux_logits": False})
    assert re.match(r"w.safetensors: \d+ tensors of a head are not used \(first 3: aux1", notes[0])
    bare = {k: v for k, v in source.state_dict().items() if not k.startswith("aux")}
    save_file(bare, tmp_path / "w.safetensors")
    with raises_kit_error("weights_do_not_fit"):
        build("torchvision:googlenet", tmp_path / "w.safetensors")


def test_a_checkpoint_of_kit_is_refused_as_pretrained_weights(tmp_path):
    source = library_model("test_resnet")
    save_model(tmp_path / "m.safetensors", source.state_dict(), {"classes": ["a"], "preprocessing": {}})
    with raises_kit_error("weights_are_checkpoint"):
        build("test_resnet", tmp_path / "m.safetensors")


# --- other sizes of image


SMALL_SWIN = {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 2]}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_vit", {}),
        pytest.param("torchvision:vit_b_32", {}, marks=pytest.mark.slow),
        ("swin_tiny_patch4_window7_224", SMALL_SWIN),
    ],
)
def test_position_embeddings_of_a_file_are_interpolated(name, options, tmp_path):
    source = library_model(name, **options)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    own = 160 if name == "test_vit" else 224
    same, _ = build(name, tmp_path / "w.safetensors", options=options)
    assert same.preprocessing.size == own
    larger, _ = build(name, tmp_path / "w.safetensors", ImageConfig(size=own + 64), options=options)
    flat = torch.full((1, 3, 1, 1), 0.3)
    at_own = features(same.backbone, flat.expand(1, 3, own, own))
    at_larger = features(larger.backbone, flat.expand(1, 3, own + 64, own + 64))
    # The picture has no detail, so that only positions differ: interpolated, they say nearly the same.
    assert nn.functional.cosine_similarity(at_own, at_larger).item() > 0.95


# --- from another experiment


def trained_like(name="test_resnet", classes=5, size=32, **config):
    torch.manual_seed(classes)
    config = ModelConfig(name=name, pretrained=False, **config)
    return build_model(config, ImageConfig(size=size), classes)[0]


@contextmanager
def does_not_fit(pattern):
    with raises_kit_error("weights_do_not_fit") as caught:
        yield
    assert re.search(pattern, str(caught.value))


def test_another_experiments_fold_is_loaded_with_its_head():
    source, model = trained_like(head=[8, "relu"]), trained_like(head=[8, "relu"])
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    assert load_trained(model, source.state_dict(), "fold-0") == []
    state = source.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "other",
    [
        {"classes": 7},
        {"head": [8, "batch_norm"]},
        {"pool": "gem"},
        {"pool": "gem", "head": ["dropout 0.1"], "classes": 3},
    ],
)
@pytest.mark.parametrize("back", [True, False])
def test_a_head_of_another_shape_stays_new_with_a_note(other, back):
    source, model = (
        (trained_like(**other), trained_like()) if back else (trained_like(), trained_like(**other))
    )
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    notes = load_trained(model, source.state_dict(), "fold-0")
    head = {id(p) for p in head_parameters(model.backbone)}
    given = source.state_dict()
    for name, parameter in model.named_parameters():
        fits = name in given and given[name].shape == parameter.shape
        if id(parameter) not in head:
            assert torch.equal(parameter, given[name])
        elif not fits:
            assert torch.equal(parameter, before[name])
    if "head" in other or "classes" in other:
        assert notes[0].startswith("fold-0: the head is newly initialized, its shapes differ (fc")


def test_a_start_from_another_network_is_refused():
    model, other = trained_like(), trained_like("test_convnext")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with does_not_fit(r"fold-0: does not fit this model: \d+ of \d+ tensors are missing or differ in shape"):
        load_trained(model, other.state_dict(), "fold-0")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_start_at_another_size_of_image_is_interpolated():
    source, model = trained_like("test_vit", size=96), trained_like("test_vit", size=128)
    assert load_trained(model, source.state_dict(), "fold-0") == []
    assert torch.equal(model.backbone.blocks[0].attn.qkv.weight, source.backbone.blocks[0].attn.qkv.weight)
    assert model.backbone.pos_embed.shape != source.backbone.pos_embed.shape


# --- licenses


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        (
            torchvision.models.ViT_L_16_Weights.IMAGENET1K_SWAG_E2E_V1.meta["license"],
            "CC BY-NC 4.0 (non-commercial)",
        ),
        (timm.get_pretrained_cfg("convnextv2_tiny.fcmae_ft_in1k").license, "CC BY-NC 4.0 (non-commercial)"),
        (timm.get_pretrained_cfg("resnet50.a1_in1k").license, "apache-2.0"),
        ("fair-noncommercial-research-license", "fair-noncommercial-research-license (non-commercial)"),
    ],
)
def test_the_license_of_weights_is_noted(license, expected):
    assert license_note("NAME", license) == [f"weights NAME: license {expected}"]


@pytest.mark.parametrize("unknown", [None, "", "unknown"])
def test_an_unknown_license_gives_no_note(unknown):
    assert license_note("NAME", unknown) == []


def test_cached_timm_weights_are_loaded_with_a_license_note(tmp_path, monkeypatch):
    name = "test_resnet.r160_in1k"
    cfg = timm.get_pretrained_cfg(name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / f"models--{cfg.hf_hub_id.replace('/', '--')}"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    source = library_model("test_resnet")
    save_file(source.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    model, notes = build(name, None)
    assert torch.equal(model.backbone.conv1[0].weight, source.conv1[0].weight)
    assert notes == [f"weights {name}: license {cfg.license}"]
    _, notes = build_model(ModelConfig(name=name, pretrained=False), ImageConfig(), 5)
    assert notes == []


def test_cached_torchvision_weights_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entry = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    source = library_model(f"{PREFIX}squeezenet1_1")
    torch.save(source.state_dict(), tmp_path / "hub" / "checkpoints" / entry.url.rpartition("/")[2])
    model, notes = build(f"{PREFIX}squeezenet1_1", None, ImageConfig(size=64, mode="grey"))
    stem = source.features[0].weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(model.backbone.features[0].weight, stem)
    assert notes == ["image.size 64 instead of the model's own 224"]
