"""Which precision a device computes in."""

import pytest
import torch

from kit.engine.precision import choose_precision, open_accelerator
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
    opened = [open_accelerator(precision).mixed_precision for precision in ("fp32", "bf16", "fp32")]
    assert opened == ["no", "bf16", "no"]
