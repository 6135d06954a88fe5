"""Turn what callers pass (paths, names, time limits) into kit's own objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kit.config import Config
from kit.config.load import load_config
from kit.runtime.deadline import Deadline
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace

ConfigLike = Config | Path | str
WorkspaceLike = Workspace | Path | str | None
RunLike = RunFolder | str
TimeLimit = Deadline | str | None


def open_workspace(workspace: WorkspaceLike) -> Workspace:
    """Return a workspace: itself, the one in a folder, or (None) the one in the current folder."""
    if isinstance(workspace, Workspace):
        return workspace
    return Workspace.open(None if workspace is None else Path(workspace))


def open_config(config: ConfigLike, overrides: Sequence[str] = (), progress: Progress = SILENT) -> Config:
    """Return a config: itself, or the YAML at a path, with ``KEY=VALUE`` overrides.

    Raises:
        ValueError: Overrides are given for a config that is loaded already.
    """
    if isinstance(config, Config):
        if overrides:
            raise ValueError("overrides apply to a YAML file: pass the path, or load_config(path, overrides)")
        return config
    return load_config(Path(config), list(overrides), progress)


def open_run(experiment: RunLike, workspace: Workspace) -> RunFolder:
    """Return the folder of an experiment or blend: itself, or found by ``COMPETITION/NAME``, name or path."""
    return experiment if isinstance(experiment, RunFolder) else workspace.find_run(experiment)


def open_deadline(time_limit: TimeLimit) -> Deadline:
    """Return a deadline: itself, or one after a duration such as ``8h30m``; None: no limit."""
    return time_limit if isinstance(time_limit, Deadline) else Deadline.of(time_limit)
