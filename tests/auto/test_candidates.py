"""The networks that ``kit auto`` may train: weights at hand, downloads by size and accuracy, from scratch."""

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from kit.auto.candidates import find_candidates, model_of_file
from kit.auto.catalog import NETWORKS, worth_downloading
from tests.conftest import raises_kit_error
from tests.probe.test_probe import write_weights


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("mobilenetv2_100_tv_in1k.safetensors", "mobilenetv2_100"),
        ("resnet50d.pth", "resnet50d"),
        ("squeezenet1_1_torchvision.safetensors", "torchvision:squeezenet1_1"),
        ("notes.bin", None),
    ],
)
def test_a_weights_file_names_its_network(tmp_path, file, model):
    assert model_of_file(tmp_path / file) == model


def test_weights_in_the_folder_are_candidates_small_files_first(tiny, tiny_config):
    write_weights(tiny, "test_resnet_mine.safetensors")
    write_weights(tiny, "test_vit_mine.safetensors", "test_vit")
    found, notes = find_candidates(tiny_config, tiny, [], side=200, seconds=60)
    files = [tiny.root / "weights" / str(each.weights) for each in found]
    assert {each.model for each in found} == {"test_resnet", "test_vit"}
    assert [f.stat().st_size for f in files] == sorted(f.stat().st_size for f in files)
    assert notes == []


def test_small_images_and_machines_without_weights_get_networks_from_scratch_and_are_told(tiny, tiny_config):
    for side in (32, 200):
        found, notes = find_candidates(tiny_config, tiny, [], side, 60)
        assert {each.model for each in found} == {"simple_cnn", "residual_cnn"}
        assert not any(each.pretrained for each in found)
        assert notes


def test_all_wrong_networks_are_named_at_once(tiny, tiny_config):
    with raises_kit_error("several_mistakes"):
        find_candidates(tiny_config, tiny, ["nothing_a", "nothing_b", "simple_cnn"], 32, 60)


def test_the_catalog_has_the_cost_and_size_of_every_network():
    for name, known in NETWORKS.items():
        with torch.device("meta"):
            net = timm.create_model(name, pretrained=False).eval()
            size = timm.get_pretrained_cfg(name).input_size[-1]
            images = torch.zeros(1, 3, size, size)
        with FlopCounterMode(display=False) as counter:
            net(images)
        params = sum(each.numel() for each in net.parameters())
        assert known.gmacs == pytest.approx(counter.get_total_flops() / 2e9, abs=0.01)
        assert known.mparams == pytest.approx(params / 1e6, abs=0.06)


def test_a_long_time_limit_downloads_better_networks_and_a_short_one_small_files():
    some = worth_downloading(at_hand=0, megabytes=60, most=3)
    assert len(some) == 3
    assert all(NETWORKS[name].megabytes <= 60 for name in some)
    top1 = [NETWORKS[name].top1 for name in some]
    assert top1 == sorted(top1)
    best = max(NETWORKS, key=lambda name: NETWORKS[name].top1)
    assert worth_downloading(at_hand=0, megabytes=1000, most=3)[-1] == best
    assert worth_downloading(at_hand=85.0, megabytes=1000, most=3) == [best]
    assert worth_downloading(at_hand=90.0, megabytes=1000, most=3) == []
