"""Method ``soup``: average the weights of networks, not their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kit.ensemble.methods.registry import register_method
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from kit.ensemble.blended import Blended


@register_method("soup", learns=True, number=True, blends_weights=True)
def soup(
    members: Sequence[RunFolder], run: RunFolder, workspace: Workspace, progress: Progress = SILENT
) -> Blended:
    """Greedy soup: one model per fold, with the averaged weights of the members that improve the score."""
    from kit.ensemble.soup import write_soup  # imports torch

    return write_soup(members, run, workspace, progress)
