"""Lines about corrected labels."""

from __future__ import annotations

from rich.markup import escape

from kit.competition.correct import Correction

UNUSED = "not used"


def correction_lines(correction: Correction, file: str) -> list[str]:
    """Return what a correction changes, and the file that has it."""
    before, after = correction.before or UNUSED, correction.after or UNUSED
    change = f"{before} -> {after}" if before != after else f"{after}, confirmed"
    return [escape(f"{correction.id}: {change}"), escape(f"{file} written")]
