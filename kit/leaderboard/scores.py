"""What the leaderboard said of a submission, kept beside it: the only thing here that kit cannot work out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from kit.errors import KitError
from kit.storage.files import read_json, write_json
from kit.storage.workspace import SubmissionFile


@dataclass(frozen=True)
class Scores:
    """What was recorded of one submission.

    Attributes:
        sha256: Of the bytes that were scored.
        public: On the part of the test images that the leaderboard shows.
        private: On the rest of them.
        recorded: When it was last written down, ISO, UTC.
    """

    sha256: str
    public: float | None = None
    private: float | None = None
    recorded: str = ""


def read_scores(file: SubmissionFile) -> Scores | None:
    """Return what was recorded of a submission; None if nothing was.

    Raises:
        KitError: The file is damaged.
    """
    if not file.scores.exists():
        return None
    try:
        values = read_json(file.scores)
        return Scores(
            sha256=str(values["sha256"]),
            public=number(values.get("public")),
            private=number(values.get("private")),
            recorded=str(values.get("recorded") or ""),
        )
    except (KitError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise KitError(
            file.scores,
            f"is not a score record ({getattr(error, 'problem', repr(error))})",
            "It holds sha256, public and private",
            f"Remove it, then `kit leaderboard record {file.label} --public SCORE`.",
        ) from error


def write_scores(file: SubmissionFile, scores: Scores) -> None:
    """Write what was recorded of a submission, whole or not at all; hold ``file.lock`` meanwhile."""
    write_json(file.scores, asdict(scores))


def number(value: Any) -> float | None:
    """Return a value from JSON as a finite number; None stays None.

    Raises:
        ValueError: It is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
