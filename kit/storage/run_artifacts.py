"""Read and write the JSON files of a run, each checked by its provenance: scores, postprocessing, blend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.storage.provenance import Identity, Provenance, read_artifact, renewal, write_artifact
from kit.storage.workspace import RunFolder

Artifact = tuple[dict[str, Any], Provenance]  # the values of a JSON file, and its provenance


def write_scores(run: RunFolder, values: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Write the scores of a run."""
    write_artifact(run.metrics, values, Identity(run.label, "scores"), inputs)


def read_scores(run: RunFolder) -> Artifact:
    """Return the scores of a run; errors as in ``read_artifact``."""
    return read_artifact(run.metrics, Identity(run.label, "scores"), f"kit evaluate {run.label}")


def write_postprocessing(run: RunFolder, values: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Write the postprocessing of a run: the configured steps (``asked``) and the fitted ones (``steps``)."""
    write_artifact(run.decision, values, Identity(run.label, "postprocessing"), inputs)


def read_postprocessing(run: RunFolder) -> Artifact:
    """Return the postprocessing of a run; errors as in ``read_artifact``."""
    return read_artifact(run.decision, Identity(run.label, "postprocessing"), f"kit evaluate {run.label}")


def write_blend(run: RunFolder, values: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    """Write the members, method and config of a blend."""
    write_artifact(run.blend, values, Identity(run.label, "blend"), inputs)


def read_blend(run: RunFolder) -> Artifact:
    """Return the members, method and config of a blend; errors as in ``read_artifact``."""
    return read_artifact(run.blend, Identity(run.label, "blend"), renewal(run))
