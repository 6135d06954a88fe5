"""Provenance: what an artifact is, its inputs and a digest of its content; every reader checks them.

Every artifact of a run stores an ``Identity`` (a copied or exchanged file is recognized), the digests of its
inputs (a stale file is recognized) and a digest of its own content (an edited file is recognized). JSON
files have it under the key ``provenance``, predictions in the metadata of the Parquet file, models in
``done.json`` beside them.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kit.errors import KitError
from kit.storage.files import json_text, read_json, read_json_object, write_json
from kit.storage.workspace import RunFolder

KEY = "provenance"
Kind = Literal[
    "training_data",
    "model",
    "oof",
    "test",
    "held_out",
    "teacher",
    "embeddings",
    "scores",
    "postprocessing",
    "blend",
    "submission",
    "bundle",
]
NAMES: dict[Kind, str] = {
    "training_data": "the record of the training data",
    "model": "the model of fold {part}",
    "oof": "the out-of-fold predictions",
    "test": "the test predictions",
    "held_out": "the predictions for the held-out set {part}",
    "teacher": "the teacher's predictions ({part})",
    "embeddings": "the embeddings of fold {part}",
    "scores": "the scores",
    "postprocessing": "the postprocessing",
    "blend": "the blend",
    "submission": "the submission",
    "bundle": "the bundle",
}


@dataclass(frozen=True)
class Identity:
    """What an artifact is.

    Attributes:
        run: The experiment or blend, ``<competition>/<name>``.
        part: The number of the fold, or the name of the held-out set; empty otherwise.
    """

    run: str
    kind: Kind
    part: str = ""

    def __str__(self) -> str:
        return f"{NAMES[self.kind].format(part=self.part)} of {self.run}"


@dataclass(frozen=True)
class Provenance:
    """The stored provenance of an artifact.

    Attributes:
        inputs: Input -> its digest when the artifact was made.
        content: The digest of the artifact's own content.
    """

    identity: Identity
    inputs: Mapping[str, str]
    content: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Provenance:
        """Return a provenance from the values that ``asdict`` gives; a KeyError or TypeError if damaged."""
        inputs = {str(name): str(digest) for name, digest in values["inputs"].items()}
        identity: dict[str, Any] = {name: str(value) for name, value in values["identity"].items()}
        if identity.get("kind") not in NAMES:
            raise KeyError("kind")
        return cls(Identity(**identity), inputs, str(values["content"]))

    def check(self, expected: Identity, content: str, where: Path, renew: str) -> None:
        """Check that the artifact is the expected one and unchanged.

        Args:
            content: The digest of its content now.
            renew: The command that makes it again.

        Raises:
            KitError: It is another artifact (``artifact_misplaced``), or was edited (``artifact_changed``).
        """
        check_identity(self.identity, expected, where, renew)
        if self.content != content:
            raise KitError(
                where,
                "has changed since kit wrote it: its content does not match its digest",
                "kit uses only files that it wrote, unchanged",
                f"Restore the file, or run `{renew}` to make it again.",
                code="artifact_changed",
            )


class MisplacedError(KitError):
    """A complete artifact at the path of another one."""


def check_identity(found: Identity, expected: Identity, where: Path, renew: str) -> None:
    """Check that an artifact is the one that its path says.

    Raises:
        MisplacedError: It is another one: a file or a folder was renamed, copied or exchanged.
    """
    if found == expected:
        return
    what = "A run folder" if found.run != expected.run else "A file"
    raise MisplacedError(
        where,
        f"holds {found}, not {expected}",
        f"{what} keeps the name under which kit wrote it; copies and renamed ones are not used",
        f"Move it back, or run `{renew}`.",
        code="artifact_misplaced",
    )


def check_folder_name(run: RunFolder, label: str) -> None:
    """Check that a run folder has the name of its config.

    Args:
        label: ``<competition>/<name>`` of the config.

    Raises:
        MisplacedError: The folder was renamed or copied.
    """
    if run.label != label:
        raise MisplacedError(
            run.config,
            f"is the config of {label}, and the folder is {run.label}",
            "A run folder keeps the name under which kit wrote it; copies and renamed ones are not used",
            f"Rename the folder to {label}, or remove it.",
            code="artifact_misplaced",
        )


def renewal(run: RunFolder) -> str:
    """Return the command that makes a run's predictions again."""
    if not run.blend.exists():
        return shlex.join(["kit", "predict", run.label])
    try:
        return str(read_json(run.blend)["command"])
    except (KitError, KeyError, TypeError):
        return "kit blend"  # the file is damaged, or of an earlier version of kit


def digest_of(values: Any) -> str:
    """Return the first 16 digits of the SHA-256 of plain values, as a JSON file would hold them."""
    text = json.dumps(json.loads(json_text(values)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _content(values: Mapping[str, Any], identity: Identity, inputs: Mapping[str, str]) -> str:
    """Return the digest of a JSON artifact: of its values, what it is and its inputs."""
    return digest_of([values, asdict(identity), dict(inputs)])


def write_artifact(
    path: Path, values: Mapping[str, Any], identity: Identity, inputs: Mapping[str, str]
) -> None:
    """Write plain values with their provenance as JSON, atomically."""
    provenance = Provenance(identity, inputs, _content(values, identity, inputs))
    write_json(path, {**values, KEY: asdict(provenance)})


def read_artifact(path: Path, identity: Identity | None, renew: str) -> tuple[dict[str, Any], Provenance]:
    """Return the values and the provenance of a JSON file that ``write_artifact`` wrote.

    Args:
        identity: What the file must be; None: any artifact.
        renew: The command that makes the file again.

    Raises:
        KitError: The file is missing, damaged, edited, or another artifact.
    """
    again = f"Run `{renew}`."
    values = read_json_object(path, again)
    try:
        provenance = Provenance.from_dict(values.pop(KEY))
    except (KeyError, TypeError, AttributeError) as error:
        rule = "Files of earlier versions of kit, and files of other tools, have none"
        raise KitError(path, "has no provenance", rule, again, code="provenance_missing") from error
    own = provenance.identity
    provenance.check(identity or own, _content(values, own, provenance.inputs), path, renew)
    return values, provenance
