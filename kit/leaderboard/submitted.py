"""A submission with its provenance and its recorded scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.errors import KitError
from kit.leaderboard.scores import RecordedScores, read_scores
from kit.storage.files import checksum
from kit.storage.workspace import SubmissionFile, Workspace
from kit.submission.trace import read_trace

MAX_HASHED_BYTES = 1 << 26  # of larger files only the size is compared, so that listing is fast


@dataclass(frozen=True)
class SubmissionRecord:
    """A submission as the leaderboard lists it.

    Attributes:
        trace: The provenance; empty if kit did not write the file, or it has changed since.
        scores: The recorded scores of this file.
        date: When the file was written, ISO, UTC.
    """

    file: SubmissionFile
    trace: dict[str, Any]
    scores: RecordedScores | None
    date: str

    @property
    def experiment(self) -> str:
        """The label of the run that the submission comes from; empty if unknown."""
        return str(self.trace.get("experiment") or "")


def read_submission(
    file: SubmissionFile, workspace: Workspace, problems: list[KitError]
) -> SubmissionRecord | None:
    """Return a submission, and append what is wrong with it to ``problems``.

    Returns:
        None if its provenance cannot be read, or `kit submit` has just renamed it.
    """
    try:
        trace = read_trace(file) or {}
    except KitError as error:
        problems.append(error)
        return None
    try:
        scores = read_scores(file)
    except KitError as error:
        problems.append(error)
        scores = None
    try:
        digest = _digest(file.path) if trace or scores else None
        date = str(trace.get("written") or "") or written_at(file.path)
        is_unchanged = not trace or _is_unchanged(trace, file.path, digest)
    except FileNotFoundError:
        return None
    if not is_unchanged:
        problems.append(file_changed(file, workspace.shown(file.path)))
        trace = {}
    if scores is not None and digest not in (None, scores.sha256):
        problems.append(
            KitError(
                workspace.shown(file.scores),
                f"belongs to another version of {file.path.name}",
                "A score belongs to the file that was scored",
                "Restore the scored file, or record the score of this one.",
                code="scores_of_other_file",
            )
        )
        scores = None
    return SubmissionRecord(file, trace, scores, date)


def _digest(path: Path) -> str | None:
    """Return the checksum of a file; None for a file too large to read at each listing."""
    return checksum(path) if path.stat().st_size <= MAX_HASHED_BYTES else None


def _is_unchanged(trace: dict[str, Any], path: Path, digest: str | None) -> bool:
    """Return whether a file is the one that its provenance describes; for large files, compare the size."""
    if digest is not None:
        return bool(trace.get("sha256", digest) == digest)
    return bool(trace.get("bytes", path.stat().st_size) == path.stat().st_size)


def file_changed(file: SubmissionFile, shown: str) -> KitError:
    """Return the error for a submission that was edited after kit wrote it."""
    return KitError(
        shown,
        "has changed since kit wrote it",
        f"{file.trace.name}, with its CV, describes another file",
        f"Run `kit submit {file.label}`, or remove {file.trace.name} if the file is your own.",
        code="submission_changed",
    )


def written_at(path: Path) -> str:
    """Return when a file was last written, ISO, UTC, to the second."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
