"""Natural order: ``2`` before ``10``."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(\d+)")


def natural_key(text: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Return a sort key under which ``2`` comes before ``10`` and ``img9`` before ``img10``."""
    parts = tuple((0, int(p)) if p.isdecimal() else (1, p) for p in _NUMBER.split(text) if p)
    return parts, text
