"""The verb ``correct``: correct the label of a training image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kit.pipeline.inputs import ConfigLike, WorkspaceLike, open_config, open_workspace
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT

if TYPE_CHECKING:
    from kit.competition.correct import Correction


@dataclass(frozen=True)
class CorrectResult(Displayed):
    """A corrected label.

    Attributes:
        file: The file of corrections.
        is_used: Whether the config names the file.
    """

    correction: Correction
    file: Path
    is_used: bool

    def as_dict(self) -> dict[str, object]:
        """Return the correction as ``--json`` prints it."""
        return asdict(self.correction) | {"file": str(self.file), "is_used": self.is_used}


def correct(
    config: ConfigLike,
    *,
    sample_id: str,
    labels: Sequence[str] | None,
    workspace: WorkspaceLike = None,
) -> CorrectResult:
    """Correct the label of a training image, in a CSV that ``competition.corrections`` names; data stays.

    Args:
        labels: The class, the classes of a multi-label task, or the number; None: the image is not used.
    """
    from kit.competition.correct import write_correction
    from kit.competition.samples import load_competition

    config, workspace = open_config(config, [], SILENT), open_workspace(workspace)
    named = config.competition.corrections
    path = workspace.corrections(config.competition.name) if named is None else workspace.root / named
    plain = (
        config.competition if path.is_file() else config.competition.model_copy(update={"corrections": None})
    )
    competition = load_competition(plain, workspace)
    return CorrectResult(write_correction(path, competition, sample_id, labels), path, named is not None)
