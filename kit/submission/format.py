"""The format of a competition's submissions: read from the sample file, or described by the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.competition.infer.class_codes import read_codes
from kit.competition.samples import Competition
from kit.config import Config, SubmissionConfig
from kit.errors import KitError, counted, first_few
from kit.runtime.progress import Progress
from kit.submission.pooling import submitted_ids, task_of_rows
from kit.submission_format.evidence import CompetitionFacts
from kit.submission_format.infer_kind import InferredKind, find_id_column, infer_kind
from kit.submission_format.kinds import UNKNOWN_KIND, default_kind, submission_kinds
from kit.submission_format.sample import Sample, read_sample
from kit.submission_format.spec import CsvDialect, SubmissionFormat, SubmissionKind, text_column
from kit.tasks import Task

FORMAT_OPTIONS = (
    "separator",
    "most",
    "blank",
    "fallback",
    "decimals",
)  # override the sample
KIND_OPTIONS = ("fallback", "blank", "most", "decimals")  # used by some kinds only
GIVEN = "given under submission"


def format_for(
    config: SubmissionConfig | None, competition: Competition, stale: Literal["refuse", "allow"] = "refuse"
) -> SubmissionFormat:
    """Return the format of a competition's submissions, checked against its classes and test ids.

    Args:
        stale: What to do with a sample that does not list exactly the test images.

    Raises:
        KitError: There is no submission, or the sample or the config does not fit the competition.
    """
    if config is None or competition.test.empty:
        raise KitError(
            competition.name,
            "has no test images: there is nothing to submit",
            "`kit evaluate` scores held-out sets",
            "If there are images to predict, put them in the test folder, and set `competition.test` and "
            "`submission`.",
            code="no_test_images",
        )
    task = task_of_rows(config.pool, competition)
    images = submitted_ids(config.pool, competition)
    names = _names_by_code(config, competition)
    facts = CompetitionFacts(tuple(names), task, images, competition.metric)
    if config.sample is None:
        form = _described(config, facts)
    else:
        form = _from_sample(read_sample(competition.root / config.sample), config, facts)
    if config.codes is not None:
        form = replace(form, classes=tuple(names[code] for code in form.classes), spelled=form.classes)
    _check_kind(form, config, task, facts)
    if stale == "refuse" and config.sample is not None:
        _refuse_stale(competition.root / config.sample, *stale_ids(form, images))
    return form


def _names_by_code(config: SubmissionConfig, competition: Competition) -> dict[str, str]:
    """Return what the file contains for each class -> the class, in class order."""
    if config.codes is None:
        return {name: name for name in competition.classes}
    codes = read_codes(competition.root, config.codes, competition.classes)
    return {codes[name]: name for name in competition.classes}


def warn_of_images_without_class(form: SubmissionFormat, config: Config, progress: Progress) -> None:
    """Warn before training if an image may get no class, and the format has no cell for that."""
    may_be_blank = form.blank or form.fallback is not None or not form.kind.allows_blank
    gives_one = any(
        step.options.get("at_least_one") or step.options.get("fallback") for step in config.decide
    )
    if not (may_be_blank or gives_one):
        progress.warn(
            "an image without a class would stop the submission, because the sample has no blank cells: set "
            "`decide: [{name: thresholds, at_least_one: true}]`, or submission.fallback"
        )


def stale_ids(form: SubmissionFormat, images: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the test images that a format does not list, and the ids it lists that are not test images."""
    listed, there = set(form.images), set(images)
    return tuple(i for i in images if i not in listed), tuple(i for i in form.images if i not in there)


def format_of_sample(path: Path) -> SubmissionFormat:
    """Return the format of a sample file, inferred without its competition.

    Columns of numbers between 0 and 1 are probabilities; one such column is a score, unless it holds only 0
    and 1. The kind of any other sample is unknown.
    """
    sample = read_sample(path)
    columns = sample.beside(sample.header[0])
    numbers = _probabilities_in(columns, sample.dialect.decimal_mark)
    kind: SubmissionKind = UNKNOWN_KIND
    options: dict[str, Any] = {"exclusive": False}
    for each in map(submission_kinds.get, submission_kinds if numbers is not None else ()):
        if numbers is not None and (found := each.infer_from_numbers(sample.header[1:], numbers)) is not None:
            kind, options = each, found
            break
    return SubmissionFormat(
        sample.header,
        sample.header[0],
        kind,
        sample.columns[0],
        dialect=sample.dialect,
        sample=columns,
        **options,
    )


def _probabilities_in(columns: Sequence[pa.ChunkedArray], mark: str) -> np.ndarray | None:
    """Return columns as numbers (N, K); None unless all are between 0 and 1."""
    try:
        cells = [pc.replace_substring(column, mark, ".") for column in columns]
        numbers = np.stack([pc.cast(column, pa.float64()).to_numpy() for column in cells], axis=1)
    except pa.ArrowInvalid:
        return None
    return numbers if ((numbers >= 0) & (numbers <= 1)).all() else None


def _given_kind(config: SubmissionConfig) -> SubmissionKind | None:
    """Return the kind that the config names; None: inferred from the sample."""
    return submission_kinds.get(config.kind) if config.kind in submission_kinds else None


