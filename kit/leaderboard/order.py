"""Filter and sort the rows of the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from kit.leaderboard.entries import Entry, score_key
from kit.registry import unknown_name

KINDS = ("experiment", "blend", "submission")
SORTS: dict[str, Callable[[Entry], tuple[Any, ...]]] = {
    "cv": lambda entry: score_key(entry, entry.cv),
    "public": lambda entry: score_key(entry, entry.public),
    "private": lambda entry: score_key(entry, entry.private),
    "date": lambda entry: (entry.date is None, [-ord(c) for c in entry.date or ""]),
    "minutes": lambda entry: (entry.minutes is None, entry.minutes or 0.0),
    "name": lambda entry: (),
}


def entries_of(entries: Sequence[Entry], competition: str | None) -> list[Entry]:
    """Return the rows of one competition; None: all rows.

    Raises:
        KitError: The competition has no row.
    """
    known = sorted({entry.competition for entry in entries})
    if competition is not None and competition not in known:
        kind = "competition with a scored run or a submission"
        raise unknown_name("--competition", kind, competition, known)
    return [entry for entry in entries if competition in (None, entry.competition)]


def filter_entries(
    entries: Sequence[Entry], kind: str | None = None, pattern: str | None = None
) -> list[Entry]:
    """Return the rows of one kind whose name matches a pattern such as ``b*``; None: any.

    Raises:
        KitError: The kind is unknown.
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("--kind", "kind of row", kind, KINDS)
    return [
        entry
        for entry in entries
        if kind in (None, entry.kind) and (pattern is None or fnmatchcase(entry.name, pattern))
    ]


def sort_entries(entries: Sequence[Entry], by: str = "cv") -> list[Entry]:
    """Return the rows by competition and metric, then best, latest or fastest first, missing values last.

    Raises:
        KitError: The order is unknown.
    """
    if by not in SORTS:
        raise unknown_name("--sort", "order", by, SORTS)
    return sorted(entries, key=lambda e: (e.competition, e.metric, *SORTS[by](e), e.name))
