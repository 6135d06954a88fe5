"""Record the leaderboard scores of a submission beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kit.errors import KitError, first_few
from kit.leaderboard.scores import RecordedScores, read_scores, write_scores
from kit.leaderboard.submitted import file_changed
from kit.registry import nearest
from kit.runtime.environment import now
from kit.storage.files import checksum
from kit.storage.locks import waiting_lock
from kit.storage.workspace import SUBMISSION_SUFFIXES, SubmissionFile, Workspace
from kit.submission.trace import read_trace

BOARDS = ("public", "private")


@dataclass(frozen=True)
class Recorded:
    """The recorded scores of a submission, now and before.

    Attributes:
        before: None if nothing was recorded.
        replaced: Whether the earlier scores belonged to another file of that name, and so are gone.
    """

    file: SubmissionFile
    scores: RecordedScores
    before: RecordedScores | None
    replaced: bool

    @property
    def summary(self) -> list[str]:
        """One line per score: ``public 0.81``, or ``public 0.8 -> 0.81`` if it changed."""
        lines = []
        for board in BOARDS:
            score = getattr(self.scores, board)
            old = getattr(self.before, board) if self.before and not self.replaced else None
            if score is not None:
                lines.append(f"{board} {score}" if old in (None, score) else f"{board} {old} -> {score}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; ``before`` is null if nothing was recorded."""
        return asdict(self.scores) | {"before": asdict(self.before) if self.before else None}


def record(
    spec: str, workspace: Workspace, public: float | None = None, private: float | None = None
) -> Recorded:
    """Record leaderboard scores of a submission; a score that is not given stays as it is.

    Args:
        spec: A path to the file, ``competition/name``, or its name if that is unique.

    Raises:
        KitError: No score is given, or one is not finite; there is no such submission; or the file was
            edited since kit wrote it, so that it is unknown what was scored.
    """
    given = {board: score for board, score in (("public", public), ("private", private)) if score is not None}
    if not given:
        raise KitError(
            "kit leaderboard record", "needs a score", "--public, --private, or both", code="no_score"
        )
    for board, score in given.items():
        if not math.isfinite(score):
            raise KitError(f"--{board}", f"is {score}", "A score is a finite number", code="score_not_finite")
    file = find_submission(spec, workspace)
    with waiting_lock(file.lock):
        digest = _digest(file, workspace)
        before = read_scores(file)
        replaced = before is not None and before.sha256 != digest
        kept = before if before and not replaced else RecordedScores(digest)
        scores = RecordedScores(
            digest, given.get("public", kept.public), given.get("private", kept.private), recorded=now()
        )
        write_scores(file, scores)
    return Recorded(file, scores, before, replaced)


def _digest(file: SubmissionFile, workspace: Workspace) -> str:
    """Return the checksum of a submission that kit wrote and that is unchanged, or that kit did not write.

    Raises:
        KitError: It was edited, or its provenance cannot be read.
    """
    digest = checksum(file.path)
    if (read_trace(file) or {}).get("sha256", digest) != digest:
        raise file_changed(file, workspace.shown(file.path))
    return digest


def find_submission(spec: str, workspace: Workspace) -> SubmissionFile:
    """Return the submission given by a path, ``competition/name``, or its name.

    Raises:
        KitError: There is none, there are several, or the file is not in ``submissions/``.
    """
    files = workspace.submissions()
    places = {path.resolve() for path in (Path(spec), workspace.root / spec) if path.is_file()}
    matches = [file for file in files if file.path.resolve() in places]
    if places and not matches:
        raise KitError(
            spec,
            "is not a submission of this workspace",
            f"Submissions are {' and '.join(SUBMISSION_SUFFIXES)} files in submissions/COMPETITION/",
            f"Copy it there, under {workspace.root}.",
            code="submission_elsewhere",
        )
    matches = matches or [file for file in files if spec in (file.label, file.name, file.path.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        which = first_few([workspace.shown(file.path) for file in matches])
        raise KitError(
            spec,
            f"{len(matches)} submissions have that name",
            next=f"Choose one: {which}.",
            code="submission_ambiguous",
        )
    raise _missing(spec, files, workspace)


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
        code="submission_missing",
    )
