"""Folding batch norms changes neither the predictions nor the given model."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.device.amp import Amp
from kit.engine.models.build import Classifier, build_model
from kit.engine.models.fold_norms import for_prediction, with_folded_norms
from kit.engine.models.preprocessing import Preprocessing

OWN = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)


def trained_like(model: nn.Module) -> Classifier:
    """Give every batch norm statistics and weights as training leaves them."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()


def num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def assert_same_logits(folded, model, size=32):
    images = torch.randint(256, (4, 3, size, size), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(folded(images), model(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "simple_cnn",
        "residual_cnn",
        "test_resnet",
        "test_efficientnet",
        "mobilenetv2_100",
        "torchvision:resnet18",
    ],
)
def test_folding_removes_the_norms_and_keeps_the_predictions(name):
    model, _ = build_model(ModelConfig(name=name, pretrained=False), ImageConfig(size=32), 5)
    trained_like(model)
    before = num_norms(model)
    folded = with_folded_norms(model)
    assert num_norms(folded) == 0 < before == num_norms(model)
    assert_same_logits(folded, model)


class Standardized(nn.Conv2d):
    """A convolution that normalizes its weights in every pass."""

    def forward(self, x):
        return self._conv_forward(x, self.weight / self.weight.std(), self.bias)


class UsedTwice(nn.Module):
    """A convolution followed by two norms."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), BatchNormAct2d(3)

    def forward(self, x):
        return (self.first(self.conv(x)) + self.second(self.conv(x))).mean(dim=(2, 3))


class Bypassed(nn.Module):
    """A convolution whose output is also used without its norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        features = self.conv(x)
        return (self.norm(features) + features).mean(dim=(2, 3))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(Standardized(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()),
        UsedTwice(),
        Bypassed(),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()),
    ],
    ids=["standardized weights", "used twice", "output used twice", "no norm"],
)
def test_a_model_that_cannot_be_folded_is_returned_unchanged(network):
    model = trained_like(Classifier(network, OWN))
    assert with_folded_norms(model) is model


def test_only_fp32_on_a_cpu_is_folded():
    model = trained_like(Classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), OWN))
    assert num_norms(for_prediction(model, Amp(torch.device("cpu"), "fp32"))) == 0
    assert for_prediction(model, Amp(torch.device("cpu"), "bf16")) is model
