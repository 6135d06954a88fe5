"""The form of a competition's submissions: read from the sample file, or described by the config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.competition.samples import Competition
from kit.config import SubmissionConfig
from kit.errors import KitError, first_few
from kit.submission.pooling import pooled_names, task_of_rows
from kit.submission_format.infer_kind import Asked, Shown, id_column_of, shown_by
from kit.submission_format.kinds import first_grade
from kit.submission_format.sample import Sample, read_sample
from kit.submission_format.spec import KindName, Look, SubmissionFormat, strings
from kit.tasks import Task

SEVERAL = ("flags", "probabilities", "score", "labels", "long")  # kinds for images of several classes
SUM_OF_SHARES = 1e-3  # how far from 1 the numbers of a sample's row may be, when they are shares


def format_for(
    config: SubmissionConfig | None, competition: Competition, stale: Literal["refuse", "allow"] = "refuse"
) -> SubmissionFormat:
    """Return the form of a competition's submissions, checked against its classes and test ids.

    Args:
        stale: What to do about a sample that does not list exactly the test images.

    Raises:
        KitError: There is nothing to hand in, or the sample or the config does not fit the competition.
    """
    if config is None:
        raise KitError(
            competition.name,
            "has no test images: nothing is handed in",
            "Held-out sets are scored by `kit evaluate`",
            "Set `competition.test` and `submission` if there are images to predict.",
        )
    task = task_of_rows(config.pool, competition)
    images = pooled_names(config.pool, competition.test["id"])
    asked = Asked(competition.classes, task, images, competition.metric)
    if config.sample is None:
        form = _described(config, asked)
    else:
        form = _of_sample(read_sample(competition.root / config.sample), config, asked)
    _check_kind(form, config, task)
    if stale == "refuse" and config.sample is not None:
        _refuse_stale(competition.root / config.sample, *stale_ids(form, images))
    return form


def stale_ids(form: SubmissionFormat, images: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the test images that a form does not list, and the ids it lists that are no test image."""
    listed, there = set(form.images), set(images)
    return tuple(i for i in images if i not in listed), tuple(i for i in form.images if i not in there)


def form_of_sample(path: Path) -> SubmissionFormat:
    """Return what a sample file alone tells of the form.

    Columns of numbers between 0 and 1 are probabilities, whose rows may sum to 1; a single one is a score,
    unless it holds whole numbers. Anything else is left open.
    """
    sample = read_sample(path)
    columns = sample.beside(sample.header[0])
    numbers = _shares_in(columns, sample.look.decimal_mark)
    kind: KindName = "any"
    if numbers is not None and len(columns) > 1:
        kind = "probabilities"
    elif numbers is not None and not np.isin(numbers, (0.0, 1.0)).all():
        kind = "score"
    names = sample.header[1:] if kind == "probabilities" else ("0", "1") if kind == "score" else ()
    sums = numbers is not None and np.abs(numbers.sum(axis=1) - 1).max() <= SUM_OF_SHARES
    return SubmissionFormat(
        sample.header,
        sample.header[0],
        kind,
        sample.columns[0],
        names,
        exclusive=kind == "score" or bool(sums),
        look=sample.look,
        sample=columns,
    )


def _shares_in(columns: Sequence[pa.ChunkedArray], mark: str) -> np.ndarray | None:
    """Return columns as numbers (N, K) if all of them are between 0 and 1."""
    try:
        cells = [pc.replace_substring(column, mark, ".") for column in columns]
        numbers = np.stack([pc.cast(column, pa.float64()).to_numpy() for column in cells], axis=1)
    except pa.ArrowInvalid:
        return None
    return numbers if ((numbers >= 0) & (numbers <= 1)).all() else None


def _described(config: SubmissionConfig, asked: Asked) -> SubmissionFormat:
    kind: KindName = config.kind if config.kind != "auto" else _usual_kind(config, asked)
    columns = asked.classes if kind in ("probabilities", "flags") else (config.label or "",)
    found = Shown(kind, "given under submission", _span(asked) if kind == "value" else {})
    look = Look(delimiter=config.delimiter)
    ids = strings(asked.images)
    return _form((config.id or "", *columns), config.id or "", ids, found, look, config, asked)


def _usual_kind(config: SubmissionConfig, asked: Asked) -> KindName:
    """Return what a row says where no sample shows it."""
    if not asked.task.exclusive:
        return "probabilities" if config.label is None else "labels"
    if config.label is None:
        raise KitError(
            "submission",
            "names neither a sample file nor the column of the labels",
            "Without a sample, what a row says must be given",
            "Set submission.label to the name of the column, or submission.kind: probabilities.",
        )
    return "label"


