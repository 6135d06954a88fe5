"""Run the everyday tests with the packages of a platform: ``python -m tests.platforms NAME``.

``kit/platforms/NAME.txt`` lists what the platform ships. This makes the environment ``.venv-NAME`` with the
platform's Python and these packages, installs kit and its extra ``dev`` there, checks that this has changed none
of the packages, and runs the tests. It uses the standard library only. ``$PYTHON`` is the interpreter to use.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = ROOT / "kit" / "platforms"
TESTS = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not slow")


def platforms() -> dict[str, Path]:
    """Return the name of each platform -> the list of its packages."""
    return {path.stem: path for path in sorted(LISTS.glob("*.txt"))}


def python_version(listed: Path) -> str:
    """Return the Python version that the first line of a list names, such as ``3.12``."""
    first = listed.read_text(encoding="utf-8").splitlines()[0]
    found = re.search(r"Python (\d+\.\d+)", first)
    if found is None:
        sys.exit(f"{listed.name}: the first line names no Python version, such as `Python 3.12`: {first}")
    return found[1]


def packages(lines: str) -> dict[str, str]:
    """Return normalized name -> version of lines such as ``Jinja2==3.1.6``."""
    pins = re.findall(r"^([\w.-]+)==(\S+)$", lines, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins}


def interpreter(version: str) -> str:
    """Return ``$PYTHON``, or ``pythonVERSION`` of the path, if it is that version; exit if not."""
    candidate = os.environ.get("PYTHON") or f"python{version}"
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        found = done.stdout.strip()
    except OSError:
        found = ""
    if found != version:
        is_what = f"is Python {found}" if found else "cannot be run"
        sys.exit(
            f"{candidate} {is_what}. The platform has Python {version}. "
            f"Install it, and name it if it is not on the path: make test-platform PYTHON=/path/to/python{version}"
        )
    return candidate


def make_environment(name: str, listed: Path) -> Path:
    """Return the interpreter of ``.venv-NAME``, which has the platform's packages and then kit.

    The stamp says what the environment was made from; another one is made again.
    """
    folder = ROOT / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / "made-from.txt"
    wanted = listed.read_text(encoding="utf-8") + (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    _run(interpreter(python_version(listed)), "-m", "venv", "--clear", folder)
    _run(python, "-m", "pip", "install", "-r", listed)
    before = installed(python)
    _run(python, "-m", "pip", "install", "--constraint", listed, "-e", f"{ROOT}[dev]")
    check_unchanged(before, installed(python))
    stamp.write_text(wanted, encoding="utf-8")
    return python


def installed(python: Path) -> dict[str, str]:
    """Return name -> version of the packages of an environment."""
    command = [python, "-m", "pip", "list", "--format=freeze", "--exclude-editable"]
    return packages(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def check_unchanged(before: dict[str, str], after: dict[str, str]) -> None:
    """Print what the installation of kit has added; exit if it has changed a package."""
    changed = [f"{name} {old} -> {after.get(name)}" for name, old in before.items() if after.get(name) != old]
    if changed:
        sys.exit(f"installing kit has changed what the platform has: {', '.join(changed)}")
    added = [f"{name} {version}" for name, version in after.items() if name not in before]
    print(f"kit has changed nothing, and added {', '.join(added) or 'nothing'}", flush=True)


def _run(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Make the environment of a platform, and run the everyday tests in it."""
    parser = argparse.ArgumentParser(prog="python -m tests.platforms", description=__doc__)
    parser.add_argument("name", choices=list(platforms()))
    parser.add_argument("tests", nargs="*", help="tests to run instead of the everyday tests")
    options = parser.parse_args()
    python = make_environment(options.name, platforms()[options.name])
    _run(python, "-m", "pytest", *(options.tests or TESTS))


if __name__ == "__main__":
    main()
