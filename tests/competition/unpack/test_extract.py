import errno
import io
import os
import struct
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from kit.competition.unpack.extract import RECEIPT, archive_stem, is_archive, unpack
from tests.conftest import raises_kit_error

GB = 10**9
FILES = {"train/a/1.png": b"one", "train/b/2.png": b"two" * 1000, "labels.csv": b"id,label\n"}


def zipped(path, files=FILES):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files=FILES, links=(), mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, kind, to in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, to
            archive.addfile(entry)
    return path


def files_below(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    }


@pytest.mark.parametrize("name", ["x.zip", "X.ZIP", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz"])
def test_an_archive_is_unpacked_once(tmp_path, name):
    path = tmp_path / name
    if name.lower().endswith("zip"):
        zipped(path)
    else:
        tarred(
            path,
            mode={"r": "w:", "z": "w:gz", "2": "w:bz2"}.get(name[-1], "w:gz")
            if name != "x.tar.xz"
            else "w:xz",
        )
    assert is_archive(path)
    target = tmp_path / "data" / archive_stem(path)
    assert target.name in ("x", "X")
    assert unpack(path, target, GB)
    assert files_below(target) == FILES
    assert not unpack(path, target, GB)


def test_hidden_files_are_not_unpacked(tmp_path):
    extra = {"__MACOSX/train/._1.png": b"x", "train/.DS_Store": b"x", "train/a/._1.png": b"x"}
    unpack(zipped(tmp_path / "x.zip", FILES | extra), tmp_path / "out", GB)
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {*FILES, RECEIPT}


def test_the_folder_of_another_archive_is_not_overwritten(tmp_path):
    target = tmp_path / "out"
    unpack(zipped(tmp_path / "x.zip"), target, GB)
    (tmp_path / "x.zip").unlink()
    zipped(tmp_path / "x.zip", {"other.csv": b"1"})
    with raises_kit_error("folder_exists", where=str(target)) as caught:
        unpack(tmp_path / "x.zip", target, GB)
    assert f"kit init {target}" in caught.value.next
    assert files_below(target) == FILES


def assert_refused(path, tmp_path, code, fact="", max_bytes=GB):
    with raises_kit_error(code, where=str(path)) as caught:
        unpack(path, tmp_path / "out", max_bytes)
    assert fact in str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} == {path.name}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:/evil", "a\\..\\evil"])
def test_paths_outside_the_folder_are_refused(tmp_path, name):
    assert_refused(tarred(tmp_path / "x.tar.gz", {name: b"x"}), tmp_path, "archive_unsafe", f"({name})")
    (tmp_path / "x.tar.gz").unlink()
    assert_refused(zipped(tmp_path / "x.zip", {name: b"x"}), tmp_path, "archive_unsafe", f"({name})")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = tarred(tmp_path / "x.tar.gz", {"link/evil": b"x"}, links=[("link", kind, "/tmp")])
    assert_refused(path, tmp_path, "archive_unsafe", "(link)")


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    assert_refused(tmp_path / "x.zip", tmp_path, "archive_unsafe", "(link)")


def test_a_file_that_occurs_twice_is_refused(tmp_path):
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(tmp_path / "x.zip", "w") as archive,
    ):
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    assert_refused(tmp_path / "x.zip", tmp_path, "archive_unsafe", "(a)")


def test_a_too_large_archive_is_refused_before_files_are_written(tmp_path):
    assert_refused(zipped(tmp_path / "x.zip"), tmp_path, "archive_too_large", "--max-gb", max_bytes=100)


