import os
import subprocess
from pathlib import Path

import pytest
import torch

from kit.engine.checkpoints import load_model, load_resume, save_model, save_resume
from kit.errors import KitError

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


def test_a_model_comes_back_to_the_bit_with_what_is_said_of_it(tmp_path):
    about = {"classes": ["2", "10"], "preprocessing": {"size": 24}}
    save_model(tmp_path / "m.safetensors", STATE, about)
    state, read = load_model(tmp_path / "m.safetensors")
    assert read == about
    assert all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_a_cut_model_says_what_to_do(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, STATE, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(KitError, match="is not a whole checkpoint.*Train the fold again"):
        load_model(path)


def test_a_resume_file_comes_back_or_is_none(tmp_path):
    path = tmp_path / "last.pt"
    assert load_resume(path) is None
    save_resume(path, {"epoch": 3, "model": STATE, "history": [{"loss": 0.5}]})
    assert load_resume(path)["history"] == [{"loss": 0.5}]
    path.write_bytes(path.read_bytes()[:-40])
    assert load_resume(path) is None


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let the test mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "save", [lambda p, s: save_model(p, s, {}), lambda p, s: save_resume(p, {"model": s})]
)
def test_a_full_disk_is_one_message_and_the_checkpoint_before_it_stays(small_disk: Path, save):
    path = small_disk / "checkpoint"
    save(path, STATE)
    before = path.read_bytes()
    with pytest.raises((KitError, OSError), match="cannot be written|No space left"):
        save(path, {"a": torch.ones(400_000)})
    assert path.read_bytes() == before
    assert [p.name for p in small_disk.iterdir()] == ["checkpoint"]
