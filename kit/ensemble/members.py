"""The members of a blend: experiments, blends, and CSVs of probabilities from other tools."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables.read import read_table
from kit.errors import KitError, counted, first_few
from kit.predictions import (
    MIXED_FOLDS,
    Origin,
    Predictions,
    load_held_out,
    load_oof,
    load_test,
    prediction_digests,
)
from kit.storage.files import file_digest
from kit.storage.workspace import RunFolder
from kit.tasks import Task

SUM_TOLERANCE = 0.01  # of a row's sum, for files with few decimals

FOLDS_RULE = "Weights can be fitted only if all members have the same validation rows in each fold"


@dataclass(frozen=True)
class BlendMember:
    """One member's predictions.

    Attributes:
        label: The name in reports.
        held_out: Held-out set -> predictions; empty for files of other tools.
        inputs: File, as ``<run> <kind>`` or as an absolute path -> its digest.
        files: The CSVs of another tool; none for a run.
    """

    label: str
    oof: Predictions
    test: Predictions
    held_out: Mapping[str, Predictions] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def member_of(run: RunFolder) -> BlendMember:
    """Return an experiment or a blend as a member.

    Raises:
        KitError: It has no predictions yet.
    """
    held_out = {name: load_held_out(run, name) for name in run.held_out_sets()}
    return BlendMember(run.label, load_oof(run), load_test(run), held_out, member_inputs(run))


def member_inputs(run: RunFolder) -> dict[str, str]:
    """Return the digests of a run's predictions as a blend records them: ``<run> <kind>`` -> digest."""
    return {f"{run.label} {name}": digest for name, digest in prediction_digests(run).items()}


