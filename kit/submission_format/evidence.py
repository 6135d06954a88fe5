"""What a sample file is compared with to infer its kind: its cells, and facts of the competition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from kit.metrics import Metric
from kit.natural import natural_key
from kit.submission_format.spelling import NUMBER, SEPARATORS, normalize_spelling
from kit.tasks import Task


@dataclass(frozen=True)
class CompetitionFacts:
    """What is known of the competition.

    Attributes:
        images: The ids of the test images.
        metric: None if it is not known yet.
    """

    classes: tuple[str, ...]
    task: Task
    images: Sequence[str]
    metric: Metric | None = None

    @property
    def metric_k(self) -> int | None:
        """The number of ranked classes that the metric reads; None for a metric without ranks."""
        k = None if self.metric is None else self.metric.options.get("k")
        return None if k is None else int(k)

    def for_columns(self, columns: Sequence[str]) -> CompetitionFacts:
        """Return the facts of a submission with some columns beside the id, which may leave out classes.

        A single column is not taken for the only class.
        """
        named = set(columns)
        if len(named) < 2 or not named < set(self.classes):
            return self
        return replace(self, classes=tuple(name for name in self.classes if name in named))


@dataclass(frozen=True)
class Evidence:
    """Why a sample is of a kind.

    Attributes:
        because: The reason, for people.
        options: Further fields of ``SubmissionFormat`` that the cells show.
    """

    because: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleValues:
    """The cells of a sample as evidence of its kind.

    Attributes:
        ids: The ids of the rows.
        columns: Name of a column beside the id -> its distinct cells, in order of appearance.
    """

    ids: Sequence[str]
    columns: dict[str, list[str]]

    @property
    def name(self) -> str:
        """The name of the first column."""
        return next(iter(self.columns))

    @cached_property
    def filled(self) -> list[str]:
        """The distinct cells of the first column that are not blank."""
        return [value for value in self.columns[self.name] if value.strip()]

    @property
    def has_blank(self) -> bool:
        """Whether the first column has an empty cell."""
        return "" in self.columns[self.name]

    @cached_property
    def examples(self) -> str:
        """Two cells of the first column, for messages; empty if all are blank."""
        return ", ".join(sorted(self.filled, key=natural_key)[:2])

    def has_class_columns(self, facts: CompetitionFacts) -> bool:
        """Return whether the columns are the classes."""
        return set(self.columns) == set(facts.classes)

    def says_single_classes(self, facts: CompetitionFacts) -> bool:
        """Return whether every cell of the first column is a class name."""
        return bool(self.filled) and set(self.filled) <= set(facts.classes)

    def says_other_spellings(self, facts: CompetitionFacts) -> bool:
        """Return whether every cell of the first column is a class name, some in another spelling."""
        if not self.filled or self.says_single_classes(facts):
            return False
        names = {normalize_spelling(name) for name in facts.classes}
        return {normalize_spelling(value) for value in self.filled} <= names

    def says_numbers(self, facts: CompetitionFacts) -> bool:
        """Return whether every cell of the first column is a number, and some are not class names."""
        if not self.filled or self.says_single_classes(facts):
            return False
        return all(NUMBER.fullmatch(value) for value in self.filled)

    def fits_labels_and_scores(self, facts: CompetitionFacts) -> bool:
        """Return whether all cells are one number and one of two classes: it may stand for a score."""
        is_constant = len(self.filled) == 1 and len(self.ids) > 1
        is_number = all(
            NUMBER.fullmatch(value) and 0 <= float(value.replace(",", ".")) <= 1 for value in self.filled
        )
        return is_constant and is_number and facts.task.exclusive and len(facts.classes) == 2

    def separator(self, facts: CompetitionFacts) -> tuple[str, int] | None:
        """Return the separator of cells with several classes, and the largest number of them in a cell."""
        if self.says_single_classes(facts):
            return None
        known = {*facts.classes, ""}
        for separator in SEPARATORS:
            words = [value.split(separator) for value in self.filled]
            most = max(map(len, words), default=0)
            if most > 1 and {word for each in words for word in each} <= known:
                return separator, most
        return None
