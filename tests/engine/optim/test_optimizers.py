"""Optimizers: a contract for every optimizer of timm, and the rates and weight decay of parameters."""

import io
from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from timm.optim import list_optimizers, param_groups_layer_decay
from torch import nn
from torch.nn import functional as F

from kit.config import Component, ImageConfig, ModelConfig, TrainConfig
from kit.engine.models.build import build_model
from kit.engine.models.freezing import stages_of
from kit.engine.models.heads import head_parameters
from kit.engine.optim.optimizers import build_optimizer, check_optimizer, load_optimizer
from tests.conftest import raises_kit_error

REFUSED = [n for n in list_optimizers() if n.startswith(("bnb", "fused"))] + ["adahessian"]
USABLE = [n for n in list_optimizers() if n not in REFUSED] + ["lookahead_adamw", "lookahead_sgd"]
# Optimizers that scale steps by the norm of the weights or by earlier steps need another rate.
RATES = {"adadelta": 1.0, "lars": 1.0, "nlars": 1.0, "larc": 0.1, "nlarc": 0.1}


@pytest.fixture(autouse=True)
def _eager_and_single_threaded():
    # kron compiles its formulas, which takes a minute and does not change results; more threads slow down a
    # network of this size.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.compiler.set_stance("force_eager"):
        yield
    torch.set_num_threads(threads)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 3)
    )


def built(name, backbone, **train):
    options = {"lr": RATES.get(name, 0.01)} | train
    return build_optimizer(backbone, TrainConfig(optimizer=Component(name=name), **options))


