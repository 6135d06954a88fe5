"""Losses, optimisers, schedules, precision, views: a contract for every entry."""

import math

import pytest
import torch
from torch import nn

from kit.config import Component, ScheduleConfig, TrainConfig
from kit.engine.losses import build_loss, losses
from kit.engine.models import build_model
from kit.engine.optimisers import build_optimizer, build_schedule, check_optimizer
from kit.engine.precision import choose_precision, open_accelerator
from kit.engine.tta import views
from kit.errors import KitError
from kit.tasks import tasks

MULTI, LABELS = tasks.get("multiclass"), tasks.get("multilabel")


@pytest.mark.parametrize("name", list(losses))
def test_every_loss_prefers_the_right_answer_and_can_be_trained(name):
    loss = build_loss(Component(name=name), MULTI)
    targets = torch.eye(3)
    right = (targets * 8 - 4).requires_grad_()
    assert loss(right, targets) < loss(-right, targets)
    loss(right, targets).backward()
    assert right.grad.isfinite().all()


def test_cross_entropy_by_hand():
    loss = build_loss(None, MULTI)(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(math.log(2))
    bce = build_loss(None, LABELS)(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert bce.item() == pytest.approx(math.log(2))


def test_a_loss_that_does_not_fit_or_exist_is_refused():
    with pytest.raises(KitError, match="cross_entropy does not fit the task multilabel. Those that do: bce"):
        build_loss(Component(name="cross_entropy"), LABELS)
    with pytest.raises(KitError, match="train.loss.name: there is no loss 'crossentropy'"):
        build_loss(Component(name="crossentropy"), MULTI)
    with pytest.raises(KitError, match="train.loss.smoothing: there is no option 'smoothing'"):
        build_loss(Component(name="bce", smoothing=0.1), LABELS)


def test_an_unknown_optimiser_names_the_nearest():
    check_optimizer("adamw")
    with pytest.raises(KitError, match="there is no optimiser 'adamww'.*adamw"):
        check_optimizer("adamww")


def network() -> nn.Module:
    from kit.config import ImageConfig, ModelConfig

    model, _ = build_model(ModelConfig(name="simple_cnn", pretrained=False), ImageConfig(), 4)
    return model.backbone


def test_norms_and_biases_are_not_decayed_and_every_parameter_is_there_once():
    backbone = network()
    optimizer = build_optimizer(backbone, TrainConfig(weight_decay=0.1, head_lr=0.01, lr=0.001))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert (
        len(decay)
        == len(list(backbone.parameters()))
        == sum(len(g["params"]) for g in optimizer.param_groups)
    )
    for parameter in backbone.parameters():
        assert decay[id(parameter)] == (0.1 if parameter.ndim > 1 else 0.0)


def rates(schedule: ScheduleConfig, epochs=10, steps=4, **train) -> list[list[float]]:
    optimizer = build_optimizer(network(), TrainConfig(lr=0.1, **train))
    scheduler = build_schedule(optimizer, schedule, 0.1, epochs, steps)
    found = []
    for step in range(epochs * steps):
        scheduler.step_update(step)
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


def test_cosine_rises_in_the_warm_up_and_falls_to_its_floor():
    found = [r[0] for r in rates(ScheduleConfig(warmup_epochs=2, floor=0.001))]
    assert found[0] == pytest.approx(0.001)
    assert max(found) == pytest.approx(0.1)
    assert found.index(max(found)) == 8
    assert found[:9] == sorted(found[:9])
    assert found[8:] == sorted(found[8:], reverse=True)
    assert found[-1] == pytest.approx(0.001)


def test_constant_stays():
    found = [r[0] for r in rates(ScheduleConfig(name="constant", warmup_epochs=0))]
    assert set(found) == {0.1}


def test_the_head_has_its_own_rate_all_along():
    for row in rates(ScheduleConfig(warmup_epochs=1), head_lr=0.5):
        assert max(row) == pytest.approx(5 * min(row))


def test_precision_says_which_and_why():
    cpu = torch.device("cpu")
    assert str(choose_precision("fp32", cpu)) == "fp32 (as configured)"
    automatic = choose_precision("auto", cpu)
    assert automatic.name in ("bf16", "fp32")
    assert "CPU" in automatic.why
    with pytest.raises(KitError, match="train.precision: is fp16 on cpu"):
        choose_precision("fp16", cpu)


def test_a_cpu_without_bf16_computes_in_fp32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert str(choose_precision("auto", torch.device("cpu"))) == "fp32 (the CPU has no bf16)"


def test_precisions_may_change_within_a_process():
    names = []
    for wanted in ("fp32", "bf16", "fp32"):
        accelerator, precision = open_accelerator(wanted)
        names.append((accelerator.mixed_precision, precision.name))
    assert names == [("no", "fp32"), ("bf16", "bf16"), ("no", "fp32")]


IMAGES = torch.arange(2 * 3 * 32 * 32).remainder(251).view(2, 3, 32, 32).to(torch.uint8)


@pytest.mark.parametrize("name", list(views))
def test_views_keep_shape_and_type_and_leave_the_batch_alone(name):
    before = IMAGES.clone()
    seen = views.get(name)(IMAGES)
    assert (seen.shape, seen.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("name", ["identity", "hflip", "vflip", "rot180"])
def test_flips_undo_themselves(name):
    view = views.get(name)
    assert torch.equal(view(view(IMAGES)), IMAGES)


@pytest.mark.parametrize(
    ("name", "seen", "where"),
    [
        ("shift_up", (slice(0, 30), slice(None)), (slice(2, 32), slice(None))),
        ("shift_down", (slice(2, 32), slice(None)), (slice(0, 30), slice(None))),
        ("shift_left", (slice(None), slice(0, 30)), (slice(None), slice(2, 32))),
        ("shift_right", (slice(None), slice(2, 32)), (slice(None), slice(0, 30))),
    ],
)
def test_shifts_move_the_image_the_way_they_say(name, seen, where):
    shifted = views.get(name)(IMAGES)
    assert torch.equal(shifted[:, :, seen[0], seen[1]], IMAGES[:, :, where[0], where[1]])
