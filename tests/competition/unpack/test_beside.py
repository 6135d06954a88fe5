import errno
import gzip
import io
import os
import shutil
import zipfile

import pytest

from kit.competition.unpack import unpack_beside
from kit.competition.unpack.beside import _telling_disk_problems
from tests.competition.unpack.test_extract import FILES, files_below, tarred, zipped
from tests.conftest import draw_class_folders, raises_kit_error, run_kit, run_kit_json

GB = 10**9
IMAGES = {"a/1.png": b"one", "b/2.png": b"two" * 1000}


def below(folder):
    """Return the content of all files but archives, by path."""
    return {k: v for k, v in files_below(folder).items() if not k.endswith((".zip", ".gz", ".7z"))}


def test_archives_are_unpacked_to_folders_with_their_names(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    (tmp_path / "more").mkdir()
    tarred(tmp_path / "more" / "test.tar.gz", {"3.png": b"x", "4.png": b"y"})
    found = unpack_beside(tmp_path, GB)
    assert found.unpacked == {"train.zip": "train/", "more/test.tar.gz": "more/test/"}
    inside = {"train/a/1.png": b"one", "train/b/2.png": b"two" * 1000}
    assert below(tmp_path) == inside | {"more/test/3.png": b"x", "more/test/4.png": b"y"}


@pytest.mark.parametrize("start", ["", "./"])
def test_a_folder_with_the_name_of_the_archive_is_not_doubled(tmp_path, start):
    files = {f"{start}train/{name}": content for name, content in IMAGES.items()}
    tarred(tmp_path / "train.tar", files, mode="w:")
    unpack_beside(tmp_path, GB)
    assert {k for k in below(tmp_path) if k != "train.tar"} == {"train/a/1.png", "train/b/2.png"}
    assert unpack_beside(tmp_path, GB).unused == {"train.tar": "already unpacked to train/"}


def test_a_single_table_is_unpacked_beside_its_archive(tmp_path):
    zipped(tmp_path / "train.csv.zip", {"train.csv": b"id,label\n1,a\n"})
    zipped(tmp_path / "labels.zip", {"names.csv": b"id\n"})
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(b"id\n7\n"))
    assert len(unpack_beside(tmp_path, GB).told) == 3
    assert below(tmp_path) == {
        "train.csv": b"id,label\n1,a\n",
        "names.csv": b"id\n",
        "test.csv": b"id\n7\n",
    }
    assert len(unpack_beside(tmp_path, GB).unused) == 3