def learn(backbone, optimizer, steps):
    """Return the loss of each step on images whose class is the brightest channel."""
    truth = torch.arange(24) % 3
    noise = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    images = 0.3 * noise + torch.eye(3)[truth][:, :, None, None]
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(backbone(images), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# --- the contract


@pytest.mark.parametrize("name", USABLE)
def test_every_optimizer_reduces_the_loss(name):
    backbone = network()
    losses = learn(backbone, built(name, backbone), 12)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", USABLE)
def test_every_optimizer_resumes_from_a_checkpoint(name):
    backbone = network()
    optimizer = built(name, backbone)
    learn(backbone, optimizer, 5)
    file = io.BytesIO()
    torch.save({"model": backbone.state_dict(), "optimizer": optimizer.state_dict()}, file)
    torch.manual_seed(9)
    uninterrupted = learn(backbone, optimizer, 5)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = network(seed=3)
    resumed = built(name, again)
    again.load_state_dict(saved["model"])
    load_optimizer(resumed, saved["optimizer"])
    torch.manual_seed(9)
    assert learn(again, resumed, 5) == uninterrupted


def test_a_checkpoint_without_the_fused_kernel_resumes_with_it():
    backbone = network()
    plain = torch.optim.AdamW(backbone.parameters(), lr=1e-3, foreach=False)
    learn(backbone, plain, 2)
    fused = torch.optim.AdamW(backbone.parameters(), lr=1e-3, fused=True)
    load_optimizer(fused, plain.state_dict())
    assert fused.param_groups[0]["fused"]
    assert {state["step"].dtype for state in fused.state.values()} == {torch.float32}
    scaler = torch.amp.GradScaler("cpu")  # passes its scale to fused kernels only
    scaler.scale(backbone(torch.zeros(2, 3, 8, 8)).sum()).backward()
    scaler.step(fused)
    assert {int(state["step"]) for state in fused.state.values()} == {3}


@pytest.mark.parametrize("name", USABLE)
def test_no_optimizer_decays_norms_and_biases(name):
    """With equal gradients, the amount of weight decay changes only the decayed parameters."""

    def after_steps(decay):
        backbone = network()
        optimizer = built(name, backbone, weight_decay=decay)
        torch.manual_seed(2)
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            for parameter in backbone.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
        return dict(backbone.named_parameters())

    little, much = after_steps(1e-9), after_steps(0.5)
    differing = {n for n in little if not torch.allclose(little[n], much[n], rtol=1e-5, atol=1e-7)}
    assert differing == {"0.weight", "4.weight"}


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_optimizers_are_refused_with_the_reason(name):
    code = "optimizer_unsuitable" if name == "adahessian" else "library_missing"
    with raises_kit_error(code, "train.optimizer") as caught:
        check_optimizer(Component(name=name))
    assert f"{name} needs" in caught.value.problem


# --- names and options


def test_an_unknown_optimizer_is_refused():
    check_optimizer(Component(name="adamw"))
    check_optimizer(Component(name="lookahead_radam"))
    with raises_kit_error("unknown_name", "train.optimizer"):
        check_optimizer(Component(name="adamww"))
    with raises_kit_error("unknown_name", "train.optimizer"):
        check_optimizer(Component(name="lookahead_radm"))


def test_options_reach_the_optimizer():
    train = TrainConfig(optimizer=Component(name="adamw", betas=[0.8, 0.9], eps=1e-6))
    optimizer = build_optimizer(network(), train)
    assert {(group["betas"], group["eps"]) for group in optimizer.param_groups} == {((0.8, 0.9), 1e-6)}
    train = TrainConfig(optimizer=Component(name="sgd", momentum=0.5, nesterov=False))
    groups = build_optimizer(network(), train).param_groups
    assert {(group["momentum"], group["nesterov"]) for group in groups} == {(0.5, False)}


@pytest.mark.parametrize("name", ["adamw", "sgd", "lookahead_adamw"])
def test_the_fused_kernel_is_the_default(name):
    def is_fused(**options):
        optimizer = build_optimizer(network(), TrainConfig(optimizer=Component(name=name, **options)))
        return {bool(group["fused"]) for group in optimizer.param_groups} == {True}

    assert is_fused()
    assert not is_fused(foreach=True)
    assert not is_fused(fused=False)


@pytest.mark.parametrize(
    ("component", "code", "where"),
    [
        ({"name": "adamw", "beta": 0.9}, "unknown_option", "train.optimizer.beta"),
        ({"name": "lion", "eps": 1e-8}, "unknown_option", "train.optimizer.eps"),
        ({"name": "adamw", "lr": 0.1}, "option_elsewhere", "train.optimizer.lr"),
        ({"name": "adamw", "betas": [0.9, 3.0]}, "option_invalid", "train.optimizer"),
        ({"name": "adamw", "betas": [0.9]}, "option_invalid", "train.optimizer"),
        ({"name": "sgd", "momentum": "much"}, "option_invalid", "train.optimizer"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(component, code, where):
    with raises_kit_error(code, where):
        check_optimizer(Component(**component))


# --- parameter groups


def small():
    model, _ = build_model(ModelConfig(name="simple_cnn", pretrained=False), ImageConfig(), 4)
    return model.backbone


def resnet():
    return timm.create_model("resnet18", num_classes=4)


def vit():
    return timm.create_model("vit_tiny_patch16_224", num_classes=4, img_size=32, depth=3)


def from_torchvision():
    return torchvision.models.resnet18(num_classes=4)


NETWORKS = pytest.mark.parametrize("make", [small, resnet, vit, from_torchvision])


def of_each(backbone, optimizer, key):
    """Return parameter name -> the value of ``key`` in its group."""
    values = {id(p): group[key] for group in optimizer.param_groups for p in group["params"]}
    return {name: values[id(p)] for name, p in backbone.named_parameters() if id(p) in values}


@NETWORKS
@pytest.mark.parametrize("train", [{}, {"layer_decay": 0.7, "head_lr": 0.01}])
def test_every_parameter_is_in_one_group_and_norms_and_biases_are_not_decayed(make, train):
    backbone = make()
    optimizer = build_optimizer(backbone, TrainConfig(weight_decay=0.1, lr=0.001, **train))
    parameters = dict(backbone.named_parameters())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(parameters)
    decays = of_each(backbone, optimizer, "weight_decay")
    excluded = getattr(backbone, "no_weight_decay", set)()
    for name, parameter in parameters.items():
        assert decays[name] == (0.0 if parameter.ndim <= 1 or name in excluded else 0.1), name


def test_parameters_that_the_network_excludes_are_not_decayed():
    backbone = vit()
    decays = of_each(backbone, build_optimizer(backbone, TrainConfig(weight_decay=0.1)), "weight_decay")
    assert (decays["pos_embed"], decays["cls_token"], decays["head.weight"]) == (0.0, 0.0, 0.1)


@NETWORKS
def test_frozen_parameters_are_left_out_and_do_not_change_other_rates(make):
    backbone = make()
    whole = of_each(backbone, build_optimizer(backbone, TrainConfig(layer_decay=0.7)), "lr_scale")
    frozen = stages_of(backbone)[0]
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in frozen)
    rest = of_each(backbone, build_optimizer(backbone, TrainConfig(layer_decay=0.7)), "lr_scale")
    assert rest == {name: scale for name, scale in whole.items() if name not in frozen}


@NETWORKS
def test_head_lr_applies_to_the_head_only(make):
    backbone = make()
    head = {name for name, p in backbone.named_parameters() if p in head_parameters(backbone)}
    optimizer = build_optimizer(backbone, TrainConfig(lr=0.001, head_lr=0.005))
    scales = of_each(backbone, optimizer, "lr_scale")
    assert head
    assert scales == {name: pytest.approx(5.0 if name in head else 1.0) for name in scales}


@NETWORKS
def test_layer_decay_reduces_rates_from_the_head_to_the_input(make):
    backbone = make()
    scales = of_each(backbone, build_optimizer(backbone, TrainConfig(layer_decay=0.5)), "lr_scale")
    head = {name for name, p in backbone.named_parameters() if p in head_parameters(backbone)}
    assert {scales[name] for name in head} == {1.0}
    by_stage = [[scales[name] for name in stage] for stage in stages_of(backbone)]
    assert len(by_stage) >= 3
    for earlier, later in pairwise(by_stage):
        assert max(earlier) < max(later)
        assert min(earlier) < min(later)
    assert by_stage[0][0] < 0.5


@pytest.mark.parametrize("make", [resnet, vit])
def test_layer_decay_of_timm_networks_equals_timm(make):
    backbone = make()
    ours = of_each(backbone, build_optimizer(backbone, TrainConfig(layer_decay=0.6)), "lr_scale")
    theirs = {
        id(p): group["lr_scale"]
        for group in param_groups_layer_decay(backbone, layer_decay=0.6)
        for p in group["params"]
    }
    assert ours == {name: pytest.approx(theirs[id(p)]) for name, p in backbone.named_parameters()}


@pytest.mark.parametrize("make", [small, from_torchvision])
def test_layer_decay_of_other_networks_goes_by_stage(make):
    backbone = make()
    stages = stages_of(backbone)
    scales = of_each(backbone, build_optimizer(backbone, TrainConfig(layer_decay=0.5)), "lr_scale")
    for number, stage in enumerate(stages):
        assert {scales[name] for name in stage} == {0.5 ** (len(stages) - number)}