def pairs_of_files(oof: Sequence[Path], test: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    """Return the files of other tools in pairs (OOF, test); without test files, the second is None.

    Raises:
        KitError: The numbers of OOF files and of test files (if any) differ.
    """
    if test and len(test) != len(oof):
        raise KitError(
            "--oof and --test",
            f"have {len(oof)} and {counted(len(test), 'file')}",
            "Every OOF file needs its test file, in the same order",
            code="test_file_missing",
        )
    partners: list[Path | None] = [*test] or [None] * len(oof)
    return list(zip(oof, partners, strict=True))


def foreign_member(oof_file: Path, test_file: Path | None, first: BlendMember, task: Task) -> BlendMember:
    """Return another tool's files as a member, labeled with the path of the OOF file.

    The files do not name their folds, so kit cannot verify them.

    Args:
        oof_file: A CSV with an id column and one column of probabilities per class.
        test_file: The same for the test images; None if the competition has no test images.
        first: A member from kit, with the expected ids and classes.

    Raises:
        KitError: A file has other contents, or the test file is missing.
    """
    label = str(oof_file.with_suffix(""))
    if test_file is None and first.test.ids:
        raise KitError(
            f"--oof {oof_file}",
            "has no test predictions",
            "Every OOF file needs its test file: --oof FILE --test FILE, in the same order",
            code="test_file_missing",
        )
    oof = read_foreign(oof_file, first.oof, task)
    test = read_foreign(test_file, first.test, task) if test_file is not None else first.test
    models = hashlib.sha256(f"{oof.origin.models} {test.origin.models}".encode()).hexdigest()[:16]
    oof, test = (replace(part, origin=replace(part.origin, models=models)) for part in (oof, test))
    files = (oof_file,) if test_file is None else (oof_file, test_file)
    return BlendMember(
        label, oof, test, inputs={str(file.absolute()): file_digest(file) for file in files}, files=files
    )


def read_foreign(path: Path, reference: Predictions, task: Task) -> Predictions:
    """Return the probabilities in a CSV: column ``id`` (or the first), and one column per class, by name.

    Args:
        reference: Predictions of the same rows, with the expected classes, kind and folds.

    Raises:
        KitError: Classes or ids differ, or a cell is not a probability.
    """
    table = read_table(path)
    id_column = "id" if "id" in table else str(table.columns[0])
    lacking = [name for name in reference.classes if name not in table]
    extra = [name for name in table if name not in (*reference.classes, id_column)]
    if lacking or extra:
        raise KitError(
            path,
            f"lacks the columns {first_few(lacking)}" if lacking else f"has the columns {first_few(extra)}",
            "The file has an id column and one column for each of the "
            f"{counted(len(reference.classes), 'class', 'classes')}",
            "Rename the columns to the class names.",
            code="columns_not_classes",
        )
    ids = table[id_column].tolist()
    probs = _numbers(table, reference.classes, path)
    if not task.numeric:
        _check_probabilities(probs, ids, task, path)
    origin = Origin(
        kind=reference.origin.kind,
        task=task.name,
        experiment=path.stem,
        folds=reference.origin.folds,
        tta=(),
        models=file_digest(path),
        images=reference.origin.images,
    )
    found = Predictions(tuple(ids), reference.classes, task.normalized(probs), origin)
    found.check(path)
    return found


def _numbers(table: pd.DataFrame, classes: Sequence[str], path: Path) -> np.ndarray:
    """Return the columns of the classes as numbers (N, C), float64."""
    columns = []
    for name in classes:
        values = pd.to_numeric(table[name], errors="coerce")
        broken = np.flatnonzero(~np.isfinite(values.to_numpy(dtype=np.float64)))
        if len(broken):
            cell = table[name].iloc[int(broken[0])]
            raise KitError(
                path,
                counted(len(broken), f"cell of {name!r} is no number", f"cells of {name!r} are no numbers")
                + f" (first: '{cell}' in row {broken[0] + 2})",
                "Every cell is a probability, or a number of a regression",
                code="not_a_number",
            )
        columns.append(values.to_numpy(dtype=np.float64))
    return np.stack(columns, axis=1)


def _check_probabilities(probs: np.ndarray, ids: Sequence[str], task: Task, path: Path) -> None:
    outside = ((probs < 0) | (probs > 1)).any(axis=1)
    if outside.any():
        first = int(outside.argmax())
        raise KitError(
            path,
            f"{counted(outside.sum(), 'row has', 'rows have')} values outside 0..1 (first: "
            f"{ids[first]}, {probs[first].max():.4g})",
            "Members need probabilities, not logits",
            "Write softmax(logits), or sigmoid(logits) for labels.",
            code="not_probabilities",
        )
    off = abs(probs.sum(axis=1) - 1) > SUM_TOLERANCE
    if task.exclusive and off.any():
        first = int(off.argmax())
        raise KitError(
            path,
            f"{counted(off.sum(), 'row does', 'rows do')} not sum to 1 (first: {ids[first]}, "
            f"{probs[first].sum():.4f})",
            "The probabilities of exclusive classes sum to 1",
            code="not_probabilities",
        )


def align(
    parts: Sequence[Predictions], labels: Sequence[str], any_folds: bool = False
) -> tuple[Predictions, np.ndarray]:
    """Return members' predictions in the first member's order of ids and classes.

    Args:
        any_folds: Whether OOF predictions may have different folds and therefore different ids; the result
            has the common ids.

    Returns:
        The first member's predictions (for ids and classes), and all probabilities (M, N, C), float32.

    Raises:
        KitError: The members are not compatible, or have no common id.
    """
    if any_folds:
        common = set.intersection(*(set(part.ids) for part in parts))
        if not common:
            raise KitError(
                labels[1],
                f"has no common id with {labels[0]}",
                "Predictions are matched by id",
                "Check that both predict the same images.",
                code="no_common_ids",
            )
        parts = [part.of_ids([i for i in part.ids if i in common]) for part in parts]
    check_compatible(parts, labels, any_folds)
    first = parts[0]
    probs = np.empty((len(parts), *first.probs.shape), dtype=np.float32)
    for number, (part, label) in enumerate(zip(parts, labels, strict=True)):
        probs[number] = part.aligned_to(first.ids, first.classes, label).probs
    return first, probs


def check_compatible(members: Sequence[Predictions], labels: Sequence[str], any_folds: bool = False) -> None:
    """Refuse predictions that cannot be combined.

    Raises:
        KitError: Kind, task, classes, ids or (for OOF) folds differ from the first member's.
    """
    first = members[0]
    for member, label in zip(members, labels, strict=True):
        where = f"{label} ({member.origin.kind})"
        for aspect in ("kind", "task"):
            actual, expected = getattr(member.origin, aspect), getattr(first.origin, aspect)
            if actual != expected:
                raise KitError(
                    where,
                    f"has {aspect} {actual}, and {labels[0]} has {expected}",
                    f"Members have the same {aspect}",
                    code=f"{aspect}_differs",
                )
        scored = member.origin.kind == "oof" and not any_folds
        if scored and member.origin.folds == MIXED_FOLDS:
            raise KitError(
                where,
                "is a blend of members with different folds, which has no score",
                FOLDS_RULE,
                "Use --allow-fold-mismatch for a mean without a score.",
                code="mixed_folds",
            )
        member.check_same_names(first, where)
        if scored and member.origin.folds != first.origin.folds:
            raise KitError(
                where,
                f"and {labels[0]} were trained on different folds",
                FOLDS_RULE,
                "Train both on the same folds CSV, or use --allow-fold-mismatch for a mean without a score.",
                code="folds_differ",
            )
