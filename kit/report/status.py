"""The state of runs and their artifacts as terminal tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kit.report.tables import plain_table
from kit.status.chain import Link
from kit.status.runs import RunStatus

COLORS = {"up to date": "green", "stale": "yellow", "damaged": "red", "missing": "dim"}


def status_tables(found: Sequence[RunStatus], is_single: bool) -> list[Table | str]:
    """Return the artifacts of a single run, or one row per run with its first problem; then what to do."""
    if is_single:
        return [_artifacts(found[0]), *_next_steps(found[0].links)]
    table = plain_table("run", "state", "why", whole=("state",))
    for each in found:
        worst = each.worst
        why = "" if worst.state == "up to date" else f"{worst.artifact}: {worst.why}"
        table.add_row(escape(each.run.label), _colored(worst), escape(why))
    return [table, ""]


def next_command(found: Sequence[RunStatus], is_single: bool) -> list[str]:
    """Return the verb and arguments of the next step: the first renewal, or the details of a broken run."""
    broken = [each for each in found if each.worst.state != "up to date"]
    if broken and not is_single:
        return ["status", broken[0].run.label]
    if is_single and (commands := _renewals(found[0].links)):
        return shlex.split(commands[0])[1:]
    return ["leaderboard"]


def _artifacts(status: RunStatus) -> Table:
    table = plain_table(
        "artifact", "state", "why", title=escape(status.run.label), whole=("artifact", "state")
    )
    for link in status.links:
        since = f" (since {link.since})" if link.since else ""
        table.add_row(escape(link.artifact), _colored(link), escape(f"{link.why}{since}"))
    return table


def _colored(link: Link) -> str:
    return f"[{COLORS[link.state]}]{link.state}[/]"


def _renewals(links: Sequence[Link]) -> list[str]:
    """Return the commands that renew what is not up to date, in order, each once."""
    commands = dict.fromkeys(link.command for link in links if link.state != "up to date" and link.command)
    return [command for command in commands if f"{command} --fresh" not in commands]


def _next_steps(links: Sequence[Link]) -> list[str]:
    """Return the lines that say how to renew what is not up to date."""
    broken = [link for link in links if link.state != "up to date"]
    by_hand = [f"move or restore {link.artifact}" for link in broken if not link.command]
    lines = [*by_hand, *_renewals(links)]
    return ["", "To renew:", *(f"  {escape(line)}" for line in lines)] if lines else ["", "All up to date."]
