"""Read a competition's folds, labels and images as they are now, to compare artifacts with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kit.competition.metadata import with_metadata
from kit.competition.opened import open_competition
from kit.config import Config
from kit.errors import KitError, first_few
from kit.folds.groups import Population
from kit.folds.table import check_partition, read_folds
from kit.runtime.progress import SILENT, Progress
from kit.status.competition_now import CompetitionNow, competition_now, data_key, files_digest
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, training_data


def current_data(config: Config, workspace: Workspace, progress: Progress = SILENT) -> TrainingData | None:
    """Return a competition's data as training would use them now.

    Returns:
        None if the competition's folder is not on this machine; a warning says so.

    Raises:
        KitError: The folds CSV is missing, or does not match the labels.
    """
    try:
        workspace.data(config.competition.data)
    except KitError as error:
        progress.warn(f"images and labels are not compared with those at training: {error.problem}")
        return None
    opened = open_competition(config, workspace, progress)
    competition = opened.readable
    path = workspace.folds(competition.name)
    folds = read_folds(path, competition.label_columns)
    check_partition(folds, Population(competition.train, competition.label_columns, ()), None, path)
    return training_data(with_metadata(opened, config.competition, config.model), folds)


@dataclass
class CurrentCompetitions:
    """The current data of each competition, read once; errors are kept and raised again."""

    workspace: Workspace
    progress: Progress = SILENT
    found: dict[str, TrainingData | KitError | None] = field(default_factory=dict)
    digests: dict[str, CompetitionNow | None] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)

    def of(self, config: Config) -> TrainingData | None:
        """Return the current data of a config's competition; see ``current_data``."""
        key = data_key(config)
        if key not in self.found:
            try:
                self.found[key] = current_data(config, self.workspace, self.progress)
            except KitError as error:
                self.found[key] = error
        found = self.found[key]
        if isinstance(found, KitError):
            raise found
        return found

    def now(self, config: Config) -> CompetitionNow | None:
        """Return the digests of a config's competition; they are cached, so that it need not be opened.

        Returns:
            None if the competition's folder is not on this machine.
        """
        key = data_key(config)
        if key not in self.digests:
            self.digests[key] = self._now(config)
        return self.digests[key]

    def _now(self, config: Config) -> CompetitionNow | None:
        try:
            root = self.workspace.data(config.competition.data)
        except KitError:
            data = self.of(config)  # warns
            return None if data is None else CompetitionNow.of(data)
        if root not in self.files:  # before the files are read: what changes meanwhile is seen next time
            self.files[root] = files_digest(root)
        return competition_now(config, self.workspace, self.files[root], partial(self._read, config))

    def _read(self, config: Config) -> TrainingData:
        data = self.of(config)
        assert data is not None, "the competition's folder exists"
        return data


def newer_files(root: Path, paths: Iterable[str], artifact: Path) -> tuple[str, float]:
    """Return what is newer than an artifact, as text, and the time of the newest file.

    Returns:
        Names of the first files and the latest modification time in seconds; ``("", 0)`` if none is newer: a
        file was replaced by an older one, or removed.
    """
    limit = artifact.stat().st_mtime
    times = {path: _modified(root / path) for path in paths}
    newer = [path for path, time in times.items() if time > limit]
    return first_few(newer, limit=3), max((times[path] for path in newer), default=0.0)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
