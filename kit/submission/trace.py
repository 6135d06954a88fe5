"""Read and write the JSON beside a submission: its provenance, its scores and the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.storage.provenance import Identity, read_artifact, write_artifact
from kit.storage.workspace import SubmissionFile


def read_trace(file: SubmissionFile) -> dict[str, Any] | None:
    """Return the provenance of a submission; None if it has no JSON file, so that kit did not write it.

    Raises:
        KitError: The JSON file is damaged or was edited.
    """
    if not file.trace.exists():
        return None
    return read_artifact(file.trace, None, f"kit submit {file.label}")[0]


def save_trace(file: SubmissionFile, values: Mapping[str, Any]) -> None:
    """Write the provenance of a submission as it is."""
    identity = Identity(str(values["experiment"]), "submission", file.path.name)
    write_artifact(file.trace, values, identity, {"test": str(values["predictions"])})
