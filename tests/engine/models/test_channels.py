"""Networks for other channels than three: the stem, its pretrained weights, mean and std."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models._manipulate import adapt_input_conv

from kit.config import ImageConfig, ModelConfig
from kit.engine.models.build import build_model, rebuild_model
from kit.engine.models.heads import adapt_stem, stem_for_channels
from kit.engine.models.preprocessing import Preprocessing, overridden
from tests.conftest import raises_kit_error

NAMES = ["simple_cnn", "residual_cnn", "mobilenetv3_small_050", "torchvision:squeezenet1_1"]


def build(name, channels, weights=None, **image):
    config = ModelConfig(name=name, pretrained=weights is not None)
    return build_model(config, ImageConfig(size=32, channels=channels, **image), 5, weights)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_every_library_builds_and_rebuilds_a_network_of_any_channels(name, channels):
    model, _ = build(name, channels)
    images = torch.randint(0, 255, (2, channels, 32, 32), dtype=torch.uint8)
    logits = model.eval()(images)
    assert logits.shape == (2, 5)
    copy = rebuild_model(ModelConfig(name=name), model.preprocessing, 5).eval()
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy(images), logits)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6])
def test_a_stem_is_adapted_as_timm_adapts_it(channels):
    weight = torch.randn(8, 3, 3, 3)
    torch.testing.assert_close(stem_for_channels(weight, channels), adapt_input_conv(channels, weight))


def test_an_adapted_stem_sees_copies_of_the_colors_as_the_colors():
    stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    colors = torch.randn(2, 3, 9, 9)
    expected = stem(colors)
    adapt_stem(stem, 6)
    torch.testing.assert_close(stem(colors.repeat(1, 2, 1, 1)), expected)


@pytest.mark.parametrize("name", NAMES[2:])
def test_pretrained_networks_see_copies_of_the_colors_as_the_colors(tmp_path, name):
    """Six channels, the colors twice: features, mean and std are those of the three-channel network."""
    file = tmp_path / "w.pth"
    source = (
        torchvision.models.get_model(name.partition(":")[2], weights=None)
        if ":" in name
        else timm.create_model(name, pretrained=False)
    )
    torch.save(source.state_dict(), file)
    (three, plain), (six, notes) = build(name, 3, file), build(name, 6, file)
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    twice = images.repeat(1, 2, 1, 1)
    for model in (three, six):  # the new head is zero
        torch.nn.init.constant_(list(model.backbone.parameters())[-2], 0.1)
    found, expected = six.eval()(twice), three.eval()(images)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not any("adapted" in note for note in plain)
    assert any("adapted from 3 channels to 6" in note for note in notes)


def test_weights_of_another_stem_than_three_channels_are_refused(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(timm.create_model("mobilenetv3_small_050", in_chans=4).state_dict(), file)
    with raises_kit_error("weights_do_not_fit"):
        build("mobilenetv3_small_050", 5, file)


def test_mean_and_std_are_repeated_in_order_and_told():
    own = Preprocessing(32, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    found, notes = overridden(own, ImageConfig(channels=5))
    assert found.mean == (0.4, 0.5, 0.6, 0.4, 0.5)
    assert found.std == (0.1, 0.2, 0.3, 0.1, 0.2)
    assert "repeated in order" in notes[0]
    found, _ = overridden(own, ImageConfig(channels=2, mean=[0.1, 0.2], std=[0.3, 0.4]))
    assert (found.mean, found.std) == ((0.1, 0.2), (0.3, 0.4))
    assert overridden(own, ImageConfig(channels=1))[0].mean == (0.5,)


def test_as_many_means_as_channels_are_needed():
    own = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)
    with raises_kit_error("channels_differ", "image.mean"):
        overridden(own, ImageConfig(channels=5, mean=[0.5, 0.5, 0.5]))
