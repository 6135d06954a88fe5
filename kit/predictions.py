"""Probabilities keyed by id: saved, loaded, aligned and checked, never joined by position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kit import __version__
from kit.errors import KitError, first_few
from kit.storage.files import atomic_write
from kit.tasks import Task

METADATA_KEY = b"kit"
Pooling = Literal["mean", "max"]  # of the probabilities of several rows, such as crops of one image
Kind = Literal["oof", "test", "held_out"]
MIXED_FOLDS = "mixed"  # the fingerprint of a blend whose members come from different folds


@dataclass(frozen=True)
class Origin:
    """Where predictions come from: the metadata of the file.

    Attributes:
        kind: ``oof``, ``test``, or ``held_out`` for a labelled set that no model was trained on.
        experiment: ``<competition>/<name>``.
        folds: Fingerprint of the partition the models were trained on.
        tta: The views whose probabilities were averaged.
        models: Digest of the weights that predicted.
        images: Digest of the images they saw; the same models, views and images give the same predictions.
        unreadable: Ids of images that could not be read; their row is the class prior.
    """

    kind: Kind
    task: str
    experiment: str
    folds: str
    tta: tuple[str, ...]
    models: str
    images: str
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predictions:
    """One probability per id and class.

    Attributes:
        ids: (N,) strings, each once.
        classes: The C class names, in the order of the columns.
        probs: (N, C), float32.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probs: np.ndarray
    origin: Origin

    def __post_init__(self) -> None:
        if self.probs.shape != (len(self.ids), len(self.classes)):
            raise ValueError(f"{self.probs.shape} for {len(self.ids)} ids and {len(self.classes)} classes")

    def save(self, path: Path) -> None:
        """Write the Parquet file, whole or not at all.

        Raises:
            KitError: A probability is not finite, an id is there twice, or a class is called ``id``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.check(path)
        columns = {"id": pa.array(self.ids, pa.string())}
        columns |= {name: pa.array(self.probs[:, c], pa.float32()) for c, name in enumerate(self.classes)}
        note = {
            "version": __version__,
            "digest": self.digest(),
            "classes": self.classes,
            **asdict(self.origin),
        }
        table = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(note).encode()})
        with atomic_write(path) as draft:
            pq.write_table(table, draft)

    def check(self, path: Path) -> None:
        """Refuse what cannot be told apart or used.

        Raises:
            KitError: A probability is not finite, an id is there twice, or a class is called ``id``.
        """
        if "id" in self.classes:
            raise KitError(path, "a class is called 'id'", "That column holds the ids", "Rename the class.")
        index = pd.Index(self.ids)
        if index.has_duplicates:
            twice = first_few(list(index[index.duplicated()].unique()))
            raise KitError(path, f"ids occur more than once ({twice})", "One row per id")
        broken = ~np.isfinite(self.probs).all(axis=1)
        if broken.any():
            first = self.ids[int(broken.argmax())]
            raise KitError(path, f"{broken.sum()} rows are not finite (first: {first})", "Probabilities are")

    def aligned_to(self, ids: Sequence[str], classes: Sequence[str], where: object) -> Predictions:
        """Return the same predictions with rows in the order of ``ids`` and columns in that of ``classes``.

        Raises:
            KitError: The ids or the classes are not the same set; the message has the first example.
        """
        _same_set(where, "ids", set(self.ids), set(ids))
        _same_set(where, "classes", set(self.classes), set(classes))
        columns = pd.Index(self.classes).get_indexer(pd.Index(classes))
        aligned = self.of_ids(ids)
        return replace(aligned, classes=tuple(classes), probs=np.ascontiguousarray(aligned.probs[:, columns]))

    def digest(self) -> str:
        """Return a digest of ids, classes and probabilities: the same for the same predictions."""
        names = json.dumps([self.ids, self.classes]).encode()
        told = hashlib.sha256(names)
        told.update(np.ascontiguousarray(self.probs).tobytes())
        return told.hexdigest()[:16]

    def of_ids(self, ids: Sequence[str]) -> Predictions:
        """Return the predictions for some of the ids, in their order."""
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        return replace(self, ids=tuple(ids), probs=self.probs[rows])

    def pooled(self, names: Sequence[str], how: Pooling, task: Task) -> Predictions:
        """Return the predictions of groups of rows, such as the crops of one image.

        Args:
            names: (N,), the group of each row.
            how: Per class the mean or the largest probability of the group.
            task: The task of the groups; for exclusive classes the probabilities sum to 1 again.

        Returns:
            One row per group, in order of its first row.
        """
        groups = pd.DataFrame(self.probs.astype(np.float64)).groupby(list(names), sort=False).agg(how)
        probs = task.normalized(groups.to_numpy())
        origin = replace(self.origin, task=task.name)
        return Predictions(tuple(map(str, groups.index)), self.classes, probs, origin)

    def check_same_names(self, other: Predictions, where: object) -> None:
        """Refuse other ids or classes than ``other`` has, whatever their order.

        Raises:
            KitError: The message has the first example.
        """
        _same_set(where, "classes", set(self.classes), set(other.classes))
        _same_set(where, "ids", set(self.ids), set(other.ids))


@dataclass(frozen=True)
class FinalPredictions:
    """What is submitted for some rows, after postprocessing.

    Attributes:
        probs: (N, C), float32.
        decided: The labels: class indices (N,), or 0/1 (N, C), as ``Task.decide`` returns them.
    """

    probs: np.ndarray
    decided: np.ndarray


def load_predictions(path: Path) -> Predictions:
    """Return the predictions in a file written by ``Predictions.save``.

    Raises:
        KitError: The file is missing, damaged or not kit's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise KitError(path, "there are no predictions", next=f"Run `kit predict {path.parent.name}`.")
    try:
        table = pq.read_table(path)
        note = json.loads(table.schema.metadata[METADATA_KEY])
        note.pop("version")
        note.pop("digest", None)
        classes = tuple(note.pop("classes"))
        probs = np.stack([table[name].to_numpy() for name in classes], axis=1)
        tuples = {key: tuple(note[key]) for key in ("tta", "unreadable")}
        return Predictions(tuple(table["id"].to_pylist()), classes, probs, Origin(**(note | tuples)))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise KitError(
            path,
            f"is not a predictions file ({error})",
            "kit predict and kit blend write them",
            "Run it again.",
        ) from error


def _same_set(where: object, what: str, theirs: set[str], ours: set[str]) -> None:
    for names, verdict in ((ours - theirs, "lacks"), (theirs - ours, "has")):
        if names:
            extra = "" if verdict == "lacks" else " that are not asked for"
            raise KitError(where, f"{verdict} {len(names)} {what}{extra} ({first_few(sorted(names))})")
