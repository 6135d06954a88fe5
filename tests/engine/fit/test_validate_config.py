"""Which precision a device computes in."""

import subprocess
import sys

import pytest
import torch

from kit.engine.device.precision import choose_precision, open_accelerator
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


def test_the_collector_passes_over_what_is_imported_and_libraries_report_no_leak():
    program = (
        "import gc, kit.engine.fit.validate_config, kit.engine.device.precision as precision;"
        "precision.this_device(); print(gc.get_freeze_count(), len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    frozen, looked_through = map(int, done.stdout.split())
    assert looked_through < frozen / 100
    assert "leaked" not in done.stderr
