"""What the JSON beside a submission records, and how the submission is written again from it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kit import __version__
from kit.config import Config
from kit.errors import KitError
from kit.postprocess.postprocessing import Postprocessing
from kit.predictions import Predictions
from kit.runtime.environment import commit_of, now
from kit.storage.files import atomic_write, checksum
from kit.storage.locks import waiting_lock
from kit.storage.run_artifacts import read_blend
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.leaks import Leak
from kit.submission.trace import read_trace, save_trace
from kit.wrong_values import rule_for

NEEDED = {"file", "sha256", "experiment", "predictions", "decision", "config"}  # to reproduce a submission


def members_of(run: RunFolder) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return a blend's method and its members with their weights; nothing for an experiment."""
    if not run.blend.exists():
        return None, []
    values, _ = read_blend(run)
    members = (values.get("worth") or {}).get("members", [])
    weights = {member["label"]: member["weight"] for member in members}
    return values["method"], [{"experiment": m, "weight": weights.get(m)} for m in values["members"]]


def trace_of(
    run: RunFolder,
    workspace: Workspace,
    config: Config,
    test: Predictions,
    postprocessing: Postprocessing,
    known: Sequence[Leak],
    more: dict[str, Any],
) -> dict[str, Any]:
    """Return the provenance of a submission.

    Args:
        known: The leaks whose known labels are in the file.
        more: Additional values: scores, warnings.
    """
    method, members = members_of(run)
    return {
        "competition": run.competition,
        "experiment": run.label,
        "of": "blend" if run.blend.exists() else "experiment",
        "method": method,
        "members": members,
        **more,
        "decision": postprocessing.as_list(),
        "known_labels": [leak._asdict() for leak in known],
        "models": test.origin.models,
        "tta": list(test.origin.tta),
        "predictions": test.digest(),
        "kit": __version__,
        "commit": commit_of(workspace.root),
        "config": config.model_dump(by_alias=True),
    }


def write_trace(file: SubmissionFile, trace: dict[str, Any]) -> None:
    """Write the provenance of a submission; if the file is unchanged, its time of writing is kept."""
    try:
        before = read_trace(file) or {}
    except KitError:
        before = {}  # damaged: this one replaces it
    own = {"file": file.path.name, "sha256": checksum(file.path), "bytes": file.path.stat().st_size}
    same = before.get("sha256") == own["sha256"]
    values = own | {"written": before.get("written") if same else now()} | trace
    save_trace(file, values)


def keep_scored(file: SubmissionFile) -> SubmissionFile | None:
    """Copy a submission that has recorded scores under another name, so that it can be overwritten.

    The copy is complete before scores and provenance of the original are removed, so that a recorded score
    always has its file.

    Returns:
        The copy; None if the submission has no recorded score.
    """
    if not (file.path.exists() and file.scores.exists()):
        return None
    kept = SubmissionFile(file.path.with_name(f"{file.name}@{checksum(file.path)[:8]}{file.path.suffix}"))
    with waiting_lock(file.lock):
        for original, copy in ((file.path, kept.path), (file.scores, kept.scores)):
            with atomic_write(copy) as draft:
                shutil.copyfile(original, draft)
        if (trace := read_trace(file)) is not None:
            save_trace(kept, trace | {"file": kept.path.name})
        for original in (file.scores, file.trace):
            original.unlink(missing_ok=True)
    return kept


def require_trace(file: SubmissionFile) -> dict[str, Any]:
    """Return the provenance of a submission, after checking that it is complete.

    Raises:
        KitError: The JSON file is missing, damaged or incomplete.
    """
    values = read_trace(file)
    if values is None:
        raise KitError(
            file.trace,
            "does not exist",
            "`kit submit` writes it with each submission",
            code="file_missing",
        )
    missing = sorted(NEEDED - set(values))
    if missing:
        raise KitError(
            file.trace,
            f"lacks {', '.join(missing)}",
            "`kit submit` writes these values with each submission",
            code="trace_incomplete",
        )
    return values


def config_in(trace: dict[str, Any], path: Path) -> Config:
    """Return the config in the provenance of a submission.

    Raises:
        KitError: It is not a config of this version of kit.
    """
    try:
        return Config.model_validate(trace["config"])
    except ValidationError as error:
        raise KitError(
            path,
            f"has an invalid config: {rule_for(error.errors()[0])}",
            "A submission is reproduced with the config that it was written with",
            f"Run `kit submit {trace['experiment']}` to write it again.",
            code="file_damaged",
        ) from error


def decision_of(trace: dict[str, Any]) -> Postprocessing:
    """Return the postprocessing of a submission."""
    return Postprocessing.from_list(trace["decision"])


def leaks_of(trace: dict[str, Any]) -> list[Leak]:
    """Return the leaks whose known labels are in a submission."""
    return [Leak(**each) for each in trace.get("known_labels", [])]
