"""What a submission was made of, kept beside it: enough to tell where it comes from, and to make it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit import __version__
from kit.config import Config
from kit.errors import KitError
from kit.postprocess.steps import Decision
from kit.predictions import Predictions
from kit.runtime.environment import commit_of, now
from kit.storage.files import checksum, read_json, write_json
from kit.storage.locks import in_turn
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.leaks import Leak


def members_of(run: RunFolder) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return how a blend was made and of what with which weights; nothing for an experiment."""
    if not run.blend.exists():
        return None, []
    told = read_json(run.blend)
    worth = (told.get("worth") or {}).get("members", [])
    weights = {member["label"]: member["weight"] for member in worth}
    return told["method"], [{"experiment": m, "weight": weights.get(m)} for m in told["members"]]


def trace_of(
    run: RunFolder,
    workspace: Workspace,
    config: Config,
    test: Predictions,
    decision: Decision,
    known: Sequence[Leak],
    told: dict[str, Any],
) -> dict[str, Any]:
    """Return what a submission is made of.

    Args:
        known: The leaks whose known labels are in the file.
        told: Further values: scores, and what is odd.
    """
    method, members = members_of(run)
    return {
        "competition": run.competition,
        "experiment": run.label,
        "of": "blend" if run.blend.exists() else "experiment",
        "method": method,
        "members": members,
        **told,
        "decision": decision.as_list(),
        "known_labels": [leak._asdict() for leak in known],
        "models": test.origin.models,
        "tta": list(test.origin.tta),
        "predictions": test.digest(),
        "kit": __version__,
        "commit": commit_of(workspace.root),
        "config": config.model_dump(by_alias=True),
    }


def write_trace(file: SubmissionFile, trace: dict[str, Any]) -> None:
    """Write what a submission is made of beside it; the time of a file that is the same stays as it was."""
    try:
        before = read_json(file.trace)
    except KitError:
        before = {}  # there is none, or it was cut: this one takes its place
    own = {"file": file.path.name, "sha256": checksum(file.path), "bytes": file.path.stat().st_size}
    same = before.get("sha256") == own["sha256"]
    write_json(file.trace, own | {"written": before.get("written") if same else now()} | trace)


def keep_scored(file: SubmissionFile) -> SubmissionFile | None:
    """Move a submission whose scores are recorded out of the way of another one, so that it can be traced.

    Returns:
        Where it is now; None if nothing was recorded of it.
    """
    if not (file.path.exists() and file.scores.exists()):
        return None
    kept = SubmissionFile(file.path.with_name(f"{file.name}@{checksum(file.path)[:8]}{file.path.suffix}"))
    with in_turn(file.lock):
        if file.trace.exists():
            write_json(kept.trace, read_json(file.trace) | {"file": kept.path.name})
            file.trace.unlink()
        file.scores.replace(kept.scores)
        file.path.replace(kept.path)
    return kept


def read_trace(path: Path) -> dict[str, Any]:
    """Return what a submission was made of.

    Raises:
        KitError: The file is missing or is no trace.
    """
    values = read_json(path)
    lacking = {"file", "sha256", "experiment", "predictions", "decision", "config"} - set(values)
    if lacking:
        raise KitError(
            path,
            f"does not say what a submission is made of (lacks {', '.join(sorted(lacking))})",
            "`kit submit` writes such a file beside each submission",
        )
    found: dict[str, Any] = values
    return found


def decision_of(trace: dict[str, Any]) -> Decision:
    """Return the decisions that a submission was made with."""
    return Decision.from_list(trace["decision"])


def leaks_of(trace: dict[str, Any]) -> list[Leak]:
    """Return the leaks whose known labels are in a submission."""
    return [Leak(**each) for each in trace.get("known_labels", [])]