def declaring(path, size):
    """Change the declared size of a zip's file, in its directory and in the file's header."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        position = content.index(signature) + offset
        content[position : position + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    return path


def test_a_zip_that_declares_less_than_it_contains_is_refused(tmp_path):
    path = declaring(zipped(tmp_path / "x.zip", {"bomb": b"\0" * 5_000_000}), 10)
    assert_refused(path, tmp_path, "archive_damaged", "size or checksum", max_bytes=1000)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, keep):
    files = {f"{i}.bin": os.urandom(20_000) for i in range(20)}
    for path in (zipped(tmp_path / "x.zip", files), tarred(tmp_path / "x.tar.gz", files)):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * keep)])
    for name in ("x.zip", "x.tar.gz"):
        with raises_kit_error("archive_damaged"):
            unpack(tmp_path / name, tmp_path / "out", GB)
    assert {p.name for p in tmp_path.iterdir()} == {"x.zip", "x.tar.gz"}


def test_a_damaged_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.bin": os.urandom(50_000)})
    content = bytearray(path.read_bytes())
    content[20_000] ^= 255
    path.write_bytes(content)
    assert_refused(path, tmp_path, "archive_damaged")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_with_other_compression_is_refused(tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.bin", os.urandom(50_000))
    assert_refused(flipped(path, 20_000), tmp_path, "archive_damaged")


def flipped(path, *positions):
    content = bytearray(path.read_bytes())
    for position in positions:
        content[position] ^= 255
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name, mode", [("x.tar.gz", "w:gz"), ("x.tar.bz2", "w:bz2"), ("x.tar.xz", "w:xz")])
@pytest.mark.parametrize("position", [100_000, -6])
def test_a_compressed_tar_with_damaged_content_or_checksum_is_refused(tmp_path, name, mode, position):
    files = {f"{i}.bin": os.urandom(20_000) for i in range(10)}
    assert_refused(flipped(tarred(tmp_path / name, files, mode=mode), position), tmp_path, "archive_damaged")


def test_a_tar_with_a_damaged_header_or_missing_files_is_refused(tmp_path):
    files = {f"{i}.bin": os.urandom(1024) for i in range(10)}  # each has a header of 512 bytes
    path = tarred(tmp_path / "x.tar", files, mode="w:")
    whole = path.read_bytes()
    path.write_bytes(whole[: 4 * 1536])
    assert_refused(path, tmp_path, "archive_damaged", "4 entries")
    path.write_bytes(whole)
    assert_refused(flipped(path, 4 * 1536 + 150), tmp_path, "archive_damaged", "4 entries")


@pytest.mark.parametrize("cut_by", [1, 8])
def test_a_tar_truncated_after_its_last_file_is_refused(tmp_path, cut_by):
    path = tarred(tmp_path / "x.tar.gz")
    path.write_bytes(path.read_bytes()[:-cut_by])
    assert_refused(path, tmp_path, "archive_damaged", "it ends too early")


@pytest.mark.parametrize("name", ["a" * 252 + ".png", "/".join(["d" * 200] * 6) + "/a.png"])
def test_names_too_long_for_a_file_system_are_refused(tmp_path, name):
    assert_refused(zipped(tmp_path / "x.zip", {name: b"x"}), tmp_path, "archive_unsafe", name[:80])


def test_names_that_are_not_utf8_are_refused_with_a_printable_message(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("caf\u00e9.png"))
    assert_refused(tmp_path / "x.tar", tmp_path, "archive_unsafe", r"(caf\udce9.png)")


@pytest.mark.parametrize("signature, offset, value", [(b"PK\x01\x02", 46, 0xFF), (b"PK\x05\x06", 19, 0x7F)])
def test_a_zip_with_a_damaged_directory_is_refused(tmp_path, signature, offset, value):
    path = zipped(tmp_path / "x.zip", {"caf\u00e9.png": b"x"})
    content = bytearray(path.read_bytes())
    content[content.index(signature) + offset] = value  # an invalid UTF-8 name; an offset before the file
    path.write_bytes(content)
    assert_refused(path, tmp_path, "archive_damaged")


def test_a_full_disk_is_not_reported_as_damage_and_leaves_no_files(tmp_path, monkeypatch):
    path = zipped(tmp_path / "x.zip")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.extract", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(path, tmp_path / "out", GB)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_a_file_with_the_name_of_a_folder_is_refused(tmp_path):
    path = tarred(tmp_path / "x.tar", {"a/b": b"x", "a": b"y"})
    assert_refused(path, tmp_path, "archive_unsafe", "(a)")


def test_unusual_but_valid_names_are_unpacked(tmp_path):
    files = {"1:2.png": b"x", "a..b/c..png": b"y", "A.png": b"1", "a.png": b"2"}
    unpack(
        tarred(
            tmp_path / "x.tar", {f"./{name}": content for name, content in files.items()} | {"3:4.png": b"z"}
        ),
        tmp_path / "out",
        GB,
    )
    assert files_below(tmp_path / "out") == files | {"3:4.png": b"z"}


def test_the_size_limit_applies_to_the_sum_of_files(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a": b"x" * 80, "b": b"y" * 80})
    assert_refused(path, tmp_path, "archive_too_large", max_bytes=100)


def test_reading_stops_when_a_tar_is_too_large(tmp_path):
    path = tarred(tmp_path / "x.tar", {"a": b"x" * 200, "b": b"y" * 5000}, mode="w:")
    path.write_bytes(path.read_bytes()[:2000])  # reading further would reach the truncated end
    assert_refused(path, tmp_path, "archive_too_large", max_bytes=100)


def test_an_archive_larger_than_the_free_disk_space_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    assert_refused(zipped(tmp_path / "x.zip"), tmp_path, "disk_full")


def test_a_zip_that_declares_more_than_it_contains_is_refused(tmp_path):
    path = declaring(zipped(tmp_path / "x.zip", {"a": b"x" * 80}), 500)
    assert_refused(path, tmp_path, "archive_damaged", "a ends early")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a": b"x"})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    assert_refused(path, tmp_path, "archive_unsafe", "(a)")


def test_empty_archives_and_other_files_are_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    assert_refused(tmp_path / "x.zip", tmp_path, "archive_damaged")
    assert_refused(zipped(tmp_path / "x.zip", {}), tmp_path, "archive_empty")


def test_the_draft_of_a_killed_process_is_removed(tmp_path):
    left = tmp_path / ".out.unpacking"
    left.mkdir()
    (left / "half").write_text("x")
    unpack(zipped(tmp_path / "x.zip"), tmp_path / "out", GB)
    assert files_below(tmp_path / "out") == FILES
    assert not left.exists()
