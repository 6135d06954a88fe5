"""Tables for the terminal: what is wrong with a file, and what could be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from kit.report.tables import plain_table
from kit.submission_check.problem_codes import CODES, Problem

STYLES = {"error": "red", "warning": "yellow"}


def problems_table(problems: Sequence[Problem]) -> Table:
    """Return what is wrong with a file."""
    table = plain_table("severity", "code", "count", "what", "first", "remedy", right=("count",))
    for p in problems:
        said = (p.code, str(p.count), escape(p.message), escape(p.first), escape(p.remedy))
        table.add_row(_marked(p.severity), *said)
    return table


def codes_table() -> Table:
    """Return everything that can be wrong."""
    table = plain_table("severity", "code", "what", "remedy")
    for name, code in CODES.items():
        table.add_row(_marked(code.severity), name, escape(code.meaning), escape(code.remedy))
    return table


def codes_as_dicts() -> list[dict[str, object]]:
    """Return every check under the keys that ``--json`` promises."""
    return [{"code": name} | asdict(code) for name, code in CODES.items()]


def _marked(severity: str) -> str:
    style = STYLES[severity]
    return f"[{style}]{severity}[/{style}]"