def _described(config: SubmissionConfig, facts: CompetitionFacts) -> SubmissionFormat:
    """Return the format of a submission without a sample file."""
    kind = _given_kind(config) or default_kind(facts.task, config.label is not None)
    if not kind.class_columns and config.label is None:
        raise KitError(
            "submission.label",
            "is missing",
            f"Without a sample file, kind {kind.name} needs the name of its column",
            "Set submission.label.",
            code="label_column_missing",
        )
    found = InferredKind(kind, GIVEN, kind.default_options("submission.kind", facts))
    id_column = config.id or ""
    header = (id_column, *kind.columns(facts.classes, config.label))
    dialect = CsvDialect(delimiter=config.delimiter)
    return _format(header, id_column, text_column(facts.images), found, dialect, config, facts)


def _from_sample(sample: Sample, config: SubmissionConfig, facts: CompetitionFacts) -> SubmissionFormat:
    id_column = find_id_column(sample, facts.images)
    facts = facts.for_columns(sample.value_names(id_column))
    found = _sample_kind(sample, id_column, config, facts)
    ids, cells = sample.cells(id_column), sample.beside(id_column)
    encoded = ids.combine_chunks().dictionary_encode()
    repeats = encoded.indices.to_numpy() if len(encoded.dictionary) < len(ids) else None
    if repeats is not None:
        first = pa.array(np.unique(repeats, return_index=True)[1])
        ids, cells = ids.take(first), tuple(column.take(first) for column in cells)
    form = _format(sample.header, id_column, ids, found, sample.dialect, config, facts, cells)
    return replace(form, repeats=repeats, row_numbers=sample.row_numbers(id_column))


def _sample_kind(
    sample: Sample, id_column: str, config: SubmissionConfig, facts: CompetitionFacts
) -> InferredKind:
    """Return the kind that the config names, or else the kind of the sample."""
    given, others = _given_kind(config), set(sample.value_names(id_column))
    if given is not None and given.class_columns and others != set(facts.classes):
        odd = sorted(others ^ set(facts.classes))
        raise KitError(
            sample.path,
            f"has columns that are not the classes (differing: {first_few(odd)})",
            f"submission.kind {given.name} has one column per class",
            code="columns_not_classes",
        )
    if given is not None and not given.class_columns and len(others) != 1:
        raise KitError(
            sample.path,
            f"has {counted(len(others), 'column')} other than the id",
            f"submission.kind {given.name} fills one",
            "Set submission.kind: probabilities if each column is a class.",
            code="columns_too_many",
        )
    found = infer_kind(sample, id_column, facts)
    if given is None or given is found.kind:
        return found
    return InferredKind(given, GIVEN, given.default_options(sample.path, facts))


def _format(
    header: tuple[str, ...],
    id_column: str,
    ids: pa.ChunkedArray,
    found: InferredKind,
    dialect: CsvDialect,
    config: SubmissionConfig,
    facts: CompetitionFacts,
    sample: tuple[pa.ChunkedArray, ...] | None = None,
) -> SubmissionFormat:
    """Return the format; the config overrides the sample."""
    given = {key: getattr(config, key) for key in FORMAT_OPTIONS}
    options = found.options | {key: value for key, value in given.items() if value is not None}
    return SubmissionFormat(
        header=header,
        id_column=id_column,
        kind=found.kind,
        ids=ids,
        classes=facts.classes,
        exclusive=facts.task.exclusive,
        dialect=dialect,
        sample=sample,
        **options,
    )


def _check_kind(
    form: SubmissionFormat, config: SubmissionConfig, task: Task, facts: CompetitionFacts
) -> None:
    """Refuse a kind that cannot hold what the task predicts, and options that the kind does not use."""
    kind = form.kind
    if not kind.fits(task):
        fitting = [each.name for each in submission_kinds.values() if each.fits(task)]
        raise KitError(
            "submission.kind",
            f"is {kind.name}, and an image {'has a number' if task.numeric else 'can have several classes'}",
            f"Kinds for this task: {', '.join(fitting)}",
            code="kind_unsuitable",
        )
    kind.check(form)
    if facts.metric is not None and not kind.keeps(facts.metric, form):
        raise KitError(
            "submission.kind",
            f"is {kind.name}, which does not hold what the metric {facts.metric.name} scores",
            "The leaderboard scores the file with competition.metric",
            "Correct submission.kind or competition.metric.",
            code="kind_loses_metric",
        )
    for key in KIND_OPTIONS:
        if getattr(config, key) is not None and key not in kind.options:
            raise KitError(
                f"submission.{key}",
                f"has no effect on kind {kind.name}",
                next="Leave it out.",
                code="option_unused",
            )


def _refuse_stale(path: Path, unlisted: Sequence[str], vanished: Sequence[str]) -> None:
    for odd, verb, nouns in (
        (unlisted, "does not list", ("test image", "test images")),
        (vanished, "lists", ("id that is no test image", "ids that are no test images")),
    ):
        if odd:
            raise KitError(
                path,
                f"{verb} {counted(len(odd), *nouns)} ({first_few(odd)})",
                "The sample must list every test image once",
                code="sample_stale",
            )
