"""Lines about a written submission for the terminal, and its ``--json`` form."""

from __future__ import annotations

from kit.errors import counted
from kit.submission.submit import Submitted


def submission_as_dict(done: Submitted, file: str) -> dict[str, object]:
    """Return a written submission in the ``--json`` form."""
    proof = done.proof
    return {
        "file": file,
        "rows": done.rows,
        "kind": done.kind,
        "cv": proof.cv,
        "mirror": proof.mirror,
        "held_out": proof.held_out,
        "problems": [problem.as_dict() for problem in done.problems],
        "unreadable": list(done.unreadable),
        "leaks": [leak.test_id for leak in done.leaks],
        "leaks_used": done.leaks_used,
        "written": done.written,
    }


def submission_lines(done: Submitted, file: str) -> list[str]:
    """Return the lines to print: the file, its CV score, and the result of the round-trip check."""
    state = "written" if done.written else "exists already, unchanged"
    lines = [f"{file} {state}: {counted(done.rows, 'row')}, checked.", _scores_line(done)]
    for name, score in done.proof.held_out.items():
        value = "no score" if score is None else f"{score:.4f}"
        lines.append(f"Held out {name}, written in this format and read back: {value}.")
    return lines


def _scores_line(done: Submitted) -> str:
    proof = done.proof
    if proof.cv is None:
        return "No CV score: its members have different folds. The format passed the round-trip check."
    if proof.mirror is None:
        verified = f"{proof.metric} cannot be computed from this format, so only the rows were verified"
    else:
        verified = f"the same predictions, written in this format and read back, score {proof.mirror:.4f}"
    return f"CV {proof.metric} {proof.cv:.4f}; {verified}."
