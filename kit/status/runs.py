"""Read the chain of several runs; each competition is read once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kit.config import Config
from kit.errors import KitError
from kit.evaluation.oof_with_labels import config_of
from kit.runtime.progress import SILENT, Progress
from kit.status.chain import Link, State, chain_of
from kit.status.competition_now import CompetitionNow
from kit.status.current import CurrentCompetitions
from kit.storage.workspace import RunFolder, Workspace

WORST_FIRST: tuple[State, ...] = ("damaged", "stale", "missing", "up to date")


@dataclass(frozen=True)
class RunStatus:
    """The chain of a run."""

    run: RunFolder
    links: list[Link]

    @property
    def worst(self) -> Link:
        """The first link in the worst state; a missing submission does not count."""
        counted = [link for link in self.links if link.kind != "submission" or link.state != "missing"]
        return min(counted, key=lambda link: WORST_FIRST.index(link.state))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        artifacts = [link.as_dict() for link in self.links]
        return {"experiment": self.run.label, "state": self.worst.state, "artifacts": artifacts}


def read_status(
    runs: Iterable[RunFolder], workspace: Workspace, progress: Progress = SILENT, verify: bool = True
) -> list[RunStatus]:
    """Return the chains of some runs.

    Args:
        verify: See ``chain_of``.
    """
    competitions = CurrentCompetitions(workspace, progress)
    chains = (chain_of(run, workspace, _now(run, competitions), verify) for run in runs)
    return [RunStatus(run, links) for run, links in zip(runs, chains, strict=True)]


def _now(run: RunFolder, competitions: CurrentCompetitions) -> CompetitionNow | KitError | None:
    """Return the competition of a run now, or the error; None if the run has no valid config."""
    try:
        config: Config = config_of(run)
    except KitError:
        return None  # the chain reports the error
    try:
        return competitions.now(config)
    except KitError as error:
        return error
