"""Competition folders drawn by the script $KIT_CASES/draw.py, each with the reading that is expected of kit init."""

import importlib.util
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kit.cli.main import app
from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.storage.workspace import Workspace

SCRIPT = Path(os.environ.get("KIT_CASES", "nowhere")) / "draw.py"


def load_script():
    if not SCRIPT.is_file():
        return None
    spec = importlib.util.spec_from_file_location("draw_cases", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = load_script()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("cases")
    CASES.main(out)
    return out


@pytest.mark.skipif(CASES is None, reason="KIT_CASES holds no draw.py")
@pytest.mark.parametrize("name", sorted(CASES.cases) if CASES else ["none"])
def test_kit_init_reads_the_folder_as_expected(drawn, name, tmp_path):
    expected = yaml.safe_load((drawn / name / "expected.yaml").read_text())
    arguments = ["init", str(drawn / name / "data"), "--name", "c", "--workspace", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code == 0) == (expected["init"] == "ok"), result.output
    said = expected.get("says", [])
    assert not said or any(word in result.output for word in said), result.output
    if result.exit_code == 0:
        workspace = Workspace.open(tmp_path)
        config = load_config(workspace.config("c")).competition
        competition = load_competition(config, workspace)
        found = {
            "task": config.task,
            "classes": sorted(competition.classes),
            "train": len(competition.train),
            "test": len(competition.test),
        }
        assert found.items() >= {key: expected[key] for key in found if key in expected}.items()
