"""Predictions: probabilities by id and class; saved, aligned and checked by name, never by position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from kit import __version__
from kit.errors import KitError, counted, first_few
from kit.storage.files import atomic_write
from kit.storage.provenance import Identity, Provenance, check_identity, renewal
from kit.storage.workspace import RunFolder
from kit.tasks import Task

METADATA_KEY = b"kit"
Pooling = Literal["mean", "max"]  # combines the probabilities of several rows, such as the crops of an image
Kind = Literal["oof", "test", "held_out", "teacher"]
MIXED_FOLDS = "mixed"  # the fingerprint of a blend whose members have different folds


@dataclass(frozen=True)
class Origin:
    """The origin of predictions: the metadata of the file.

    Attributes:
        kind: ``oof``, ``test``, ``held_out`` for a labeled set that no model was trained on, or ``teacher``
            for what another experiment learns from.
        experiment: ``<competition>/<name>``.
        folds: Fingerprint of the folds of the models.
        tta: The views whose probabilities were averaged.
        models: Digest of the weights.
        images: Digest of the images. The same models, views and images give the same predictions.
        unreadable: Ids of images that could not be read; their rows are the class prior.
        part: The name of the held-out set, or the use and the fold of a teacher; empty otherwise.
        labels: Digest of the labels of the held-out set; empty otherwise.
    """

    kind: Kind
    task: str
    experiment: str
    folds: str
    tta: tuple[str, ...]
    models: str
    images: str
    unreadable: tuple[str, ...] = ()
    part: str = ""
    labels: str = ""

    @property
    def identity(self) -> Identity:
        """What the predictions are."""
        return Identity(self.experiment, self.kind, self.part)


@dataclass(frozen=True)
class Predictions:
    """One probability per id and class, or one number per id.

    Attributes:
        ids: (N,) unique strings.
        classes: The C class names, in the order of the columns; of numbers the one name ``value``.
        probs: (N, C), float32.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probs: np.ndarray
    origin: Origin

    def __post_init__(self) -> None:
        if self.probs.shape != (len(self.ids), len(self.classes)):
            raise ValueError(
                f"probs of shape {self.probs.shape} for {counted(len(self.ids), 'id')} and "
                f"{counted(len(self.classes), 'class', 'classes')}"
            )

    def save(self, path: Path) -> None:
        """Write the Parquet file atomically.

        Raises:
            KitError: See ``check``.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.check(path)
        columns = {"id": pa.array(self.ids, pa.string())}
        columns |= {name: pa.array(self.probs[:, c], pa.float32()) for c, name in enumerate(self.classes)}
        metadata = {
            "version": __version__,
            "digest": self.digest(),
            "classes": self.classes,
            **asdict(self.origin),
        }
        table = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(metadata).encode()})
        with atomic_write(path) as draft:
            pq.write_table(table, draft)

    def check(self, path: Path) -> None:
        """Check ids, classes and probabilities.

        Raises:
            KitError: A probability is not finite, an id is repeated, or a class is named ``id``.
        """
        if "id" in self.classes:
            problem = "a class has the name of the id column, 'id'"
            raise KitError(path, problem, "", "Rename the class.", code="class_name_reserved")
        index = pd.Index(self.ids)
        if index.has_duplicates:
            twice = first_few(list(index[index.duplicated()].unique()))
            problem = f"some ids occur more than once ({twice})"
            raise KitError(path, problem, "Each id has one row", code="ids_duplicate")
        invalid = ~np.isfinite(self.probs).all(axis=1)
        if invalid.any():
            first = self.ids[int(invalid.argmax())]
            problem = (
                f"{counted(invalid.sum(), 'row has', 'rows have')} NaN or infinite probabilities (first: "
                f"{first})"
            )
            raise KitError(path, problem, "Probabilities must be finite", code="not_finite")

    def aligned_to(self, ids: Sequence[str], classes: Sequence[str], where: object) -> Predictions:
        """Return the predictions with rows in the order of ``ids`` and columns in the order of ``classes``.

        Raises:
            KitError: The ids or the classes differ; the message has the first examples.
        """
        _check_same(where, "id", "ids", set(self.ids), set(ids))
        _check_same(where, "class", "classes", set(self.classes), set(classes))
        columns = pd.Index(self.classes).get_indexer(pd.Index(classes))
        aligned = self.of_ids(ids)
        return replace(aligned, classes=tuple(classes), probs=np.ascontiguousarray(aligned.probs[:, columns]))

    def digest(self) -> str:
        """Return a digest of ids, classes and probabilities."""
        names = json.dumps([self.ids, self.classes]).encode()
        digest = hashlib.sha256(names)
        digest.update(np.ascontiguousarray(self.probs).tobytes())
        return digest.hexdigest()[:16]

    def of_ids(self, ids: Sequence[str]) -> Predictions:
        """Return the predictions for some ids, in their order."""
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        return replace(self, ids=tuple(ids), probs=self.probs[rows])

    def of_classes(self, classes: Sequence[str], task: Task) -> Predictions:
        """Return the predictions of some of the classes, in their order; exclusive rows sum to 1 again."""
        if set(classes) == set(self.classes):
            return self
        columns = pd.Index(self.classes).get_indexer(pd.Index(classes))
        return replace(self, classes=tuple(classes), probs=task.normalized(self.probs[:, columns]))

    def pooled(self, names: Sequence[str], how: Pooling, task: Task) -> Predictions:
        """Return the predictions of groups of rows, such as the crops of one image.

        Args:
            names: (N,), the group of each row.
            how: The mean or the largest probability of the group, per class.
            task: The task of the groups; for exclusive classes the probabilities are normalized.

        Returns:
            One row per group, in order of its first row.
        """
        groups = pd.DataFrame(self.probs.astype(np.float64)).groupby(list(names), sort=False).agg(how)
        probs = task.normalized(groups.to_numpy())
        origin = replace(self.origin, task=task.name)
        return Predictions(tuple(map(str, groups.index)), self.classes, probs, origin)

    def check_same_names(self, other: Predictions, where: object) -> None:
        """Check that ids and classes are those of ``other``, in any order.

        Raises:
            KitError: They differ; the message has the first examples.
        """
        _check_same(where, "class", "classes", set(self.classes), set(other.classes))
        _check_same(where, "id", "ids", set(self.ids), set(other.ids))


@dataclass(frozen=True)
class FinalPredictions:
    """The predictions that are submitted, after postprocessing.

    Attributes:
        probs: (N, C), float32.
        decided: The labels: class indices (N,), or 0/1 (N, C), as ``Task.decide`` returns them.
    """

    probs: np.ndarray
    decided: np.ndarray

    def of_classes(self, classes: Sequence[str], wanted: Sequence[str]) -> FinalPredictions:
        """Return the predictions of some of the classes, in their order.

        Args:
            classes: The classes of these predictions.
        """
        if set(classes) == set(wanted):
            return self
        columns = pd.Index(classes).get_indexer(pd.Index(wanted))
        probs = self.probs[:, columns]
        return FinalPredictions(
            probs, self.decided[:, columns] if self.decided.ndim == 2 else probs.argmax(axis=1)
        )


def load_oof(run: RunFolder) -> Predictions:
    """Return a run's out-of-fold predictions; errors as in ``load_predictions``."""
    return load_predictions(run.oof, Identity(run.label, "oof"), renewal(run))


