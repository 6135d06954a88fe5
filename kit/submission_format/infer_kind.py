"""What the rows of a sample file say, told from its cells, the classes and the images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from kit.errors import KitError, first_few
from kit.metrics import Metric
from kit.natural import natural_key
from kit.submission_format.kinds import RANKED, WORDS, first_grade, meant
from kit.submission_format.sample import Sample
from kit.submission_format.spec import Cells, KindName
from kit.tasks import Task

SEPARATORS = (" ", "|", ",", ";")
JOINTS = ("_", "-", ":", "/", ".", " ", "|", "__")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Asked:
    """What is known of the competition when a sample is looked at."""

    classes: tuple[str, ...]
    task: Task
    images: Sequence[str]
    metric: Metric | None = None


@dataclass(frozen=True)
class Shown:
    """What the rows of a sample say.

    Attributes:
        kind: As in ``SubmissionFormat``.
        because: From what it was told.
        options: Further fields of ``SubmissionFormat`` that the cells tell.
    """

    kind: KindName
    because: str
    options: dict[str, Any] = field(default_factory=dict)


def id_column_of(sample: Sample, images: Iterable[str]) -> str:
    """Return the column that holds the ids: the first one that names all images, else the first."""
    wanted = set(images)
    return next((n for n in sample.header if wanted <= set(sample.cells(n).to_pylist())), sample.header[0])


def shown_by(sample: Sample, id_column: str, asked: Asked) -> Shown:
    """Return what the rows of a sample say.

    Raises:
        KitError: It has several columns, and they are not the classes.
    """
    others = [name for name in sample.header if name != id_column]
    if set(others) == set(asked.classes):
        return _columns(sample, others)
    if len(others) != 1:
        odd = sorted(set(asked.classes) ^ set(others))
        raise KitError(
            sample.path,
            f"has {len(others)} columns beside '{id_column}', which are not the {len(asked.classes)} classes "
            f"(differing: {first_few(odd)})",
            "kit writes one column, or one per class",
            "Name the classes as the sample does, or set `competition.classes`.",
        )
    if (cells := long_cells(sample.cells(id_column).to_pylist(), asked)) is not None:
        shown = sample.cells(id_column)[0].as_py()
        return Shown("long", f"a row per image and class, such as {shown}", {"cells": cells})
    return _one_column(others[0], pc.unique(sample.cells(others[0])).to_pylist(), asked)


def _columns(sample: Sample, names: Sequence[str]) -> Shown:
    shown = ", ".join(names[:3])
    values = {cell for name in names for cell in pc.unique(sample.cells(name)).to_pylist()}
    if values and all(cell.strip().casefold() in {*WORDS[0], *WORDS[1]} for cell in values):
        words = _words(values)
        because = f"one column per class, such as {shown}, with {words[0]} or {words[1]}"
        return Shown("flags", because, {"words": words})
    return Shown("probabilities", f"one column per class, such as {shown}")


def _words(values: set[str]) -> tuple[str, str]:
    """Return how no and yes are written; the one that does not occur is written like the other."""
    sample = min(values)
    place = next(i for words in WORDS for i, word in enumerate(words) if word == sample.strip().casefold())
    no, yes = WORDS[0][place], WORDS[1][place]
    if sample.isupper() and len(sample) > 1:
        return no.upper(), yes.upper()
    return (no.capitalize(), yes.capitalize()) if sample[0].isupper() else (no, yes)


def _one_column(name: str, values: list[str], asked: Asked) -> Shown:
    classes, task = set(asked.classes), asked.task
    filled = [value for value in values if value.strip()]
    shown = ", ".join(sorted(filled, key=natural_key)[:2])
    if filled and set(filled) <= classes:
        return _of_classes(f"column '{name}' holds class names, such as {shown}", values, asked)
    for separator in SEPARATORS:
        words = [value.split(separator) for value in filled]
        if any(len(each) > 1 for each in words) and {w for each in words for w in each} <= classes | {""}:
            most = max(map(len, words))
            options = {"separator": separator, "blank": "" in values}
            if task.exclusive:
                because = f"column '{name}' ranks {most} classes, such as {filled[0]}"
                return Shown("top_k", because, options | {"most": most, "blank": False})
            return Shown("labels", f"column '{name}' holds several classes, such as {shown}", options)
    if task.exclusive and filled and {meant(value) for value in filled} <= {meant(c) for c in classes}:
        spelled = _spelled(filled, asked.classes)
        because = f"column '{name}' holds the classes as {shown}"
        return Shown("label", because, {"spelled": spelled})
    numbers = bool(filled) and all(NUMBER.fullmatch(value) for value in filled)
    if numbers and task.exclusive and len(asked.classes) == 2:
        return Shown("score", f"column '{name}' holds numbers: the probability of {asked.classes[1]}")
    if numbers and task.name == "ordinal" and not all(v.lstrip("+-").isdecimal() for v in filled):
        first = first_grade(asked.classes)
        span = {"low": float(first), "high": float(first + len(asked.classes) - 1)}
        return Shown("value", f"column '{name}' holds numbers, such as {shown}: the expected grade", span)
    because = f"column '{name}' is the only one beside the id" + (f", such as {shown}" if shown else "")
    return _of_classes(because, values, asked)


def _of_classes(because: str, values: Sequence[str], asked: Asked) -> Shown:
    """Return what a cell with one class, or nothing, is an example of."""
    if not asked.task.exclusive:
        return Shown("labels", because, {"blank": "" in values})
    metric = asked.metric
    if metric is not None and metric.kind in RANKED:
        return Shown("top_k", f"{because}; {metric.name} ranks them", {"most": int(metric.options["k"])})
    if metric is not None and metric.needs != "labels" and len(asked.classes) == 2:
        return Shown("score", f"{because}; {metric.name} takes the probability of {asked.classes[1]}")
    return Shown("label", because)


def _spelled(filled: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Return how each class is written, as a sample shows it of some of them."""
    shown = {meant(value): value for value in filled}
    if all(value.strip().casefold() in {*WORDS[0], *WORDS[1]} for value in filled):
        no, yes = _words(set(filled))
        return tuple({"0": no, "1": yes}[meant(name)] for name in classes)
    if all(NUMBER.fullmatch(value) for value in filled):
        decimals = max(len(value.partition(".")[2]) for value in filled)
        return tuple(f"{float(name):.{decimals}f}" for name in classes)
    return tuple(shown.get(meant(name), name) for name in classes)


