"""A peer runs in its own process; a missing or failing one is reported, not raised."""

import sys

import pytest

from kit.bench.measure import measuring_place
from kit.bench.rig import Rig
from kit.config.load import load_config
from kit.runtime.progress import SILENT
from tests.benchmarks.peers import peers
from tests.benchmarks.peers.peers import NOT_INSTALLED, Peer, peer_request, run_peer
from tests.conftest import write_config


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Peer scripts that print fixed figures or fail."""
    lines = {
        "json": 'print(\'a line\'); print(\'{"train": 1.5, "predict": 2.5, "versions": {"json": "1"}}\')',
        "csv": "raise OSError('no GPU here')",
    }
    for name, line in lines.items():
        (tmp_path / f"{name}_peer.py").write_text(line)
    monkeypatch.setattr(
        peers, "PEERS", {name: str(tmp_path / f"{name}_peer.py") for name in (*lines, "no_such_library")}
    )
    return tmp_path


def test_a_peer_runs_in_its_own_process_and_its_command_is_reported(scripts):
    found = run_peer("json", scripts / "request.json", SILENT)
    assert (found.train, found.predict, found.versions) == (1.5, 2.5, {"json": "1"})
    assert found.command == f"{sys.executable} {scripts}/json_peer.py {scripts}/request.json"


def test_a_missing_or_failing_peer_is_reported(scripts):
    assert run_peer("no_such_library", scripts, SILENT) == Peer("no_such_library", problem=NOT_INSTALLED)
    failed = run_peer("csv", scripts, SILENT)
    assert (failed.train, failed.problem) == (None, "OSError: no GPU here")
    for script in ("print('a line of another library')", ""):
        (scripts / "csv_peer.py").write_text(script)
        assert "no JSON" in run_peer("csv", scripts, SILENT).problem


def test_a_peer_gets_the_same_images_with_their_labels(tiny):
    config = load_config(write_config(tiny))
    with measuring_place(config, tiny, 6) as place:
        rig = Rig(config, place)
        request = peer_request(config, place, rig.pictures, 5)
    classes = place.data.competition.classes
    assert len(request["files"]) == 6
    for file, label in zip(request["files"], request["labels"], strict=True):
        assert f"/{classes[label]}/" in file
    assert {key: request[key] for key in ("model", "size", "batch", "steps")} == {
        "model": "simple_cnn",
        "size": 16,
        "batch": 8,
        "steps": 5,
    }