def load_test(run: RunFolder) -> Predictions:
    """Return a run's test predictions; errors as in ``load_predictions``."""
    return load_predictions(run.test, Identity(run.label, "test"), renewal(run))


def load_held_out(run: RunFolder, name: str) -> Predictions:
    """Return a run's predictions for a held-out set; errors as in ``load_predictions``."""
    return load_predictions(run.held_out(name), Identity(run.label, "held_out", name), renewal(run))


def prediction_digests(run: RunFolder) -> dict[str, str]:
    """Return the digests of a run's predictions: ``oof``, ``test`` and ``held_out NAME`` for each set.

    Only metadata are read.

    Raises:
        KitError: Predictions are missing, damaged, or those of another run.
    """
    parts = [(run.oof, Identity(run.label, "oof")), (run.test, Identity(run.label, "test"))]
    parts += [(run.held_out(name), Identity(run.label, "held_out", name)) for name in run.held_out_sets()]
    renew = renewal(run)
    return {
        f"{identity.kind} {identity.part}".strip(): read_metadata(path, identity, renew).digest
        for path, identity in parts
    }


def load_predictions(path: Path, identity: Identity, renew: str) -> Predictions:
    """Return predictions from a file of ``Predictions.save``.

    Args:
        identity: What the file must be.
        renew: The command that makes it again.

    Raises:
        KitError: The file is missing, damaged, edited, or holds other predictions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = read_metadata(path, identity, renew)
    try:
        table = pq.read_table(path)
        probs = np.stack([table[name].to_numpy() for name in stored.classes], axis=1)
        found = Predictions(tuple(table["id"].to_pylist()), stored.classes, probs, stored.origin)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, _unreadable(error), renew) from error
    Provenance(stored.origin.identity, {}, stored.digest).check(identity, found.digest(), path, renew)
    found.check(path)
    return found


@dataclass(frozen=True)
class PredictionsMetadata:
    """The metadata of a predictions file; ``digest`` is the digest of the predictions."""

    origin: Origin
    classes: tuple[str, ...]
    digest: str


def read_metadata(path: Path, identity: Identity, renew: str) -> PredictionsMetadata:
    """Return the metadata of a predictions file: the predictions of hundreds of files would take seconds.

    Raises:
        KitError: The file is missing or damaged, has no metadata, or holds other predictions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise KitError(path, "there are no predictions", next=f"Run `{renew}`.", code="predictions_missing")
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, _unreadable(error), renew) from error
    if METADATA_KEY not in metadata:
        raise KitError(
            path,
            "has no metadata of kit: another tool saved it, such as pandas",
            "kit uses only predictions that it wrote itself",
            f"Run `{renew}`. Predictions of other tools enter a blend as CSV: `kit blend RUN --oof OOF.csv "
            "--test TEST.csv`.",
            code="provenance_missing",
        )
    try:
        values = json.loads(metadata[METADATA_KEY])
        tuples = {key: tuple(values[key]) for key in ("tta", "unreadable")}
        named = {field.name: values[field.name] for field in fields(Origin) if field.name in values}
        stored = PredictionsMetadata(
            Origin(**(named | tuples)), tuple(values["classes"]), str(values["digest"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "its metadata is incomplete", renew) from error
    check_identity(stored.origin.identity, identity, path, renew)
    return stored


def _unreadable(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or "damaged, or not a Parquet file"


def _damaged(path: Path, reason: str, renew: str) -> KitError:
    return KitError(
        path,
        f"is not a complete predictions file ({reason})",
        "kit predict and kit blend write such files",
        f"Run `{renew}`.",
        code="predictions_damaged",
    )


def _check_same(where: object, one: str, many: str, theirs: set[str], ours: set[str]) -> None:
    for names, problem in (
        (ours - theirs, f"lacks {counted(len(ours - theirs), one, many)}"),
        (theirs - ours, f"has {counted(len(theirs - ours), f'unknown {one}', f'unknown {many}')}"),
    ):
        if names:
            raise KitError(where, f"{problem} ({first_few(sorted(names))})", code=f"{many}_differ")
