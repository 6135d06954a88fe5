"""Write and read the embeddings of a fold's model: one row per image of the competition, as Parquet.

A file has the columns ``id``, ``part`` (``train``, ``validation``, ``test``, ``held_out NAME``), ``labeled``,
``classes`` and ``shares`` (the label: the names of its classes and their shares) and ``embedding`` (a list of
numbers, of length 1). Models of different folds have different embeddings: compare those of one file only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import KitError
from kit.predictions import METADATA_KEY
from kit.storage.files import atomic_write
from kit.storage.provenance import Identity, Provenance
from kit.storage.workspace import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, VALIDATION, TEST, HELD_OUT = "train", "validation", "test", "held_out"


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of images by one fold's model, all in the same order.

    Attributes:
        ids: (N,); unique within a part.
        parts: (N,), what the image is for this fold.
        targets: (N, C), 0, 1 or shares; NaN without a label.
        vectors: (N, D), float32, rows of length 1.
    """

    ids: list[str]
    parts: list[str]
    targets: np.ndarray
    vectors: np.ndarray
    classes: tuple[str, ...]

    def of_part(self, part: str) -> Embeddings:
        """Return the rows of one part."""
        rows = np.array([each == part for each in self.parts], dtype=bool)
        ids = [i for i, kept in zip(self.ids, rows, strict=True) if kept]
        return Embeddings(ids, [part] * len(ids), self.targets[rows], self.vectors[rows], self.classes)

    def digest(self) -> str:
        """Return a digest of everything."""
        digest = hashlib.sha256(json.dumps([self.ids, self.parts, self.classes]).encode())
        for array in (self.targets, self.vectors):
            digest.update(np.ascontiguousarray(array, dtype=np.float32).tobytes())
        return digest.hexdigest()[:16]


def identity_of(run: RunFolder, k: int) -> Identity:
    """Return what the embeddings of fold ``k`` must be."""
    return Identity(run.label, "embeddings", str(k))


def save_embeddings(path: Path, found: Embeddings, identity: Identity, inputs: dict[str, str]) -> None:
    """Write embeddings as Parquet, atomically.

    Args:
        inputs: The digests of the model and of the images.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, columns = np.nonzero(np.nan_to_num(found.targets))
    names = np.array(found.classes, dtype=object)
    offsets = np.searchsorted(rows, np.arange(len(found.ids) + 1)).astype(np.int32)
    shares = found.targets[rows, columns].astype(np.float32)
    width = found.vectors.shape[1]
    table = pa.table(
        {
            "id": pa.array(found.ids, pa.string()),
            "part": pa.array(found.parts, pa.string()),
            "labeled": pa.array(np.isfinite(found.targets).all(axis=1)),
            "classes": pa.ListArray.from_arrays(offsets, pa.array(names[columns], pa.string())),
            "shares": pa.ListArray.from_arrays(offsets, pa.array(shares)),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(found.vectors, dtype=np.float32).ravel()), width
            ),
        }
    )
    provenance = asdict(Provenance(identity, inputs, found.digest()))
    metadata = json.dumps({"classes": found.classes, "provenance": provenance}).encode()
    with atomic_write(path) as draft:
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: metadata}), draft)


def read_embeddings(path: Path, identity: Identity, inputs: dict[str, str], renew: str) -> Embeddings:
    """Return embeddings from a file of ``save_embeddings``.

    Args:
        identity: What the file must be.
        inputs: The digests that it must have been made from.
        renew: The command that makes it again.

    Raises:
        KitError: The file is missing, damaged, edited, another one, or was made by an earlier model.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise KitError(path, "there are no embeddings", next=f"Run `{renew}`.", code="embeddings_missing")
    try:
        table = pq.read_table(path)
        metadata = json.loads((table.schema.metadata or {})[METADATA_KEY])
        provenance = Provenance.from_dict(metadata["provenance"])
        found = _from_table(table, tuple(metadata["classes"]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise KitError(
            path,
            "is not a complete file of embeddings",
            "kit predict writes such files",
            f"Run `{renew}`.",
            code="embeddings_damaged",
        ) from error
    provenance.check(identity, found.digest(), path, renew)
    if any(provenance.inputs.get(key) != digest for key, digest in inputs.items()):
        raise KitError(
            path,
            "was made by an earlier model, or from other images",
            "Neighbors are compared in the space of the current model",
            f"Run `{renew}`.",
            code="embeddings_stale",
        )
    return found


def _from_table(table: pa.Table, classes: tuple[str, ...]) -> Embeddings:
    column_of = {name: c for c, name in enumerate(classes)}
    labeled = table["labeled"].to_numpy(zero_copy_only=False)
    targets = np.where(labeled[:, None], np.float32(0), np.float32(np.nan)).repeat(len(classes), axis=1)
    for row, (names, shares) in enumerate(_pairs(table)):
        targets[row, [column_of[name] for name in names]] = shares
    chunks: Any = table["embedding"].combine_chunks()
    vectors = chunks.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
    return Embeddings(table["id"].to_pylist(), table["part"].to_pylist(), targets, vectors, classes)


def _pairs(table: pa.Table) -> Sequence[tuple[list[str], list[float]]]:
    return list(zip(table["classes"].to_pylist(), table["shares"].to_pylist(), strict=True))
