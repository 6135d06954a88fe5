"""Say what is wrong with a text that is not JSON: it is empty, is not complete, or breaks at some place."""

from __future__ import annotations

import json


def json_mistake(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a text, from the error with which ``json`` refuses it.

    >>> try:
    ...     json.loads('{"a": 1,')
    ... except ValueError as error:
    ...     json_mistake(error)
    'is not complete: its JSON ends within line 1'
    """
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte {error.start})"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if not isinstance(error, json.JSONDecodeError):
        return "holds a value that is not JSON"
    if not error.doc.strip():
        return "is empty"
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        lines = error.doc.rstrip().count("\n") + 1
        return f"is not complete: its JSON ends within line {lines}"
    return f"is not JSON from line {error.lineno}, column {error.colno}"
