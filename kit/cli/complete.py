"""Complete what a user types in the shell: runs, configs, submissions, and entries of registries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

CONFIGS = ("*.yaml", "*.yml")


def runs(incomplete: str) -> list[str]:
    """Return experiments and blends of the current folder, as COMPETITION/NAME."""
    from kit.storage.workspace import Workspace

    return _beginning(incomplete, [run.label for run in Workspace.open(None).runs()])


def submissions(incomplete: str) -> list[str]:
    """Return submissions of the current folder, as COMPETITION/NAME."""
    from kit.storage.workspace import Workspace

    return _beginning(incomplete, [file.label for file in Workspace.open(None).submissions()])


def configs(incomplete: str) -> list[str]:
    """Return the YAML files of the folder that the text names, or of ``configs/``."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    folder = Path("configs") if folder == Path() else folder
    return _beginning(incomplete, [path.as_posix() for pattern in CONFIGS for path in folder.glob(pattern)])


def entries(kind: str) -> Callable[[str], list[str]]:
    """Return a function that completes what `kit components KIND` lists."""

    def complete(incomplete: str) -> list[str]:
        from kit import pipeline

        return _beginning(incomplete, list(pipeline.components(kind)[kind]))

    return complete


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of `kit components`."""
    from kit.pipeline.components import REGISTRIES

    return _beginning(incomplete, list(REGISTRIES))


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
