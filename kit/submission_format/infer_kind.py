"""Infer the kind of a submission from its sample file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from kit.errors import KitError, counted, first_few
from kit.submission_format.evidence import CompetitionFacts, SampleValues
from kit.submission_format.kinds import submission_kinds
from kit.submission_format.sample import Sample
from kit.submission_format.spec import SubmissionKind
from kit.submission_format.spelling import NUMBER


@dataclass(frozen=True)
class InferredKind:
    """The kind of a sample.

    Attributes:
        because: The reason, for people.
        options: Further fields of ``SubmissionFormat`` that the cells show.
        is_open: Whether the cells fit labels and scores, so that the metric decides.
    """

    kind: SubmissionKind
    because: str
    options: dict[str, Any] = field(default_factory=dict)
    is_open: bool = False


def find_id_column(sample: Sample, images: Iterable[str]) -> str:
    """Return the first column that has all image ids, else the first column."""
    wanted = set(images)
    return next((n for n in sample.header if wanted <= set(sample.cells(n).to_pylist())), sample.header[0])


def infer_kind(sample: Sample, id_column: str, facts: CompetitionFacts) -> InferredKind:
    """Return the kind of a sample.

    Every kind is tried on the cells. If these are single class names, or show nothing, task and metric
    decide.

    Raises:
        KitError: The sample has several columns beside the id, and they are not the classes.
    """
    names = sample.value_names(id_column)
    values = SampleValues(
        sample.cells(id_column).to_pylist(),
        {name: pc.unique(sample.cells(name)).to_pylist() for name in names},
    )
    if len(names) != 1 and not values.has_class_columns(facts):
        odd = sorted(set(facts.classes) ^ set(names))
        raise KitError(
            sample.path,
            f"has {counted(len(names), 'column')} beside '{id_column}', which are not the "
            f"{counted(len(facts.classes), 'class', 'classes')} "
            f"(differing: {first_few(odd)})",
            "kit writes one column, or one per class",
            "Name the classes as the sample does, or set `competition.classes`.",
            code="columns_not_classes",
        )
    kinds = [kind for kind in submission_kinds.values() if kind.number or not facts.task.numeric]
    kinds.sort(key=_inference_order)
    for kind in kinds:
        if (evidence := kind.infer(values, facts)) is not None:
            return InferredKind(kind, evidence.because, evidence.options)
    _check_cells(sample, values, facts)
    is_open = facts.metric is None and values.fits_labels_and_scores(facts)
    because = _constant_column(values, facts) if is_open else _one_column(values, facts)
    for kind in kinds:
        if (evidence := kind.infer_from_class_names(because, values, facts)) is not None:
            return InferredKind(kind, evidence.because, evidence.options, is_open)
    raise AssertionError("label or labels suits every task")


def _check_cells(sample: Sample, values: SampleValues, facts: CompetitionFacts) -> None:
    """Refuse one column of numbers if the classes are names; a constant such as 0 may be a placeholder."""
    is_placeholder = len(values.filled) == 1 and values.filled[0].isdecimal()
    are_names = not any(NUMBER.fullmatch(name) for name in facts.classes) and len(facts.classes) > 2
    if is_placeholder or not are_names or not values.says_numbers(facts):
        return
    raise KitError(
        sample.path,
        f"column '{values.name}' holds numbers ({values.examples}), and the "
        f"{counted(len(facts.classes), 'class is a name', 'classes are names')} "
        f"({first_few(facts.classes)})",
        "A cell says a class, or the probability of the second of two classes",
        "Label the images with the two classes that the rules score, or set submission.codes to a table of "
        "class names and numbers.",
        code="cells_not_classes",
    )


def _constant_column(values: SampleValues, facts: CompetitionFacts) -> str:
    """Return why a column of equal cells shows no kind, and what the metric makes of it."""
    score = f"a score (the probability of {facts.classes[1]}) for roc_auc or log_loss"
    return (
        f"every cell of column '{values.name}' is '{values.filled[0]}', which shows no kind; "
        f"the metric decides: labels for accuracy or f1_of_second, {score}"
    )


def _inference_order(kind: SubmissionKind) -> tuple[int, str]:
    return kind.inference_order, kind.name


def _one_column(values: SampleValues, facts: CompetitionFacts) -> str:
    """Return what the one column shows, for people."""
    if values.says_single_classes(facts):
        return f"column '{values.name}' holds class names, such as {values.examples}"
    examples = f"; its cells, such as {values.examples}, are no class" if values.examples else ""
    return f"column '{values.name}' is the only one beside the id{examples}"
