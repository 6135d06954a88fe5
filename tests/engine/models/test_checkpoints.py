import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kit.engine.models.checkpoints import forget_resume, load_model, load_resume, save_model, save_resume
from kit.errors import KitError
from kit.storage.files import remove_drafts
from kit.storage.fold_folder import FoldFolder
from tests.conftest import raises_kit_error

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}


def test_a_saved_model_is_loaded_bit_for_bit_with_its_metadata(tmp_path):
    about = {"classes": ["2", "10"], "preprocessing": {"size": 24}}
    save_model(tmp_path / "m.safetensors", STATE, about)
    state, read = load_model(tmp_path / "m.safetensors")
    assert read == about
    assert all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_a_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, STATE, {})
    path.write_bytes(path.read_bytes()[:-4])
    with raises_kit_error("file_damaged"):
        load_model(path)


def test_a_resume_checkpoint_is_loaded_as_saved(tmp_path):
    fold = FoldFolder(tmp_path)
    assert load_resume(fold) == (None, [])
    save_resume(fold, {"epoch": 3, "model": STATE, "history": [{"loss": 0.5}]})
    saved, damaged = load_resume(fold)
    assert (saved["history"], damaged) == ([{"loss": 0.5}], [])
    assert torch.equal(saved["model"]["a"], STATE["a"])
    forget_resume(fold)
    assert list(tmp_path.iterdir()) == []


def cut(data: bytes) -> bytes:
    return data[:-40]


def flipped(data: bytes) -> bytes:
    middle = data.index(STATE["a"].numpy().tobytes()) + 5
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda data: b""])
def test_a_damaged_checkpoint_is_replaced_by_the_previous_one(tmp_path, damage):
    fold = FoldFolder(tmp_path)
    for epoch in (1, 2, 3):
        save_resume(fold, {"epoch": epoch, "model": STATE})
    assert load_resume(fold)[0]["epoch"] == 3
    fold.resume.write_bytes(damage(fold.resume.read_bytes()))
    saved, damaged = load_resume(fold)
    assert (saved["epoch"], damaged) == (2, ["last.pt"])
    fold.resume_before.write_bytes(damage(fold.resume_before.read_bytes()))
    assert load_resume(fold) == (None, ["last.pt", "last-but-one.pt"])


KILLED_WHILE_WRITING = """
import os, sys
from pathlib import Path
import torch
from kit.engine.models.checkpoints import save_resume
from kit.storage.fold_folder import FoldFolder

save = torch.save
def save_half(state, draft):
    save(state, draft)
    draft.write_bytes(draft.read_bytes()[: draft.stat().st_size // 2])
    os.kill(os.getpid(), 9)

fold = FoldFolder(Path(sys.argv[1]))
save_resume(fold, {"epoch": 1})
torch.save = save_half
save_resume(fold, {"epoch": 2})
"""


def test_a_process_killed_while_writing_keeps_the_last_checkpoint(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)], capture_output=True)
    assert done.returncode == -9, done.stderr
    fold = FoldFolder(tmp_path)
    saved, damaged = load_resume(fold)
    assert (saved["epoch"], damaged) == (1, [])
    assert len(list(tmp_path.iterdir())) == 2
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("best.safetensors", lambda fold, state: save_model(fold.model, state, {})),
        ("last.pt", lambda fold, state: save_resume(fold, {"model": state})),
    ],
)
def test_a_full_disk_keeps_the_previous_file(small_disk: Path, name, save):
    path = small_disk / name
    save(FoldFolder(small_disk), STATE)
    before = path.read_bytes()
    found = None
    try:
        save(FoldFolder(small_disk), {"a": torch.ones(400_000)})
    except KitError as error:  # a reference to the error would keep the file open
        found = error.code, error.where
    except OSError as error:
        found = error.errno, error.filename
    assert found in (("disk_full", str(path)), (errno.ENOSPC, str(path)))
    assert path.read_bytes() == before
    assert [p.name for p in small_disk.iterdir()] == [name]
