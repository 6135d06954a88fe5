"""Warnings about settings without effect, and about a wrong normalization."""

import pytest
import timm
from safetensors.torch import save_file

from kit.config.load import load_config
from kit.engine.fit.validate_config import check_recipe
from tests.conftest import run_kit, write_config

MODEL = "mobilenetv2_035"


def warnings_for(workspace, *overrides: str) -> list[str]:
    return check_recipe(load_config(write_config(workspace), overrides), workspace)


def test_pretrained_weights_that_do_not_exist_give_a_warning(tiny):
    (line,) = warnings_for(tiny, "model.pretrained=true")
    assert "random weights" in line
    assert warnings_for(tiny, "model.pretrained=false") == []


@pytest.fixture
def pretrained(tiny):
    """Overrides for a network with a file of weights."""
    file = tiny.root / "weights" / "own.safetensors"
    file.parent.mkdir()
    save_file(timm.create_model(MODEL).state_dict(), file)
    return [f"model={{name: {MODEL}, pretrained: true, weights: {file}}}", "image.size=32"]


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["image.mean=[0, 0, 0]", "image.std=[1, 1, 1]"], "Remove image.mean and image.std"),
        (["image.std=[1, 1, 1]"], "Remove image.std"),
        (["image.mode=grey", "image.mean=[0]"], "Remove image.mean"),
        (["image.mean=[0.49, 0.46, 0.41]", "image.std=[0.229, 0.224, 0.225]"], None),
        (["image.channels=5", "image.mean=[0, 0, 0, 0, 0]", "augment.preset=none"], None),
        (["model.weights=null", "model.pretrained=false", "image.mean=[0, 0, 0]"], None),
    ],
)
def test_pretrained_weights_with_another_normalization_give_a_warning(tiny, pretrained, overrides, remedy):
    found = warnings_for(tiny, *pretrained, *overrides)
    assert len(found) == (remedy is not None)
    assert all(line.endswith(str(remedy)) for line in found)


def test_a_network_from_scratch_may_have_any_normalization(tiny):
    assert warnings_for(tiny, "image.mean=[0, 0, 0]", "image.std=[1, 1, 1]") == []


def test_a_dry_run_warns_about_the_normalization_and_names_the_right_one(tiny, pretrained):
    overrides = [*pretrained, "image.mean=[0, 0, 0]", "image.std=[1, 1, 1]"]
    sets = [part for each in overrides for part in ("--set", each)]
    done = run_kit("train", write_config(tiny), "--dry-run", *sets, "--workspace", tiny.root)
    shown = " ".join(done.stderr.split())
    assert "warning: image.mean [0.0, 0.0, 0.0] and image.std [1.0, 1.0, 1.0]" in shown
    assert "expect mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225]" in shown
