"""The precision chosen for a device, autocast in it, and loss scaling."""

import pytest
import torch

from kit.engine.device import amp
from kit.engine.device.amp import DTYPES, Amp, choose_precision
from tests.conftest import raises_kit_error


def test_the_chosen_precision_has_a_reason():
    cpu = torch.device("cpu")
    assert str(choose_precision("fp32", cpu)) == "fp32 (as configured)"
    automatic = choose_precision("auto", cpu)
    assert automatic.name in ("bf16", "fp32")
    assert "CPU" in automatic.why
    with raises_kit_error("precision_not_supported", where="train.precision"):
        choose_precision("fp16", cpu)


def test_a_cpu_without_bf16_computes_in_fp32(monkeypatch):
    monkeypatch.setattr(amp, "processor_flags", lambda: {"avx2"})
    assert str(choose_precision("auto", torch.device("cpu"))) == "fp32 (the CPU has no bf16)"


def test_autocast_computes_in_the_precision_and_only_inside_its_context():
    product = torch.ones(2, 2)
    for precision in ("fp32", "bf16", "fp32"):
        with Amp(torch.device("cpu"), precision).autocast():
            assert (product @ product).dtype == DTYPES[precision]
        assert (product @ product).dtype == torch.float32


def weight_after(gradient: float, precision: str, clip: float | None = None) -> float:
    """Return a weight of 1 after a step of SGD with rate 1 and this gradient."""
    weight = torch.ones(1, requires_grad=True)
    scaled, optimizer = Amp(torch.device("cpu"), precision), torch.optim.SGD([weight], lr=1.0)
    scaled.backward((weight * gradient).sum())
    scaled.step(optimizer, [weight], clip)
    return weight.item()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_loss_scaling_does_not_change_the_step(precision):
    assert weight_after(0.25, precision) == 0.75
    assert weight_after(3.0, precision, clip=0.5) == pytest.approx(0.5)


def test_a_step_whose_scaled_gradient_overflows_is_skipped_and_the_scale_reduced():
    assert weight_after(float("inf"), "fp16") == 1.0
    amp, weight = Amp(torch.device("cpu"), "fp16"), torch.ones(1, requires_grad=True)
    before = amp.scaler.get_scale()
    amp.backward((weight * float("inf")).sum())
    amp.step(torch.optim.SGD([weight], lr=1.0), [weight], None)
    assert amp.scaler.get_scale() == before / 2
    assert amp.state_dict()["scale"] == before / 2
    fresh = Amp(torch.device("cpu"), "fp16")
    fresh.load_state_dict(amp.state_dict())
    assert fresh.scaler.get_scale() == before / 2
    assert Amp(torch.device("cpu"), "bf16").state_dict() is None