def _span(asked: Asked) -> dict[str, Any]:
    first = first_grade(asked.classes)
    return {"low": float(first), "high": float(first + len(asked.classes) - 1)}


def _of_sample(sample: Sample, config: SubmissionConfig, asked: Asked) -> SubmissionFormat:
    id_column = id_column_of(sample, asked.images)
    found = _found(sample, id_column, config, asked)
    ids = sample.cells(id_column)
    _refuse_twice(sample.path, ids)
    shown = sample.beside(id_column)
    return _form(sample.header, id_column, ids, found, sample.look, config, asked, shown)


def _found(sample: Sample, id_column: str, config: SubmissionConfig, asked: Asked) -> Shown:
    """Return what the sample shows, or what the config says of it."""
    others = len(sample.header) - 1
    if config.kind in ("probabilities", "flags") and set(sample.header) - {id_column} != set(asked.classes):
        odd = sorted((set(sample.header) - {id_column}) ^ set(asked.classes))
        raise KitError(
            sample.path, f"its columns are not the classes (differing: {first_few(odd)})", "One per class"
        )
    if config.kind not in ("auto", "probabilities", "flags") and others != 1:
        raise KitError(
            sample.path,
            f"has {others} columns beside the id",
            f"submission.kind {config.kind} fills one",
            "Set submission.kind: probabilities if each column is a class.",
        )
    found = shown_by(sample, id_column, asked)
    if config.kind == "auto" or config.kind == found.kind:
        return found
    if config.kind == "long":
        raise KitError(
            sample.path,
            f"its ids, such as {sample.cells(id_column)[0].as_py()}, do not join a test image and a class",
            "In a long form every row is one class of one image",
        )
    return Shown(config.kind, "given under submission", _span(asked) if config.kind == "value" else {})


def _form(
    header: tuple[str, ...],
    id_column: str,
    ids: pa.ChunkedArray,
    found: Shown,
    look: Look,
    config: SubmissionConfig,
    asked: Asked,
    shown: tuple[pa.ChunkedArray, ...] | None = None,
) -> SubmissionFormat:
    """Return the form; what the config says goes before what the sample shows."""
    given = {key: getattr(config, key) for key in ("separator", "most", "blank", "fallback", "decimals")}
    options = found.options | {key: value for key, value in given.items() if value is not None}
    return SubmissionFormat(
        header=header,
        id_column=id_column,
        kind=found.kind,
        ids=ids,
        classes=asked.classes,
        exclusive=asked.task.exclusive,
        look=look,
        sample=shown,
        **options,
    )


def _check_kind(form: SubmissionFormat, config: SubmissionConfig, task: Task) -> None:
    """Refuse a kind that cannot hold what the task predicts."""
    if form.kind not in SEVERAL and not task.exclusive:
        raise KitError("submission.kind", f"is {form.kind}, and an image can have several classes")
    if form.kind == "score" and len(form.classes) != 2:
        raise KitError("submission.kind", f"is score, for {len(form.classes)} classes", "It takes two")
    if form.kind == "value":
        first_grade(form.classes)
    if form.kind in ("labels", "top_k"):
        odd = [name for name in form.written if form.separator in name]
        if odd:
            raise KitError(
                "submission.separator",
                f"'{form.separator}' occurs in class names ({first_few(odd)})",
                "It stands between classes",
                "Set another one, if the rules allow it.",
            )
    unfit = {
        "fallback": config.fallback is not None and form.kind != "labels",
        "blank": config.blank is not None and form.kind != "labels",
        "most": config.most is not None and form.kind not in ("top_k", "labels"),
        "decimals": config.decimals is not None and not form.numeric,
    }
    for key, odd_one in unfit.items():
        if odd_one:
            raise KitError(f"submission.{key}", f"means nothing to kind {form.kind}", "", "Leave it out.")


def _refuse_twice(path: Path, ids: pa.ChunkedArray) -> None:
    if len(pc.unique(ids)) != len(ids):
        raise KitError(path, "lists an id twice", "A sample lists every test id once")


def _refuse_stale(path: Path, unlisted: Sequence[str], vanished: Sequence[str]) -> None:
    for odd, verdict in (
        (unlisted, "does not list {} test images ({})"),
        (vanished, "lists {} ids that are no test image ({})"),
    ):
        if odd:
            raise KitError(
                path, verdict.format(len(odd), first_few(odd)), "The sample lists every test image once"
            )
