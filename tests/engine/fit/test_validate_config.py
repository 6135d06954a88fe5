"""Warnings about settings without effect."""

from kit.config.load import load_config
from kit.engine.fit.validate_config import check_recipe
from tests.conftest import write_config


def warnings_for(workspace, *overrides: str) -> list[str]:
    return check_recipe(load_config(write_config(workspace), overrides), workspace)


def test_pretrained_weights_that_do_not_exist_give_a_warning(tiny):
    (line,) = warnings_for(tiny, "model.pretrained=true")
    assert "random weights" in line
    assert warnings_for(tiny, "model.pretrained=false") == []
