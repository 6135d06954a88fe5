"""The recorded leaderboard scores of a submission, in a JSON file beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from kit.errors import KitError
from kit.storage.files import json_number, read_json, write_json
from kit.storage.workspace import SubmissionFile

BOARDS = ("public", "private")


@dataclass(frozen=True)
class RecordedScores:
    """The leaderboard scores of one submission.

    Attributes:
        sha256: Checksum of the scored file.
        public: Score on the test images of the public leaderboard.
        private: Score on the other test images.
        recorded: Time of the last recording, ISO, UTC.
        kaggle: Kaggle's number of the uploaded file; None if `kit kaggle submit` did not upload it.
    """

    sha256: str
    public: float | None = None
    private: float | None = None
    recorded: str = ""
    kaggle: int | None = None


def read_scores(file: SubmissionFile) -> RecordedScores | None:
    """Return the recorded scores of a submission; None if there are none.

    Raises:
        KitError: The file is damaged.
    """
    if not file.scores.exists():
        return None
    try:
        values = read_json(file.scores)
        return RecordedScores(
            sha256=str(values["sha256"]),
            public=json_number(values.get("public")),
            private=json_number(values.get("private")),
            recorded=str(values.get("recorded") or ""),
            kaggle=None if values.get("kaggle") is None else int(values["kaggle"]),
        )
    except (KitError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise KitError(
            file.scores,
            f"is not a score record ({getattr(error, 'problem', repr(error))})",
            "It holds sha256, public and private",
            f"Remove it, then `kit leaderboard record {file.label} --public SCORE`.",
            code="scores_damaged",
        ) from error


def write_scores(file: SubmissionFile, scores: RecordedScores) -> None:
    """Write the recorded scores of a submission. The caller holds ``file.lock``."""
    write_json(file.scores, asdict(scores))
