import pytest
import timm
import torch
import torchvision
from torch import nn

from kit.engine.models.freezing import (
    check_freezing,
    num_training,
    settle_norms,
    stages_of,
    train_only,
    widest,
)
from tests.conftest import raises_kit_error

NETWORKS = {
    "resnet18": 5,
    "mobilenetv2_100": 8,
    "vit_tiny_patch16_224": 13,
    "convnext_tiny": 5,
    "swin_tiny_patch4_window7_224": 5,
    "torchvision:resnet18": 5,
    "torchvision:vgg11_bn": 9,
    "torchvision:mobilenet_v3_small": 14,
    "torchvision:vit_b_16": 15,
    "torchvision:densenet121": 8,
    "torchvision:swin_t": 8,
    "torchvision:googlenet": 12,
}


def network(name: str) -> nn.Module:
    with torch.device("meta"):
        if name.startswith("torchvision:"):
            options = {"init_weights": False} if "googlenet" in name else {}
            return torchvision.models.get_model(name.removeprefix("torchvision:"), **options)
        return timm.create_model(name, num_classes=5)


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_contain_every_body_parameter_once_and_at_least_one_matrix_each(name):
    backbone = network(name)
    stages = stages_of(backbone)
    assert len(stages) == NETWORKS[name]
    named = [n for stage in stages for n in stage]
    assert len(named) == len(set(named))
    shapes = {n: p.ndim for n, p in backbone.named_parameters()}
    assert all(max(shapes[n] for n in stage) > 1 for stage in stages)
    heads = {n.split(".")[0] for n in set(shapes) - set(named)}
    assert heads <= {"fc", "head", "heads", "classifier", "aux1", "aux2"}


def learning(backbone: nn.Module) -> set[str]:
    return {n.split(".")[0] for n, p in backbone.named_parameters() if p.requires_grad}


def test_train_only_freezes_the_other_stages():
    backbone = network("resnet18")
    for count, expected in ((0, {"fc"}), (1, {"fc", "layer4"}), (2, {"fc", "layer4", "layer3"})):
        train_only(backbone, count)
        assert learning(backbone) == expected
    train_only(backbone, "all")
    assert all(p.requires_grad for p in backbone.parameters())


def test_the_trained_part_changes_by_epoch():
    plan = {1: 0, 4: 2, 8: "all"}
    assert [num_training(plan, epoch) for epoch in (1, 3, 4, 7, 8, 20)] == [0, 0, 2, 2, "all", "all"]
    assert (widest(plan), widest({1: 0, 2: 3})) == ("all", 3)
    with raises_kit_error("too_many_stages", "model.trains"):
        check_freezing({1: 0, 3: 6}, network("resnet18"))


def test_norms_of_frozen_stages_keep_their_statistics():
    backbone = timm.create_model("resnet18", num_classes=3)
    train_only(backbone, 1)
    backbone.train()
    settle_norms(backbone, frozen=False)
    before = {n: b.clone() for n, b in backbone.named_buffers() if n.endswith("running_mean")}
    backbone(torch.randn(4, 3, 32, 32))
    moved = {
        n.split(".")[0] for n, b in backbone.named_buffers() if n in before and not torch.equal(b, before[n])
    }
    assert moved == {"layer4"}


def test_frozen_norms_keep_their_statistics_and_train_their_scale():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    settle_norms(model, frozen=True)
    before = model[1].running_mean.clone()
    model(torch.randn(8, 3, 4, 4)).sum().backward()
    assert torch.equal(model[1].running_mean, before)
    assert model[1].weight.grad is not None
    assert model[0].training
