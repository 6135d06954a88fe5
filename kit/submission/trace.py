"""Read the provenance of a submission from its JSON file."""

from __future__ import annotations

from typing import Any

from kit.errors import KitError
from kit.storage.files import read_json
from kit.storage.workspace import SubmissionFile


def read_trace(file: SubmissionFile) -> dict[str, Any] | None:
    """Return the provenance of a submission; None if it has no JSON file, so that kit did not write it.

    Raises:
        KitError: The JSON file is damaged.
    """
    if not file.trace.exists():
        return None
    again = f"Run `kit submit {file.label}`, or remove it."
    try:
        values = read_json(file.trace)
    except KitError as error:
        raise KitError(file.trace, error.problem, error.rule, again, code="file_damaged") from error
    if not isinstance(values, dict):
        raise KitError(
            file.trace, "is not a JSON object", "`kit submit` writes one", again, code="file_damaged"
        )
    return values
