"""Open a competition once per command: load its tables, scan its images, leave out unreadable ones."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kit.competition.audit import unranged
from kit.competition.images.decode import DecodeOptions
from kit.competition.samples import Competition, load_competition
from kit.competition.scan import readable, scan_images
from kit.config import Config
from kit.errors import counted, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import Workspace


@dataclass(frozen=True)
class OpenedCompetition:
    """A competition that is loaded and scanned; the stages of a command share it.

    Attributes:
        loaded: The competition with all its images.
        readable: The same without training and held-out images that cannot be read.
        scan: One row per image, from ``scan_images``.
    """

    loaded: Competition
    readable: Competition
    scan: pd.DataFrame


def open_competition(config: Config, workspace: Workspace, progress: Progress = SILENT) -> OpenedCompetition:
    """Return the competition of a config, loaded and scanned.

    Raises:
        KitError: The folder is not as the config says, or an image cannot be read and
            ``competition.on_bad_image`` does not allow skipping it.
    """
    loaded = load_competition(config.competition, workspace)
    options = DecodeOptions.of(config.image)
    scan = scan_images(loaded, workspace.image_table(loaded.name, options.key), progress, options)
    _tell_corrections(config, workspace, loaded, progress)
    kept = readable(loaded, scan, config.competition.on_bad_image)
    for stored, count in unranged(scan, options).items():
        ends = "black and white are the ends of the type"
        progress.warn(
            f"{counted(count, 'image has', 'images have')} {stored} values and image.range is not "
            f"set: {ends}. `kit init` measures "
            "the range; `kit inspect` shows whether images are nearly flat"
        )
    skipped = sorted(_labeled_paths(loaded) - _labeled_paths(kept))
    if skipped:
        progress.warn(f"{len(skipped)} unreadable training images are left out ({first_few(skipped)})")
    return OpenedCompetition(loaded, kept, scan)


def _tell_corrections(config: Config, workspace: Workspace, loaded: Competition, progress: Progress) -> None:
    file = workspace.corrections(loaded.name)
    if config.competition.corrections is not None:
        progress.note(f"{counted(len(loaded.corrected), 'label')} from {config.competition.corrections}")
    elif file.exists():
        name = workspace.shown(file)
        progress.warn(f"{name} is not used: the config does not set competition.corrections: {name}")


def _labeled_paths(competition: Competition) -> set[str]:
    tables = (competition.train, *competition.held_out.values())
    return {path for table in tables for path in table["path"].tolist()}
