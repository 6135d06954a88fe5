"""What can be blended: experiments, blends, and files of probabilities from anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.tables import read_table
from kit.errors import KitError, first_few
from kit.predictions import MIXED_FOLDS, Origin, Predictions, load_predictions
from kit.storage.files import file_digest
from kit.storage.workspace import RunFolder
from kit.tasks import Task

SUM_TOLERANCE = 0.01  # of the probabilities of exclusive classes, as files with few decimals have them


@dataclass(frozen=True)
class Member:
    """One member's predictions.

    Attributes:
        label: What reports call it.
        held_out: Name of a labelled set -> predictions; empty for foreign files.
    """

    label: str
    oof: Predictions
    test: Predictions
    held_out: Mapping[str, Predictions] = field(default_factory=dict)


def member_of(run: RunFolder) -> Member:
    """Return an experiment or a blend as a member.

    Raises:
        KitError: It has no predictions yet.
    """
    held_out = {name: load_predictions(run.held_out(name)) for name in run.held_out_sets()}
    return Member(run.label, load_predictions(run.oof), load_predictions(run.test), held_out)


def pairs_of_files(oof: Sequence[Path], test: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    """Return foreign files in pairs; without test files each stands alone.

    Raises:
        KitError: There are test files, but not as many.
    """
    if test and len(test) != len(oof):
        raise KitError(
            "--oof and --test",
            f"there are {len(oof)} and {len(test)} of them",
            "A foreign member is a pair: its OOF predictions and its test predictions, in the same order",
        )
    partners: list[Path | None] = [*test] or [None] * len(oof)
    return list(zip(oof, partners, strict=True))


def foreign_member(oof_file: Path, test_file: Path | None, first: Member, task: Task) -> Member:
    """Return files of probabilities as a member, called like the path of the OOF file.

    Which folds they come from cannot be seen in them: that is taken on trust.

    Args:
        oof_file: A CSV with a column of ids and one column of probabilities per class.
        test_file: Likewise; None where the competition has no test images.
        first: A member of kit's own: it says which ids and classes there are.

    Raises:
        KitError: A file does not hold what it should, or there is none for the test images.
    """
    label = str(oof_file.with_suffix(""))
    if test_file is None and first.test.ids:
        raise KitError(
            f"--oof {oof_file}",
            "comes without test predictions",
            "A foreign member is a pair: --oof FILE --test FILE, in the same order",
        )
    oof = read_foreign(oof_file, first.oof, task)
    test = read_foreign(test_file, first.test, task) if test_file is not None else first.test
    models = hashlib.sha256(f"{oof.origin.models} {test.origin.models}".encode()).hexdigest()[:16]
    oof, test = (replace(side, origin=replace(side.origin, models=models)) for side in (oof, test))
    return Member(label, oof, test)


def read_foreign(path: Path, like: Predictions, task: Task) -> Predictions:
    """Return the probabilities in a CSV: column ``id`` (or the first), and one column per class, by name.

    Args:
        like: Predictions of the same rows, which say the classes, the kind and the folds.

    Raises:
        KitError: A class or an id is missing or too many, or what is there are no probabilities.
    """
    table = read_table(path)
    id_column = "id" if "id" in table else str(table.columns[0])
    lacking = [name for name in like.classes if name not in table]
    foreign = [name for name in table if name not in (*like.classes, id_column)]
    if lacking or foreign:
        raise KitError(
            path,
            f"lacks the columns {first_few(lacking)}" if lacking else f"has the columns {first_few(foreign)}",
            f"It holds ids and one column of probabilities for each of the {len(like.classes)} classes",
            "Rename the columns to the names of the classes.",
        )
    ids = table[id_column].tolist()
    probs = _numbers(table, like.classes, path)
    _refuse_impossible(probs, ids, task, path)
    origin = Origin(
        kind=like.origin.kind,
        task=task.name,
        experiment=path.stem,
        folds=like.origin.folds,
        tta=(),
        models=file_digest(path),
        images=like.origin.images,
    )
    found = Predictions(tuple(ids), like.classes, task.normalised(probs), origin)
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
                f"{len(broken)} cells of '{name}' are no numbers (first: '{cell}' in row {broken[0] + 2})",
                "Every cell is a probability",
            )
        columns.append(values.to_numpy(dtype=np.float64))
    return np.stack(columns, axis=1)


def _refuse_impossible(probs: np.ndarray, ids: Sequence[str], task: Task, path: Path) -> None:
    outside = ((probs < 0) | (probs > 1)).any(axis=1)
    if outside.any():
        first = int(outside.argmax())
        raise KitError(
            path,
            f"{outside.sum()} rows have values outside 0..1 (first: {ids[first]}, {probs[first].max():.4g})",
            "They are probabilities, not logits",
            "Write softmax(logits), or sigmoid(logits) for labels.",
        )
    off = abs(probs.sum(axis=1) - 1) > SUM_TOLERANCE
    if task.exclusive and off.any():
        first = int(off.argmax())
        raise KitError(
            path,
            f"{off.sum()} rows do not sum to 1 (first: {ids[first]}, {probs[first].sum():.4f})",
            "The classes exclude each other",
        )


def aligned(
    parts: Sequence[Predictions], labels: Sequence[str], mismatch: bool = False
) -> tuple[Predictions, np.ndarray]:
    """Return members' predictions in the first one's order of ids and classes.

    Args:
        mismatch: Whether OOF predictions may come from other folds, and so of other ids: the common ones
            are taken.

    Returns:
        The first member's (its ids and classes), and all probabilities (M, N, C), float32.

    Raises:
        KitError: They do not stand on the same footing, or have no id in common.
    """
    if mismatch:
        common = set.intersection(*(set(part.ids) for part in parts))
        if not common:
            raise KitError(
                labels[1],
                f"has no id in common with {labels[0]}",
                "Predictions meet by id",
                "Is it the same set?",
            )
        parts = [part.of_ids([i for i in part.ids if i in common]) for part in parts]
    check_same_footing(parts, labels, any_folds=mismatch)
    first = parts[0]
    probs = np.empty((len(parts), *first.probs.shape), dtype=np.float32)
    for number, (part, label) in enumerate(zip(parts, labels, strict=True)):
        probs[number] = part.aligned_to(first.ids, first.classes, label).probs
    return first, probs


def check_same_footing(
    members: Sequence[Predictions], labels: Sequence[str], any_folds: bool = False
) -> None:
    """Refuse to combine predictions that answer different questions.

    Raises:
        KitError: Kinds, tasks, class sets, ids or (for OOF) the folds differ from the first member's, or a
            probability is no number.
    """
    first = members[0]
    for member, label in zip(members, labels, strict=True):
        where = f"{label} ({member.origin.kind})"
        _refuse_broken(member, where)
        for aspect in ("kind", "task"):
            theirs, ours = getattr(member.origin, aspect), getattr(first.origin, aspect)
            if theirs != ours:
                raise KitError(where, f"its {aspect} is {theirs}, that of {labels[0]} is {ours}")
        scored = member.origin.kind == "oof" and not any_folds
        if scored and member.origin.folds == MIXED_FOLDS:
            raise KitError(
                where,
                "is a blend of members from different folds, which has no score",
                "Weights are fitted only if no model has seen the others' validation rows",
                "Give --allow-fold-mismatch for a mean without a score.",
            )
        member.check_same_names(first, where)
        if scored and member.origin.folds != first.origin.folds:
            raise KitError(
                where,
                f"was trained on other folds than {labels[0]}",
                "Weights are fitted only if no model has seen the others' validation rows",
                "Train both on the same folds CSV, or give --allow-fold-mismatch for a mean without a score.",
            )


def _refuse_broken(member: Predictions, where: str) -> None:
    broken = ~np.isfinite(member.probs).all(axis=1)
    if broken.any():
        first = member.ids[int(broken.argmax())]
        raise KitError(
            where,
            f"{broken.sum()} of {len(broken)} rows hold no numbers (first: {first})",
            "A blend needs every member's answer",
            "Predict it again, or leave it out.",
        )
