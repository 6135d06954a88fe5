"""Record the leaderboard scores of a submission beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kit.errors import KitError, counted, first_few
from kit.leaderboard.scores import BOARDS, RecordedScores, read_scores, write_scores
from kit.leaderboard.submitted import file_changed
from kit.registry import nearest
from kit.runtime.displayed import Displayed
from kit.runtime.environment import now
from kit.storage.files import checksum
from kit.storage.locks import waiting_lock
from kit.storage.workspace import SUBMISSION_SUFFIXES, SubmissionFile, Workspace
from kit.submission.trace import read_trace


@dataclass(frozen=True)
class Recorded(Displayed):
    """The recorded scores of a submission, now and before.

    Attributes:
        before: The earlier scores; None if there were none.
        replaced: Whether the earlier scores belonged to another file of that name and were removed.
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
    """Record leaderboard scores of a submission; None keeps the recorded score.

    Args:
        spec: A path to the file, ``competition/name``, or its name if that is unique.

    Raises:
        KitError: Both scores are None, or one is not finite; the submission does not exist; or the file has
            changed since kit wrote it, so the scored file is unknown.
    """
    new = {board: s for board, s in zip(BOARDS, (public, private), strict=True) if s is not None}
    if not new:
        raise KitError(
            "kit leaderboard record", "needs a score", "--public, --private, or both", code="no_score"
        )
    for board, score in new.items():
        if not math.isfinite(score):
            raise KitError(f"--{board}", f"is {score}", "A score is a finite number", code="score_not_finite")
    file = find_submission(spec, workspace)
    with waiting_lock(file.lock):
        before, kept = _recorded(file, workspace)
        scores = replace(
            kept,
            public=new.get("public", kept.public),
            private=new.get("private", kept.private),
            recorded=now(),
        )
        write_scores(file, scores)
    return Recorded(file, scores, before, before is not None and before.sha256 != scores.sha256)


def record_upload(file: SubmissionFile, number: int, workspace: Workspace) -> None:
    """Record the number that Kaggle gave a submission, so that it is not uploaded twice."""
    with waiting_lock(file.lock):
        _, kept = _recorded(file, workspace)
        write_scores(file, replace(kept, kaggle=number, recorded=now()))


def uploaded_as(file: SubmissionFile, workspace: Workspace) -> int | None:
    """Return Kaggle's number of a submission; None if this file, with these bytes, was not uploaded."""
    return _recorded(file, workspace)[1].kaggle


def _recorded(file: SubmissionFile, workspace: Workspace) -> tuple[RecordedScores | None, RecordedScores]:
    """Return what is recorded beside a submission, and what of it belongs to the file's bytes."""
    digest = _digest(file, workspace)
    before = read_scores(file)
    return before, before if before and before.sha256 == digest else RecordedScores(digest)


def _digest(file: SubmissionFile, workspace: Workspace) -> str:
    """Return the checksum of a submission.

    Raises:
        KitError: The file has changed since kit wrote it, or its provenance cannot be read.
    """
    digest = checksum(file.path)
    if (read_trace(file) or {}).get("sha256", digest) != digest:
        raise file_changed(file, workspace.shown(file.path))
    return digest


def find_submission(spec: str, workspace: Workspace) -> SubmissionFile:
    """Return the submission with a path, a label ``competition/name``, or a name.

    Raises:
        KitError: No submission or several match, or the file is not in ``submissions/``.
    """
    files = workspace.submissions()
    places = {path.resolve() for path in (Path(spec), workspace.root / spec) if path.is_file()}
    matches = [file for file in files if file.path.resolve() in places]
    if places and not matches:
        raise KitError(
            spec,
            "is not a submission of this workspace",
            f"Submissions are {' and '.join(SUBMISSION_SUFFIXES)} files in submissions/COMPETITION/",
            f"Copy the file there, under {workspace.root}.",
            code="submission_elsewhere",
        )
    matches = matches or [file for file in files if spec in (file.label, file.name, file.path.name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        which = first_few([workspace.shown(file.path) for file in matches])
        raise KitError(
            spec,
            f"{counted(len(matches), 'submission has', 'submissions have')} that name",
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
        "is not a submission",
        f"Submissions: {listed}" if files else "`kit submit EXPERIMENT` writes one",
        hint,
        code="submission_missing",
    )
