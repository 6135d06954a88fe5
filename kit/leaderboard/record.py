"""What the leaderboard said of a submission, written down beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.errors import KitError, first_few
from kit.leaderboard.scores import Scores, read_scores, write_scores
from kit.leaderboard.submitted import changed, read_trace
from kit.registry import nearest
from kit.runtime.environment import now
from kit.storage.files import checksum
from kit.storage.locks import in_turn
from kit.storage.workspace import SUBMISSION_SUFFIXES, SubmissionFile, Workspace

BOARDS = ("public", "private")


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a submission now, and was before.

    Attributes:
        before: None where nothing was.
        replaced: Whether what was recorded before is of another file of that name, and so is gone.
    """

    file: SubmissionFile
    scores: Scores
    before: Scores | None
    replaced: bool

    @property
    def told(self) -> list[str]:
        """One line per score: ``public 0.81``, or ``public 0.8 -> 0.81`` where it was another one."""
        lines = []
        for board in BOARDS:
            score = getattr(self.scores, board)
            old = getattr(self.before, board) if self.before and not self.replaced else None
            if score is not None:
                lines.append(f"{board} {score}" if old in (None, score) else f"{board} {old} -> {score}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; ``before`` is null where nothing was recorded."""
        return asdict(self.scores) | {"before": asdict(self.before) if self.before else None}


def record(
    spec: str, workspace: Workspace, public: float | None = None, private: float | None = None
) -> Recorded:
    """Write down what the leaderboard said of a submission; a score that is not given stays as it was.

    Args:
        spec: A path to the file, ``competition/name``, or its bare name if only one has it.

    Raises:
        KitError: No score is given, or one is no number; there is no such submission; or its bytes are others
            than kit wrote, so that nobody knows what was scored.
    """
    given = {board: score for board, score in (("public", public), ("private", private)) if score is not None}
    if not given:
        raise KitError("kit leaderboard record", "no score is given", "--public, --private, or both")
    for board, score in given.items():
        if not math.isfinite(score):
            raise KitError(f"--{board}", f"is {score}", "A score is a number")
    file = find_submission(spec, workspace)
    with in_turn(file.lock):
        digest = _digest(file, workspace)
        before = read_scores(file)
        replaced = before is not None and before.sha256 != digest
        kept = before if before and not replaced else Scores(digest)
        scores = Scores(
            digest, given.get("public", kept.public), given.get("private", kept.private), recorded=now()
        )
        write_scores(file, scores)
    return Recorded(file, scores, before, replaced)


def _digest(file: SubmissionFile, workspace: Workspace) -> str:
    """Return the checksum of a submission that is as kit wrote it, or that kit did not write.

    Raises:
        KitError: It was changed since, or what it was made of cannot be read.
    """
    digest = checksum(file.path)
    if read_trace(file).get("sha256", digest) != digest:
        raise changed(file, workspace.shown(file.path))
    return digest


def find_submission(spec: str, workspace: Workspace) -> SubmissionFile:
    """Return the submission meant by a path, ``competition/name``, or its bare name.

    Raises:
        KitError: There is none, more than one, or the file lies elsewhere.
    """
    files = workspace.submissions()
    places = {path.resolve() for path in (Path(spec), workspace.root / spec) if path.is_file()}
    matches = [file for file in files if file.path.resolve() in places]
    if places and not matches:
        _refuse_elsewhere(spec, workspace)
    matches = matches or [file for file in files if spec in (file.label, file.name, file.path.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        which = first_few([workspace.shown(file.path) for file in matches])
        raise KitError(spec, f"{len(matches)} submissions have that name", next=f"Say which: {which}.")
    raise _missing(spec, files, workspace)


def _refuse_elsewhere(spec: str, workspace: Workspace) -> None:
    raise KitError(
        spec,
        "is no submission of this workspace",
        f"Those are the {' and '.join(SUBMISSION_SUFFIXES)} files in submissions/COMPETITION/",
        f"Copy it there, under {workspace.root}.",
    )


def _missing(spec: str, files: Sequence[SubmissionFile], workspace: Workspace) -> KitError:
    named = {name: file for file in files for name in (workspace.shown(file.path), file.label, file.name)}
    close = nearest(spec, named, limit=1)
    hint = f"Did you mean {workspace.shown(named[close[0]].path)}?" if close else ""
    listed = first_few([workspace.shown(file.path) for file in files])
    return KitError(
        spec,
        "there is no such submission",
        f"There are: {listed}" if files else "`kit submit EXPERIMENT` writes one",
        hint,
    )
