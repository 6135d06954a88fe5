"""With pretrained weights ``kit auto`` trains heads on frozen features first, and blends them."""

import pytest

from kit.auto import auto
from kit.runtime.deadline import Deadline
from kit.storage.workspace import Workspace
from tests.conftest import draw_class_folders, write_config
from tests.probe.test_probe import write_weights


@pytest.mark.slow
def test_heads_of_all_networks_are_trained_and_blended(tmp_path):
    workspace = Workspace.open(tmp_path)
    draw_class_folders(tmp_path / "data" / "tiny", per_class=12)
    write_weights(workspace, "test_resnet_mine.safetensors")
    write_weights(workspace, "test_vit_mine.safetensors", "test_vit")
    models = ["test_resnet=test_resnet_mine.safetensors", "test_vit=test_vit_mine.safetensors"]
    deadline = Deadline(60)
    result = auto(write_config(workspace), time_limit=deadline, models=models, workspace=workspace)
    assert deadline.left > 0
    heads = [each for each in result.scored if each.kind == "head"]
    assert {each.network for each in heads} == {"test_resnet", "test_vit"}
    assert any(each.kind == "blend" for each in result.scored)
    assert result.submission is not None
