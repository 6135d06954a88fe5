"""Tables of the submission check: the problems of a file, and all problem codes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kit.report.tables import plain_table
from kit.submission_check.problem_codes import CODES, Problem

STYLES = {"error": "red", "warning": "yellow"}


def problems_tables(problems: Sequence[Problem]) -> list[Table | str]:
    """Return the table of a file's problems, and a line with the remedy of each code."""
    table = plain_table("severity", "code", "count", "what", "first", right=("count",))
    for p in problems:
        count = "" if CODES[p.code].whole_file else str(p.count)
        table.add_row(_styled(p.severity), p.code, count, escape(p.message), escape(p.first))
    remedies = {f"{p.code}: {p.remedy}": None for p in problems if p.remedy}
    return [table, "", *map(escape, remedies)]


def codes_table() -> Table:
    """Return the table of all problem codes."""
    table = plain_table("severity", "code", "what", "remedy")
    for name, code in CODES.items():
        table.add_row(_styled(code.severity), name, escape(code.meaning), escape(code.remedy))
    return table


def codes_as_dicts() -> list[dict[str, object]]:
    """Return all problem codes in the ``--json`` form."""
    return [
        {"code": name, "severity": code.severity, "meaning": code.meaning, "remedy": code.remedy}
        for name, code in CODES.items()
    ]


def _styled(severity: str) -> str:
    style = STYLES[severity]
    return f"[{style}]{severity}[/{style}]"
