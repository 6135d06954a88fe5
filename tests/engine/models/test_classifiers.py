"""Cosine classifiers: scaled cosines of features and centers, and a margin for the true class in training."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kit.config import Component, ImageConfig, ModelConfig
from kit.engine.models.build import build_model
from kit.engine.models.classifiers import CosineClassifier, classifiers, settings_of, with_margin
from kit.engine.models.heads import find_heads, last_layer
from tests.conftest import raises_kit_error

COUNTS = torch.tensor([5.0, 5.0, 5.0])


def unit_circle(*degrees: float) -> torch.Tensor:
    """Return vectors of different lengths at these angles, (N, 2)."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1) * torch.arange(1, len(degrees) + 1)[:, None]


def classifier(centers: int = 1) -> CosineClassifier:
    """Return a classifier of three classes with centers at 0, 90 and 180 degrees (then 10 degrees further)."""
    layer = CosineClassifier(2, 3, scale=20.0, centers=centers)
    degrees = [start + 10.0 * c for start in (0.0, 90.0, 180.0) for c in range(centers)]
    layer.weight = nn.Parameter(unit_circle(*degrees))
    return layer


def test_logits_are_scaled_cosines_whatever_the_lengths():
    logits = classifier()(unit_circle(0.0, 60.0))
    expected = 20 * torch.tensor([[1.0, 0.0, -1.0], [0.5, math.sqrt(0.75), -0.5]])
    assert torch.allclose(logits, expected, atol=1e-5)


def test_of_several_centers_the_nearest_counts():
    logits = classifier(centers=2)(unit_circle(10.0)).detach()
    assert logits[0, 0] == pytest.approx(20.0)
    assert logits[0, 1] == pytest.approx(20 * math.cos(math.radians(80)), abs=1e-4)


def test_autocast_does_not_round_the_cosines():
    features = unit_circle(1.0, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier()(features)
    assert torch.equal(logits, classifier()(features))


@pytest.mark.parametrize("name", list(classifiers))
def test_the_margin_moves_the_true_class_only(name):
    settings = settings_of(Component(name=name, margin=0.2))
    moved = []
    loss = with_margin(lambda logits, _: moved.append(logits) or logits.sum(), settings, COUNTS)
    cosines = torch.tensor([[0.9, 0.1, -0.5]], requires_grad=True)
    loss(cosines * settings.scale, torch.tensor([[1.0, 0.0, 0.0]])).backward()
    after = moved[0].detach() / settings.scale
    assert torch.allclose(after[:, 1:], cosines.detach()[:, 1:], atol=1e-5)
    wanted = 0.9 - 0.2 if name == "cosface" else math.cos(math.acos(0.9) + 0.2)
    assert after[0, 0].item() == pytest.approx(wanted, abs=1e-5)
    assert torch.isfinite(cosines.grad).all()


@pytest.mark.parametrize("name", list(classifiers))
def test_a_larger_angle_never_has_a_larger_penalized_cosine(name):
    settings = settings_of(Component(name=name, margin=0.5))
    cosines = torch.linspace(-1, 1, 401)[:, None]
    moved = settings.penalty(cosines, torch.full_like(cosines, 0.5))
    assert (moved.diff(dim=0) >= 0).all()
    assert (moved <= cosines).all()


def test_without_a_margin_the_loss_is_unchanged():
    settings = settings_of(Component(name="arcface", margin=0.0))
    logits = torch.tensor([[12.0, -3.0, 29.0]])
    targets = torch.tensor([[0.0, 1.0, 0.0]])
    loss = with_margin(F.cross_entropy, settings, COUNTS)
    assert loss(logits, targets).item() == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-3)


def test_the_rarest_class_has_the_margin_and_the_largest_the_least_margin():
    settings = settings_of(Component(name="arcface", margin=0.5, least_margin=0.1))
    margins = settings.margins(torch.tensor([1000.0, 10.0, 100.0]))
    assert margins[0].item() == pytest.approx(0.1)
    assert margins[1].item() == pytest.approx(0.5)
    assert 0.1 < margins[2] < 0.5
    assert settings.margins(COUNTS).tolist() == pytest.approx([0.5] * 3)


def test_the_last_layer_of_a_network_is_replaced_after_the_hidden_layers_and_keeps_its_centers():
    config = ModelConfig(name="resnet18", pretrained=False, head=[8, "relu"], classifier="arcface")
    model, _ = build_model(config, ImageConfig(size=32), num_classes=3)
    head = next(iter(find_heads(model.backbone).values()))
    layer = last_layer(head)
    assert isinstance(layer, CosineClassifier)
    assert layer.weight.shape == (3, 8)
    assert layer.weight.abs().sum() > 0
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("arcfaces", {}, "unknown_name"),
        ("arcface", {"marign": 0.2}, "unknown_option"),
        ("arcface", {"margin": 2.0}, "option_invalid"),
        ("arcface", {"margin": 0.2, "least_margin": 0.3}, "option_invalid"),
        ("cosface", {"centers": 2}, "unknown_option"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, code):
    with raises_kit_error(code):
        settings_of(Component(name=name, **options))


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "torchvision:googlenet"])
def test_a_network_that_does_not_end_in_one_linear_layer_is_refused(name):
    config = ModelConfig(name=name, pretrained=False, classifier="arcface")
    with raises_kit_error("classifier_unsuitable"):
        build_model(config, ImageConfig(size=64), num_classes=3)
