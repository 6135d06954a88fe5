"""Convolutions replaced on a CPU compute the same values, and do not crash the process."""

import copy
import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from kit.engine.models.cpu_convolutions import TrainedInFp32, replace_cpu_convolutions, subsample_before

POINTWISE = """
import torch
from torch import nn
from kit.engine.models.build import _classifier
from kit.engine.models.preprocessing import Preprocessing
stem = nn.Conv2d(3, 48, kernel_size=1, stride=2, bias=False)
model = _classifier(stem, Preprocessing(256, (0.5,) * 3, (0.5,) * 3))
for _ in range(5):
    model(torch.rand(4, 3, 256, 256)).square().sum().backward()
print("alive")
"""


@pytest.mark.slow
def test_a_strided_pointwise_stem_trains_without_a_crash():
    done = subprocess.run([sys.executable, "-c", POINTWISE], capture_output=True, text=True)
    assert "alive" in done.stdout, done.stderr


def test_subsampling_before_a_pointwise_convolution_equals_its_stride():
    layer = torch.nn.Conv2d(3, 4, 1, stride=(2, 3))
    images = torch.rand(2, 3, 11, 13)
    expected = layer(images)
    subsample_before(layer)
    torch.testing.assert_close(layer(images), expected)


IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def networks(name="mobilenetv3_small_050"):
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=3)
    replaced = copy.deepcopy(plain)
    replace_cpu_convolutions(replaced)
    return plain, replaced


def replaced_layers(network):
    return [m for m in network.modules() if isinstance(m, TrainedInFp32)]


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "tf_mobilenetv3_small_075", "test_vit"])
def test_only_depthwise_convolutions_are_replaced_and_weights_keep_their_names(name):
    plain, replaced = networks(name)
    depthwise = [m for m in plain.modules() if isinstance(m, nn.Conv2d) and 1 < m.groups == m.in_channels]
    assert len(replaced_layers(replaced)) == len(depthwise)
    assert list(replaced.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "tf_mobilenetv3_small_075"])
def test_outputs_in_fp32_are_unchanged(name):
    plain, replaced = (network.train() for network in networks(name))
    assert torch.equal(plain(IMAGES), replaced(IMAGES))


def test_in_mixed_precision_depthwise_convolutions_train_in_fp32():
    layer = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    network = nn.Sequential(layer)
    replace_cpu_convolutions(network)
    images = torch.rand(2, 4, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        training, predicting = network.train()(images), network.eval()(images)
    expected = nn.functional.conv2d(images, layer.weight, groups=4)
    assert training.dtype == predicting.dtype == torch.bfloat16
    assert torch.equal(training, expected.bfloat16())
    assert not torch.equal(predicting, expected.bfloat16())


def test_a_deep_copy_uses_its_own_weights():
    _, replaced = networks()
    twin = copy.deepcopy(replaced)
    assert len(replaced_layers(twin)) == len(replaced_layers(replaced)) > 0
    with torch.no_grad():
        for parameter in replaced.parameters():
            parameter.zero_()
    assert all(m.weight.any() for m in replaced_layers(twin))
    assert twin.eval()(IMAGES).std() > 0
