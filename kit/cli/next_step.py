"""Print the next step: the last line of every verb's text output, a command to copy."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from kit.storage.workspace import SubmissionFile, Workspace

SCORE = "SCORE"  # what only the user knows: the score on the leaderboard


def show_next(place: Workspace, verb: str, *arguments: object, reads_data: bool = True) -> None:
    """Print ``Next: kit VERB ...`` as one line, whatever the width of the terminal.

    Args:
        place: The workspace of this command; the next one gets the same ``--workspace`` and ``--data-root``.
        reads_data: Whether the verb has ``--data-root``.
    """
    from kit.cli.console import out

    command = ["kit", verb, *map(str, arguments), *_same_folders(place, reads_data)]
    out.print(f"Next: {shlex.join(command)}", markup=False, soft_wrap=True)


def show_next_with_config(
    place: Workspace, verb: str, config: Path, overrides: Sequence[str] | None = None
) -> None:
    """Print the next step for a config as it was given, with the same overrides."""
    show_next(place, verb, config, *set_options(overrides or []))


def show_recording(place: Workspace, file: SubmissionFile) -> None:
    """Print the step after uploading a submission: the command that records its leaderboard score."""
    arguments = ("record", place.shown(file.path), "--public", SCORE)
    show_next(place, "leaderboard", *arguments, reads_data=False)


def config_argument(place: Workspace, config: Path) -> str:
    """Return the path of a config of the workspace as a command in the current folder takes it."""
    return place.shown(config) if place.root.resolve() == Path.cwd() else str(config)


def set_options(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a config as command-line options."""
    return [part for override in overrides for part in ("--set", override)]


def _same_folders(place: Workspace, reads_data: bool) -> list[str]:
    """Return the options that open the same workspace from the current folder; none if it opens by itself."""
    options = [] if place.root.resolve() == Path.cwd() else ["--workspace", str(place.root)]
    first = place.data_roots[0]
    known = {place.root / "data", Path(os.environ.get("KIT_DATA") or "data").absolute()}
    return options + (["--data-root", str(first)] if reads_data and first not in known else [])
