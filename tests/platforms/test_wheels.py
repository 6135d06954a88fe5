"""What a platform ships and lacks, and the wheels that a bundle brings."""

import base64
import csv
import hashlib
import io
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import kit
from kit.platforms.platform_file import Platform, compare, platform_names, read_platform
from kit.platforms.wheels import download_wheels, write_kit_wheel
from tests.conftest import raises_kit_error

PLATFORM = Platform("test", "3.12", {"torch": "2.10.0", "huggingface-hub": "1.11.0"})


@pytest.mark.parametrize("name", platform_names())
def test_platforms_ship_everything_that_kit_needs(name):
    platform = read_platform(name)
    assert platform.python in ("3.12", "3.13")
    assert {"torch", "timm", "scikit-learn", "huggingface-hub"} <= set(platform.versions)
    assert compare(platform).lacking == ()


def test_requirements_are_compared_by_name_version_and_extra():
    own = ["torch>=2.11", "huggingface_hub>=0.23", "typer>=0.12", 'pydicom>=3; extra == "dicom"']
    found = compare(PLATFORM, own=own)
    assert found.lacking == ("typer>=0.12",)
    assert found.other == {"torch 2.10.0": ">=2.11"}
    assert compare(PLATFORM, ["dicom"], own).lacking == ("typer>=0.12", "pydicom>=3")
    assert compare(PLATFORM, own=['old>=1; python_version < "3.12"']).lacking == ()


def test_the_wheel_holds_the_running_kit_with_the_digest_of_every_file(tmp_path):
    path = write_kit_wheel(tmp_path)
    package = Path(kit.__file__).parent
    with ZipFile(path) as wheel:
        names = set(wheel.namelist())
        record = list(csv.reader(io.StringIO(wheel.read("kit-0.1.0.dist-info/RECORD").decode())))
        assert {row[0] for row in record} == names
        for name, digest, size in record:
            content = wheel.read(name)
            if digest:
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={expected}", str(len(content)))
        for file in package.rglob("*.py"):
            assert wheel.read(f"kit/{file.relative_to(package).as_posix()}") == file.read_bytes()
    assert {"kit/report/templates/run.html", "kit/platforms/kaggle-2026-08.txt"} <= names
    assert not [name for name in names if "__pycache__" in name]
    assert write_kit_wheel(tmp_path / "again").read_bytes() == path.read_bytes()


def test_pip_installs_the_wheel_without_network(tmp_path):
    target = tmp_path / "packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, "--target", target, write_kit_wheel(tmp_path)], check=True)
    code = f"import sys; sys.path.insert(0, {str(target)!r}); import kit; print(kit.__file__, *kit.__all__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(str(target)), done.stderr
    assert "bundle" in done.stdout


def test_packages_that_the_platform_lacks_are_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    wheel = write_kit_wheel(tmp_path / "links")
    download_wheels(["kit>=0.1"], PLATFORM, tmp_path / "wheels")
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == [wheel.name]
    with raises_kit_error("wheel_missing"):
        download_wheels(["kit>=9"], PLATFORM, tmp_path / "wheels")
    download_wheels([], PLATFORM, tmp_path / "none")
    assert not (tmp_path / "none").exists()
