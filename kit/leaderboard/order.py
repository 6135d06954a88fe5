"""Rows of the ledger picked and put in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from kit.leaderboard.entries import Entry, better
from kit.registry import unknown_name

KINDS = ("experiment", "blend", "submission")
SORTS: dict[str, Callable[[Entry], tuple[Any, ...]]] = {
    "cv": lambda entry: better(entry, entry.cv),
    "public": lambda entry: better(entry, entry.public),
    "private": lambda entry: better(entry, entry.private),
    "date": lambda entry: (entry.date is None, [-ord(c) for c in entry.date or ""]),
    "minutes": lambda entry: (entry.minutes is None, entry.minutes or 0.0),
    "name": lambda entry: (),
}


def of_competition(entries: Sequence[Entry], competition: str | None) -> list[Entry]:
    """Return the rows of one competition; all without one.

    Raises:
        KitError: Nothing is of that competition.
    """
    known = sorted({entry.competition for entry in entries})
    if competition is not None and competition not in known:
        kind = "competition with a scored run or a submission"
        raise unknown_name("--competition", kind, competition, known)
    return [entry for entry in entries if competition in (None, entry.competition)]


def picked(entries: Sequence[Entry], kind: str | None = None, pattern: str | None = None) -> list[Entry]:
    """Return the rows of one kind whose name fits a pattern such as ``b*``; all without them.

    Raises:
        KitError: There is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise unknown_name("--kind", "kind of row", kind, KINDS)
    return [
        entry
        for entry in entries
        if kind in (None, entry.kind) and (pattern is None or fnmatchcase(entry.name, pattern))
    ]


def in_order(entries: Sequence[Entry], by: str = "cv") -> list[Entry]:
    """Return the rows of each competition in order: the best score, the latest, the quickest first.

    What has no such value comes last. Competitions stay apart, since their scores do not compare.

    Raises:
        KitError: Rows cannot be sorted by that.
    """
    if by not in SORTS:
        raise unknown_name("--sort", "order", by, SORTS)
    return sorted(entries, key=lambda e: (e.competition, e.metric, *SORTS[by](e), e.name))
