"""Precision and test-time views: a contract for every entry."""

import pytest
import torch

from kit.engine.precision import choose_precision, open_accelerator
from kit.engine.tta import views
from kit.errors import KitError


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
