"""Describe the environment: versions, commit, device, time."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kit import __version__

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "albumentations",
    "numpy",
    "pandas",
    "scikit-learn",
)


def environment(root: Path, seed: int, device: str, precision: str) -> dict[str, Any]:
    """Return the environment of an experiment: versions, commit, device, precision, seed, time."""
    return {
        "kit": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "commit": commit_of(root),
        "device": device,
        "precision": precision,
        "seed": seed,
        "started": now(),
    }


def processor() -> str:
    """Return the name of the processor, or its architecture if the system does not give the name."""
    return _cpuinfo("model name") or platform.machine()


def processor_flags() -> set[str]:
    """Return the instruction sets of the processor, as Linux names them; empty on other systems."""
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())  # x86, ARM


def _cpuinfo(key: str) -> str:
    """Return the first value of a key in Linux's description of the processors, or an empty string."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    found = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in found if name.strip() == key), "")


def commit_of(root: Path) -> str | None:
    """Return the git commit checked out at ``root``; None outside a repository."""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # git is not installed, or there is no repository


def now() -> str:
    """Return the current time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
