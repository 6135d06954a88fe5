"""Installing kit on a platform changes nothing there, and its lower bounds are versions that the tests run with."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.platforms.__main__ import ROOT, check_unchanged, packages, platforms, python_version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
LISTED = {name: packages(path.read_text()) for name, path in platforms().items()}
# What kit needs and a platform lacks: a notebook without internet has to bring it.
TO_BRING: set[str] = set()


def test_there_are_platforms():
    assert {"kaggle-2026-08", "colab-2026-08"} <= set(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_what_a_platform_ships_satisfies_every_requirement(name):
    listed = LISTED[name]
    replaced = {r for r, need in REQUIRED.items() if r in listed and not need.specifier.contains(listed[r])}
    assert replaced == set()
    assert set(REQUIRED) - set(listed) == TO_BRING
    assert SpecifierSet(PROJECT["requires-python"]).contains(python_version(platforms()[name]))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_lower_bound_is_the_lowest_version_of_the_platforms(name):
    (bound,) = (s.version for s in REQUIRED[name].specifier if s.operator in (">=", "=="))
    oldest = min(Version(listed[name]) for listed in LISTED.values() if name in listed)
    shown = Version(bound).release
    assert shown == oldest.release[: len(shown)]


def test_a_changed_package_is_an_error():
    before = {"torch": "2.10.0", "numpy": "2.0.2"}
    check_unchanged(before, {**before, "kit": "1"})
    for after in ({**before, "torch": "2.14.1"}, {"torch": "2.10.0"}):
        with pytest.raises(SystemExit, match=r"torch 2.10.0 -> 2.14.1|numpy 2.0.2 -> None"):
            check_unchanged(before, after)
