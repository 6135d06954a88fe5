"""The packages that a platform ships, from its ``PLATFORM.txt``, and which requirements they do not meet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

from kit.errors import KitError
from kit.registry import nearest

FOLDER = Path(__file__).parent
DEFAULT = "kaggle-2026-08"


@dataclass(frozen=True)
class Platform:
    """A platform.

    Attributes:
        python: Its Python version, such as ``3.12``.
        versions: Package, in its normal form -> version.
    """

    name: str
    python: str
    versions: Mapping[str, str]


def normal_name(package: str) -> str:
    """Return the normal form of a package's name.

    >>> normal_name("huggingface_hub"), normal_name("Jinja2")
    ('huggingface-hub', 'jinja2')
    """
    return re.sub(r"[-_.]+", "-", package).lower()


def platform_names() -> list[str]:
    """Return the names of the platforms that kit knows."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def read_platform(name: str) -> Platform:
    """Return a platform.

    Raises:
        KitError: kit does not know it.
    """
    known = platform_names()
    if name not in known:
        close = nearest(name, known)
        raise KitError(
            f"--platform {name}",
            "there is no such platform",
            f"Known: {', '.join(known)}",
            f"Did you mean {close[0]}?" if close else "",
            code="platform_unknown",
        )
    first, *lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    python = re.search(r"Python (\d+\.\d+)", first)
    assert python is not None, "the first line names the Python version"
    return Platform(name, python[1], {normal_name(package): version for package, version in pairs})


@dataclass(frozen=True)
class Requirements:
    """What a platform does not meet of kit's requirements.

    Attributes:
        lacking: Requirements on packages that it does not ship.
        other: Package and version that it ships -> the version that kit asks for.
    """

    lacking: tuple[str, ...]
    other: Mapping[str, str]


def compare(platform: Platform, extras: Iterable[str] = (), own: Iterable[str] | None = None) -> Requirements:
    """Return what a platform does not meet of kit's requirements.

    Args:
        extras: Extras of kit that are needed, too.
        own: The requirements; None: those of the installed kit.
    """
    from packaging.requirements import Requirement  # matplotlib brings it

    lacking, other = [], {}
    for text in requires("kit") or [] if own is None else own:
        requirement = Requirement(text)
        environment = {"python_version": platform.python}
        marker = requirement.marker
        if marker and not any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)):
            continue
        version = platform.versions.get(normal_name(requirement.name))
        if version is None:
            lacking.append(f"{requirement.name}{requirement.specifier}")
        elif not requirement.specifier.contains(version, prereleases=True):
            other[f"{requirement.name} {version}"] = str(requirement.specifier)
    return Requirements(tuple(lacking), other)
