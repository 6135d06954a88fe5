"""The leaderboard as terminal tables and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kit.leaderboard.correlation import Correlation
from kit.leaderboard.entries import Entry, best_first
from kit.leaderboard.selection import Selection
from kit.report.tables import plain_table

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one of these
BLENDED = 3  # experiments that the next step blends
MAX_CHANGES = 2  # listed; the others are counted
LONGEST = 44  # characters of one change
NUMBERS = ("CV", "± sd", "nested", "public", "private", "min")
LAST = "changed"
OPTIONAL = ("commit", "device", "file", "min", "date", "± sd", "kind")  # in a narrow terminal, in this order
DAY = len("2026-11-23")


def leaderboard_tables(
    entries: Sequence[Entry], related: Sequence[Correlation] = (), chosen: Sequence[Selection] = ()
) -> list[Table | str]:
    """Return one table per competition and metric, each followed by its correlation and selection.

    Columns that are empty in all tables are left out.
    """
    tables: list[Table | str] = []
    columns = [name for name, cell in COLUMNS.items() if any(cell(entry) for entry in entries)]
    for (competition, metric), group in groupby(entries, key=lambda e: (e.competition, e.metric)):
        rows = list(group)
        tables.append(_table(rows, columns))
        notes: list[Correlation | Selection] = [*related, *chosen]
        own = [note for note in notes if (note.competition, note.metric) == (competition, metric)]
        tables += [escape(note.summary) for note in own]
        tables += [escape(f"{row.name} is stale, {row.stale}") for row in rows if row.stale]
    if any(entry.stale for entry in entries):
        tables.append("Stale rows are not selected; what renews them: kit status EXPERIMENT")
    return tables


def next_arguments(entries: Sequence[Entry]) -> list[str]:
    """Return the verb and arguments of the next step for the first competition of the rows.

    Renew what is stale, submit the best run, blend the three best experiments; then look at the state of all.
    """
    rows = [row for row in best_first(entries) if row.competition == entries[0].competition]
    runs = [row for row in rows if row.minutes is not None or row.nested is not None]
    if stale := [row for row in runs if row.stale]:
        return ["status", stale[0].label]
    scored = [row for row in runs if row.cv is not None]
    if scored and not scored[0].submission:
        return ["submit", scored[0].label]
    trained = [row.label for row in scored if row.nested is None]
    if len(trained) == len(scored) > 1:
        return ["blend", *trained[:BLENDED]]
    return ["status"]


def _table(rows: Sequence[Entry], columns: Sequence[str]) -> Table:
    whole = [name for name in columns if name not in ("name", LAST)]
    table = plain_table(*columns, title=_title(rows[0]), right=NUMBERS, whole=whole, optional=OPTIONAL)
    for entry in rows:
        table.add_row(*(_text(name, COLUMNS[name](entry)) for name in columns))
    return table


def _text(column: str, cell: str) -> Text:
    """Return a cell; the changes are cut to one line."""
    return Text(cell, no_wrap=True, overflow="ellipsis") if column == LAST else Text(cell)


def _title(first: Entry) -> str:
    better = "higher" if first.higher_is_better else "lower"
    about = f"{first.metric} ({better} is better)" if first.metric else "unknown metric"
    return escape(f"{first.competition}: {about}")


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _minutes(entry: Entry) -> str:
    return "" if entry.minutes is None else f"{entry.minutes:.1f}"


def _changed(entry: Entry) -> str:
    """Return the changes of a row compared with its parent, on one line."""
    if entry.kind == "submission":
        return f"an earlier state of {entry.parent}" if entry.parent else "changed, or not written by kit"
    if entry.kind == "blend":
        return ", ".join(entry.changed)
    lines = [_short(line.replace(": ", " ", 1)) for line in entry.changed[:MAX_CHANGES]]
    if len(entry.changed) > MAX_CHANGES:
        lines.append(f"+{len(entry.changed) - MAX_CHANGES} more")
    return f"vs {entry.parent}: {', '.join(lines) or 'the same'}" if entry.parent else ""


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


COLUMNS: dict[str, Callable[[Entry], str]] = {
    "name": lambda entry: entry.name,
    "kind": lambda entry: entry.kind,
    "state": lambda entry: "stale" if entry.stale else "",
    "CV": lambda entry: _score(entry.cv),
    "± sd": lambda entry: _score(entry.sd),
    "nested": lambda entry: _score(entry.nested),
    "public": lambda entry: _score(entry.public),
    "private": lambda entry: _score(entry.private),
    "file": lambda entry: "yes" if entry.submission else "",
    "device": lambda entry: entry.device or "",
    "min": _minutes,
    "date": lambda entry: (entry.date or "")[:DAY],
    "commit": lambda entry: entry.commit or "",
    LAST: _changed,
}


def entries_csv(entries: Sequence[Entry]) -> str:
    """Return the rows as CSV with a header, numbers in full precision, unknown values empty.

    Text that a spreadsheet would run as a formula is prefixed with an apostrophe.
    """
    text = io.StringIO()
    names = [field.name for field in fields(Entry)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for entry in entries:
        writer.writerow([_cell(getattr(entry, name)) for name in names])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        value = "; ".join(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return value