def test_archives_in_archives_are_unpacked(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("1.png", b"x")
    zipped(tmp_path / "all.zip", {"train.zip": inner.getvalue(), "labels.csv": b"id\n"})
    found = unpack_beside(tmp_path, GB)
    assert found.unpacked == {"all.zip": "all/", "all/train.zip": "all/train/"}
    assert below(tmp_path) == {"all/train/1.png": b"x", "all/labels.csv": b"id\n"}


def test_an_archive_that_holds_itself_ends(tmp_path):
    content = b"x"
    for _ in range(6):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.zip", content)
            archive.writestr("1.png", b"x")
        content = packed.getvalue()
    (tmp_path / "a.zip").write_bytes(content)
    found = unpack_beside(tmp_path, GB)
    assert len(found.unpacked) == 3
    assert list(found.unused) == ["a/a/a/a.zip"]


def test_what_the_user_unpacked_is_neither_unpacked_again_nor_changed(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    unpack_beside(tmp_path, GB)
    (tmp_path / ".train.zip.unpacked.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "train").rglob("*")}
    assert unpack_beside(tmp_path, GB).unused == {"train.zip": "already unpacked to train/"}
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "train").rglob("*")}


def test_a_folder_with_a_part_of_the_files_is_kept_and_told(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "1.png").write_bytes(b"one")
    found = unpack_beside(tmp_path, GB)
    assert "1 of its 2 files is not there (b/2.png)" in found.unused["train.zip"]
    assert below(tmp_path) == {"train/a/1.png": b"one"}


def test_a_table_that_the_user_changed_is_kept_and_told(tmp_path):
    zipped(tmp_path / "train.csv.zip", {"train.csv": b"id,label\n"})
    (tmp_path / "train.csv").write_bytes(b"mine")
    assert "is used instead" in unpack_beside(tmp_path, GB).unused["train.csv.zip"]
    assert (tmp_path / "train.csv").read_bytes() == b"mine"


def test_a_folder_of_other_files_is_an_error_and_an_empty_one_is_filled(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "other.png").write_bytes(b"x")
    with raises_kit_error("folder_exists", where=str(tmp_path / "train.zip")):
        unpack_beside(tmp_path, GB)
    (tmp_path / "train" / "other.png").unlink()
    assert unpack_beside(tmp_path, GB).unpacked == {"train.zip": "train/"}


def test_an_archive_that_changed_is_compared_again(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    unpack_beside(tmp_path, GB)
    zipped(tmp_path / "train.zip", IMAGES | {"c/3.png": b"three"})
    assert "1 of its 3 files is not there (c/3.png)" in unpack_beside(tmp_path, GB).unused["train.zip"]


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png"])
def test_nothing_is_written_outside_and_nothing_is_left_of_a_refused_archive(tmp_path, name):
    zipped(tmp_path / "train.zip", {name: b"x", "ok.png": b"y"})
    with raises_kit_error("archive_unsafe"):
        unpack_beside(tmp_path, GB)
    assert [path.name for path in tmp_path.iterdir()] == ["train.zip"]


def test_a_damaged_archive_leaves_nothing(tmp_path):
    path = zipped(tmp_path / "train.zip", {f"{i}.png": os.urandom(9000) for i in range(5)})
    content = bytearray(path.read_bytes())
    content[20_000] ^= 255
    path.write_bytes(content)
    with raises_kit_error("archive_damaged", where=str(path)):
        unpack_beside(tmp_path, GB)
    assert [each.name for each in tmp_path.iterdir()] == ["train.zip"]


@pytest.mark.parametrize("cut", [-1, -9, 20])
def test_a_damaged_gzip_leaves_nothing(tmp_path, cut):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(os.urandom(5000))[:cut])
    with raises_kit_error("archive_damaged"):
        unpack_beside(tmp_path, GB)
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv.gz"]


def test_the_size_limit_holds_for_archives_and_for_gzipped_tables(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(bytes(5000)))
    with raises_kit_error("archive_too_large"):
        unpack_beside(tmp_path, 1000)
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv.gz"]


@pytest.mark.parametrize(
    "number, code",
    [(errno.EROFS, "folder_read_only"), (errno.EACCES, "folder_read_only"), (errno.ENOSPC, "disk_full")],
)
def test_a_read_only_folder_and_a_full_disk_are_one_message_each(tmp_path, number, code):
    path = tmp_path / "train.zip"
    with raises_kit_error(code, where=str(path)), _telling_disk_problems(tmp_path, path):
        raise OSError(number, "no")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_read_only_folder_is_told(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    tmp_path.chmod(0o500)
    with raises_kit_error("folder_read_only"):
        unpack_beside(tmp_path, GB)
    tmp_path.chmod(0o700)


def test_a_rar_file_is_refused_with_the_command_that_unpacks_it(tmp_path):
    (tmp_path / "train.rar").write_bytes(b"Rar!")
    with raises_kit_error("archive_unknown") as caught:
        unpack_beside(tmp_path, GB)
    assert "unrar x" in caught.value.next


def test_a_7z_file_is_unpacked(tmp_path):
    py7zr = pytest.importorskip("py7zr", reason="the extra 7z is not installed")
    with py7zr.SevenZipFile(tmp_path / "train.7z", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(content, name)
    assert unpack_beside(tmp_path, GB).unpacked == {"train.7z": "train/"}
    assert below(tmp_path) == {f"train/{k}": v for k, v in FILES.items()}


def test_a_damaged_7z_file_is_refused(tmp_path):
    py7zr = pytest.importorskip("py7zr", reason="the extra 7z is not installed")
    with py7zr.SevenZipFile(tmp_path / "train.7z", "w") as archive:
        archive.writestr(os.urandom(20_000), "1.png")
        archive.writestr(os.urandom(20_000), "2.png")
    content = bytearray((tmp_path / "train.7z").read_bytes())
    content[5000] ^= 255
    (tmp_path / "train.7z").write_bytes(content)
    with raises_kit_error("archive_damaged"):
        unpack_beside(tmp_path, GB)
    (tmp_path / "train.7z").write_bytes(content[:300])
    with raises_kit_error("archive_damaged"):
        unpack_beside(tmp_path, GB)
    assert [each.name for each in tmp_path.iterdir()] == ["train.7z"]


def test_a_draft_that_a_killed_process_left_is_not_taken_for_the_content(tmp_path):
    zipped(tmp_path / "train.zip", IMAGES)
    (tmp_path / ".train.unpacking" / "a").mkdir(parents=True)
    (tmp_path / ".train.unpacking" / "a" / "1.png").write_bytes(b"half")
    unpack_beside(tmp_path, GB)
    assert below(tmp_path) == {"train/a/1.png": b"one", "train/b/2.png": b"two" * 1000}
    assert not (tmp_path / ".train.unpacking").exists()


def test_init_unpacks_an_archive_and_tells_it_once(workspace):
    data = draw_class_folders(workspace.root / "data" / "tiny")
    files = {path.relative_to(data).as_posix(): path.read_bytes() for path in (data / "train").rglob("*.png")}
    zipped(data / "train.zip", files)
    shutil.rmtree(data / "train")
    done = run_kit_json("init", "tiny", "--workspace", workspace.root)
    assert done["unpacked"] == ["train.zip: unpacked to train/"]
    assert done["unused"] == []
    assert {f["key"]: f["value"] for f in done["findings"]}["competition.train.folder"] == "train"
    again = run_kit("init", "tiny", "--workspace", workspace.root).stdout
    assert "Not used:\n  train.zip: already unpacked to train/" in again
