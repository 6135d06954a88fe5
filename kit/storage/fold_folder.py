"""The paths of the files in the folder of one fold's model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FoldFolder:
    """The folder of one fold's model: ``fold-K/``."""

    path: Path

    @property
    def model(self) -> Path:
        """The weights of the kept epoch, and the settings to build the model."""
        return self.path / "best.safetensors"

    @property
    def resume(self) -> Path:
        """The checkpoint to resume from; removed when the fold is done."""
        return self.path / "last.pt"

    @property
    def resume_before(self) -> Path:
        """The previous checkpoint, in case the last one is damaged."""
        return self.path / "last-but-one.pt"

    @property
    def history(self) -> Path:
        """One row per epoch."""
        return self.path / "history.csv"

    @property
    def embeddings(self) -> Path:
        """The embeddings of all images by this fold's model."""
        return self.path / "embeddings.parquet"

    @property
    def label_changes(self) -> Path:
        """The labels that were corrected or dropped for training."""
        return self.path / "label-changes.csv"

    @property
    def done(self) -> Path:
        """The file that marks the fold as complete, written last."""
        return self.path / "done.json"
