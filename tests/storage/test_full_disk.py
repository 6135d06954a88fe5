"""A full disk is one message: the file, the space that is left, and the command that frees some."""

import errno

import numpy as np
import pandas as pd
import pytest

from kit.cli.main import _operating_system_error
from kit.storage.files import atomic_write, write_text
from tests.conftest import draw_class_folders, run_kit_json


def save_array(path):
    with atomic_write(path) as draft, draft.open("wb") as file:
        np.save(file, np.ones(400_000))


def save_table(path):
    with atomic_write(path) as draft:
        pd.DataFrame({"a": np.random.default_rng(0).random(400_000)}).to_parquet(draft)


@pytest.mark.parametrize("save", [save_array, save_table, lambda path: write_text(path, "x" * 1_000_000)])
def test_every_library_error_about_a_full_disk_names_the_file_and_leaves_nothing(small_disk, save):
    path = small_disk / "file"
    with pytest.raises(OSError) as caught:
        save(path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(small_disk.iterdir()) == []


def test_other_errors_keep_their_number_and_name_the_file_instead_of_its_draft(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "file") as draft:
        draft.read_bytes()
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_a_full_disk_is_one_message_with_the_free_space_and_the_next_step(small_disk, tmp_path):
    draw_class_folders(tmp_path / "data" / "tiny")
    with pytest.raises(OSError):
        (small_disk / "filler").write_bytes(b"x" * 1_000_000)
    error = run_kit_json("init", tmp_path / "data" / "tiny", "--workspace", small_disk, code=1)["error"]
    assert error["code"] == "disk_full"
    assert error["where"].startswith(str(small_disk))
    assert "(0 bytes free)" in error["problem"]
    assert "`kit clean`" in error["next"]


def test_a_full_disk_without_a_path_tells_the_space_of_both_folders_that_kit_writes_to():
    error = _operating_system_error(OSError(errno.ENOSPC, "No space left on device"))
    assert error.code == "disk_full"
    assert "free in the current folder" in error.problem
