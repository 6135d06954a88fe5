"""A submission file with what lies beside it: what it was made of, and what it scored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.errors import KitError
from kit.leaderboard.scores import Scores, read_scores
from kit.storage.files import checksum, read_json
from kit.storage.workspace import SubmissionFile, Workspace

HASHED = 1 << 26  # bytes; of larger files only the size is compared, so that listing them stays quick


@dataclass(frozen=True)
class Submitted:
    """A submission file as the ledger sees it.

    Attributes:
        trace: What it was made of; empty for a file that kit did not write, or that was changed since.
        scores: What was recorded of these very bytes.
        date: When it was written, ISO, UTC.
    """

    file: SubmissionFile
    trace: dict[str, Any]
    scores: Scores | None
    date: str

    @property
    def experiment(self) -> str:
        """The label of the run that it is of; empty if that is not known."""
        return str(self.trace.get("experiment") or "")


def read_submitted(file: SubmissionFile, workspace: Workspace, problems: list[KitError]) -> Submitted | None:
    """Return a submission with what is known of it, adding what is wrong with it to ``problems``.

    Returns:
        None where what it was made of cannot be read, or it was moved away just now by `kit submit`.
    """
    try:
        trace = read_trace(file)
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
        is_as_written = not trace or _is_of(trace, file.path, digest)
    except FileNotFoundError:
        return None
    if not is_as_written:
        problems.append(changed(file, workspace.shown(file.path)))
        trace = {}
    if scores is not None and digest not in (None, scores.sha256):
        problems.append(
            KitError(
                workspace.shown(file.scores),
                f"was recorded of another {file.path.name} than is there now",
                "A score belongs to the bytes that were scored",
                "Bring the file back, or record the score of this one.",
            )
        )
        scores = None
    return Submitted(file, trace, scores, date)


def read_trace(file: SubmissionFile) -> dict[str, Any]:
    """Return what a submission was made of; nothing for a file that kit did not write.

    Raises:
        KitError: It cannot be read.
    """
    if not file.trace.exists():
        return {}
    again = f"Write it anew: `kit submit {file.label}`; or remove it."
    try:
        values = read_json(file.trace)
    except KitError as error:
        raise KitError(file.trace, error.problem, error.rule, again) from error
    if not isinstance(values, dict):
        raise KitError(file.trace, "holds no mapping", "`kit submit` writes one", again)
    return values


def _digest(path: Path) -> str | None:
    """Return the checksum of a file; None of one too large to read it whenever it is listed."""
    return checksum(path) if path.stat().st_size <= HASHED else None


def _is_of(trace: dict[str, Any], path: Path, digest: str | None) -> bool:
    """Tell whether a file is still what its trace says; of a large one only the size is compared."""
    if digest is not None:
        return bool(trace.get("sha256", digest) == digest)
    return bool(trace.get("bytes", path.stat().st_size) == path.stat().st_size)


def changed(file: SubmissionFile, shown: str) -> KitError:
    """Return what is to be said of a submission that somebody changed after kit wrote it."""
    return KitError(
        shown,
        "has changed since kit wrote it",
        f"What {file.trace.name} says, its CV among it, is of other bytes",
        f"Write it anew: `kit submit {file.label}`; or remove {file.trace.name} if the file is your own.",
    )


def written_at(path: Path) -> str:
    """Return when a file was last written, ISO, UTC, to the second."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
