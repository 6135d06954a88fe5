"""What something is made with: versions, the commit, the device, and when."""

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
    """Return what an experiment is trained with: versions, commit, device, precision, seed, and when."""
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
    """Return the name of this machine's processor, as far as the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit_of(root: Path) -> str | None:
    """Return the git commit checked out at ``root``; None outside a repository."""
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no repository: nothing to record


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