def long_cells(ids: Sequence[str], asked: Asked) -> Cells | None:
    """Return what the rows of a long form are about; None if their ids do not join image and class."""
    images, classes = set(asked.images), {name: c for c, name in enumerate(asked.classes)}
    for joint in JOINTS:
        for class_first in (False, True):
            parts = [_parted(row_id, joint, class_first, images, classes) for row_id in ids[:1]]
            if None in parts:
                continue
            split = [_parted(row_id, joint, class_first, images, classes) for row_id in ids]
            if None not in split:
                return _cells([part for part in split if part], classes, joint, class_first)
    return None


def _parted(
    row_id: str, joint: str, class_first: bool, images: set[str], classes: dict[str, int]
) -> tuple[str, str] | None:
    """Return the image and the class that an id joins, wherever between them the joint may occur too."""
    at = row_id.find(joint)
    while at >= 0:
        before, after = row_id[:at], row_id[at + len(joint) :]
        image, name = (after, before) if class_first else (before, after)
        if name in classes and image in images:
            return image, name
        at = row_id.find(joint, at + 1)
    return None


def _cells(parts: Sequence[tuple[str, str]], classes: dict[str, int], joint: str, class_first: bool) -> Cells:
    import numpy as np

    position = {image: number for number, image in enumerate(dict.fromkeys(image for image, _ in parts))}
    return Cells(
        images=tuple(position),
        image=np.array([position[image] for image, _ in parts]),
        column=np.array([classes[name] for _, name in parts]),
        joint=joint,
        class_first=class_first,
    )
