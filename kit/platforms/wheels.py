"""Write the wheels of a bundle: kit's own, and those of packages that the platform lacks."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from kit import __version__
from kit.errors import KitError, counted, first_few
from kit.platforms.platform_file import Platform

PACKAGE = Path(__file__).parents[1]
LEFT_OUT = {"__pycache__", "README.md", "report.png"}
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the time of every file, so that the same code gives the same bytes
WHEEL = "Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_kit_wheel(folder: Path) -> Path:
    """Write the wheel of the kit that is running now, and return its path.

    kit is plain Python, so its wheel is a zip of its files: no source tree and no network is needed.
    """
    info = f"kit-{__version__}.dist-info"
    files = {f"kit/{name}": (PACKAGE / name).read_bytes() for name in _files()}
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nkit = kit.cli.main:main\n"
    rows = [f"{name},sha256={_record_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"kit-{__version__}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w", ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            entry = ZipInfo(name, BEGINNING)
            entry.external_attr = 0o644 << 16
            entry.compress_type = ZIP_DEFLATED
            wheel.writestr(entry, content)
    return path


def _files() -> list[str]:
    """Return the files of the package, relative to it, sorted."""
    found = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not LEFT_OUT & set(path.parts))


def _metadata() -> str:
    try:
        text = distribution("kit").read_text("METADATA")
    except PackageNotFoundError:  # run from its source folder
        text = None
    return text or f"Metadata-Version: 2.1\nName: kit\nVersion: {__version__}\n"


def _record_digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def download_wheels(requirements: Sequence[str], platform: Platform, folder: Path) -> None:
    """Download the wheels of packages that a platform lacks, without their dependencies.

    Raises:
        KitError: A wheel for the platform's Python is not available here.
    """
    if not requirements:
        return
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", platform.python, "--dest", str(folder)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise KitError(
            f"--platform {platform.name}",
            f"lacks {counted(len(requirements), 'package')} ({first_few(requirements)}), which cannot be "
            f"downloaded: {reason}",
            "A bundle holds the wheels of what the platform lacks",
            "Run the same command again with a network.",
            code="wheel_missing",
        )
