"""A machine that cannot train is refused, and one that may not is warned of, before images are read."""

from pathlib import Path

import pytest
import torch

from kit.engine.device.device import find_device
from kit.engine.device.resources import (
    PREFETCHED,
    full_disk_soon,
    low_device_memory,
    small_shared_memory,
    unsupported_gpu,
)

CU128 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]  # torch 2.10 of the index
P100, T4, L4, H100 = (6, 0), (7, 5), (8, 9), (9, 0)


def is_supported(capability: tuple[int, int], arch_list: list[str]) -> bool:
    shortage = unsupported_gpu("a GPU", capability, arch_list)
    if shortage is not None:
        assert (shortage.error.code, shortage.is_certain) == ("gpu_not_supported", True)
    return shortage is None


def test_a_gpu_older_than_all_code_is_refused():
    assert not is_supported(P100, CU128)
    assert all(is_supported(capability, CU128) for capability in (T4, L4, H100, (12, 1)))


@pytest.mark.parametrize(
    ("arch_list", "capability", "supported"),
    [
        (["sm_80"], (8, 9), True),  # machine code runs on later GPUs of its major version
        (["sm_89"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["sm_80", "compute_80"], (9, 0), True),  # PTX is compiled for later GPUs
        (["compute_80"], (7, 5), False),
        (["sm_90a"], (9, 0), True),
        (["sm_90a", "compute_90a"], (10, 0), False),  # of this GPU alone
        (["sm_100f"], (10, 3), True),
        (["compute_100f"], (12, 0), False),  # of this family alone
        (["sm_120"], (12, 0), True),
        (["gfx90a"], (9, 0), True),  # AMD's say nothing about the capability
        ([], (9, 0), True),
    ],
)
def test_which_code_runs_on_which_gpu(arch_list, capability, supported):
    assert is_supported(capability, arch_list) == supported


def test_the_message_names_the_gpu_and_what_it_would_need():
    error = unsupported_gpu("Tesla P100", P100, CU128).error
    assert error.where == "Tesla P100"
    assert "6.0" in error.problem and torch.__version__ in error.problem
    assert "sm_60" in error.next and "CUDA_VISIBLE_DEVICES" in error.next


def test_without_a_gpu_there_is_a_device():
    assert isinstance(find_device(), torch.device)


@pytest.mark.parametrize(
    ("free", "certain"),
    [(99, True), (100, False), (199, False), (499, False), (500, None), (1000, None)],
)
def test_device_memory_must_hold_the_network_and_should_not_be_half_used(free, certain):
    shortage = low_device_memory("a GPU", free, total=1000, needed=100, likely=200)
    assert (None if shortage is None else shortage.is_certain) == certain
    if shortage is not None:
        assert shortage.error.code == "device_memory_low"


@pytest.mark.parametrize(("free", "certain"), [(49, True), (50, False), (79, False), (80, None)])
def test_a_disk_must_hold_the_models_and_should_hold_checkpoints_and_caches(free, certain):
    shortage = full_disk_soon(Path("runs"), free, models=50, passing=30)
    assert (None if shortage is None else shortage.is_certain) == certain
    if shortage is not None:
        assert shortage.error.code == "disk_full_soon"


@pytest.mark.parametrize(("batches", "certain"), [(0.9, True), (1, False), (7.9, False), (8, None)])
def test_shared_memory_must_hold_one_batch_and_should_hold_all(batches, certain):
    assert torch.utils.data.DataLoader([0], num_workers=1).prefetch_factor == PREFETCHED
    shortage = small_shared_memory(int(1000 * batches), batch_bytes=1000, workers=4)
    assert (None if shortage is None else shortage.is_certain) == certain
    if shortage is not None:
        assert shortage.error.code == "shared_memory_small"


def test_without_loader_processes_shared_memory_is_not_needed():
    assert small_shared_memory(0, batch_bytes=1000, workers=0) is None
