"""Options and defaults of the two small networks."""

import pytest
import torch
from torch import nn

from kit.config import ModelConfig
from kit.engine.models.build import check_model
from kit.engine.models.small_cnn import residual_cnn, simple_cnn, small_models
from tests.conftest import raises_kit_error


def modules(model, *kinds):
    return [module for module in model.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize("name", list(small_models))
def test_depth_is_the_number_of_convolutions_per_stage(name):
    build = small_models.get(name)

    def count(depth):
        model = build(3, 3, widths=(4, 4, 4), depth=depth)
        return len([m for m in modules(model, nn.Conv2d) if m.kernel_size == (3, 3)])

    assert count(4) - count(2) == 3 * 2


def test_simple_cnn_uses_the_configured_pooling():
    largest, mean = (simple_cnn(3, 3, widths=(4, 4), pooling=kind) for kind in ("max", "average"))
    assert len(modules(largest, nn.MaxPool2d)) == len(modules(mean, nn.AvgPool2d)) == 1
    assert not modules(largest, nn.AvgPool2d)
    assert not modules(mean, nn.MaxPool2d)


@pytest.mark.parametrize("name", list(small_models))
def test_without_batch_norm_convolutions_have_a_bias_initialized_to_zero(name):
    build = small_models.get(name)
    bare, normed = build(3, 3, batch_norm=False), build(3, 3)
    assert not modules(bare, nn.BatchNorm2d)
    biases = [m.bias for m in modules(bare, nn.Conv2d) if m.kernel_size == (3, 3)]
    assert all(bias is not None and not bias.any() for bias in biases)
    assert all(m.bias is None for m in modules(normed, nn.Conv2d))  # the norm's shift does the same


@pytest.mark.parametrize("name", list(small_models))
def test_convolutions_are_initialized_as_by_he_et_al(name):
    for conv in modules(small_models.get(name)(3, 3, widths=(64, 128)), nn.Conv2d):
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", list(small_models))
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [17, 32])
def test_every_variant_returns_logits_and_gets_gradients(name, batch_norm, channels, size):
    model = small_models.get(name)(5, channels, widths=(8, 16, 8), depth=4, batch_norm=batch_norm)
    logits = model(torch.rand(2, channels, size, size).contiguous(memory_format=torch.channels_last))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_default_architectures_do_not_change():
    """Existing configs have only a name, so the defaults must fit their checkpoints."""
    simple = [m.out_channels for m in modules(simple_cnn(10, 3), nn.Conv2d)]
    assert simple == [32, 32, 64, 64, 128, 128]
    residual = [(m.out_channels, m.kernel_size[0]) for m in modules(residual_cnn(10, 3), nn.Conv2d)]
    assert residual == [(32, 3), (32, 3), (32, 3), (64, 3), (64, 3), (64, 1), (128, 3), (128, 3), (128, 1)]
    assert [m.p for m in modules(simple_cnn(10, 3), nn.Dropout)] == [0.2]
    assert sum(p.numel() for p in simple_cnn(10, 3).parameters()) == 288_746
    assert sum(p.numel() for p in residual_cnn(10, 3).parameters()) == 308_266


@pytest.mark.parametrize(
    ("name", "options", "code", "where"),
    [
        ("simple_cnn", {"widths": 32}, "option_invalid", "model.options.widths"),
        ("simple_cnn", {"widths": []}, "option_invalid", "model.options.widths"),
        ("simple_cnn", {"widths": [0]}, "option_invalid", "model.options.widths"),
        ("simple_cnn", {"widths": "wide"}, "option_invalid", "model.options.widths"),
        ("simple_cnn", {"depth": 0}, "option_invalid", "model.options.depth"),
        ("simple_cnn", {"pooling": "median"}, "option_invalid", "model.options.pooling"),
        ("simple_cnn", {"dropout": 1.0}, "option_invalid", "model.options.dropout"),
        ("simple_cnn", {"width": 4}, "unknown_option", "model.options.width"),
        ("residual_cnn", {"depth": 3}, "option_invalid", "model.options.depth"),
        (
            "residual_cnn",
            {"pooling": "max"},
            "unknown_option",
            "model.options.pooling",
        ),
    ],
)
def test_options_are_checked_by_name_and_value(name, options, code, where):
    with raises_kit_error(code, where):
        check_model(ModelConfig(name=name, options=options))
