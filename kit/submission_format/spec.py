"""The format of a submission: rows, columns, the meaning of a cell (its kind) and the CSV dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.evidence import CompetitionFacts, Evidence, SampleValues
from kit.tasks import Task


def text_column(values: Sequence[str]) -> pa.ChunkedArray:
    """Return a column of text."""
    return pa.chunked_array([pa.array(values, pa.string())])


@dataclass(frozen=True)
class CsvDialect:
    """How a CSV file is written.

    Attributes:
        delimiter: The character between cells.
        newline: The line end.
        quoted_header: Whether column names are quoted although they need no quotes.
        quoted: Positions of the columns whose cells are quoted although they need no quotes.
        decimal_mark: The character before the decimals of a number.
        bom: Whether the file begins with a byte-order mark. kit never writes one.
    """

    delimiter: str = ","
    newline: str = "\n"
    quoted_header: bool = False
    quoted: frozenset[int] = frozenset()
    decimal_mark: str = "."
    bom: bool = False


@dataclass(frozen=True)
class LongRows:
    """The image and the class of each row of a long format, which has one row per image and class.

    Attributes:
        images: Image ids, each once, in order of their first row.
        image: (N,), each row's position in ``images``.
        column: (N,), each row's position in the classes.
        joint: The text between image and class in a row's id.
        class_first: Whether the class comes before the image.
    """

    images: tuple[str, ...]
    image: np.ndarray
    column: np.ndarray
    joint: str = "_"
    class_first: bool = False

    def of(self, images: Sequence[str], num_classes: int) -> LongRows:
        """Return the rows of other images, one for each class."""
        image = np.repeat(np.arange(len(images)), num_classes)
        column = np.tile(np.arange(num_classes), len(images))
        return replace(self, images=tuple(images), image=image, column=column)

    def row_ids(self, classes: Sequence[str]) -> pa.ChunkedArray:
        """Return the ids of the rows, (N,)."""
        image = pc.take(pa.array(self.images, pa.string()), pa.array(self.image))
        name = pc.take(pa.array(classes, pa.string()), pa.array(self.column))
        first, second = (name, image) if self.class_first else (image, name)
        return pa.chunked_array([pc.binary_join_element_wise(first, second, self.joint)])


class CellType(Enum):
    """What a cell contains, which decides how ``kit check`` reads it."""

    NUMBER = "number"
    FLAG = "flag"
    CLASSES = "classes"
    ANYTHING = "anything"


class SubmissionKind(ABC):
    """What a row of a submission says. Each kind is one class in ``kit/submission_format/kinds/``.

    The attributes and methods of a kind say everything that other code must know about it: no other code
    compares a kind's name with a string.

    Attributes:
        name: The name in the config (``submission.kind``); ``register_kind`` sets it.
        description: What a submission contains, for messages.
        cell_type: What a cell contains.
        class_columns: Whether each class has its own column.
        multilabel: Whether it can hold several classes per image.
        number: Whether it can hold the number of a regression.
        holds_labels: Whether it states labels, so that a leaderboard does not derive them from numbers.
        separated: Whether a cell holds several classes, joined by ``SubmissionFormat.separator``.
        ranked: Whether the classes of a cell are ranked, most likely first.
        allows_blank: Whether a cell may be blank, if ``SubmissionFormat.blank`` says so.
        is_probability: Whether the numbers are probabilities.
        threshold: For one number per row: above it, the row says the second class. None: no threshold.
        constant_rows: Identical rows from this number on are suspicious; None: never.
        options: The ``submission.*`` config keys that only some kinds use, and this kind does.
        inference_order: Kinds with a lower number are tried first on a sample: kinds that columns and ids
            show come before kinds that cells show.
        implied_task: The task of a competition whose sample has this kind; None: any.
        likely_metrics: Metrics that competitions with this kind usually have, most likely first.
        likely_metrics_for: The same by task, where a task differs.
    """

    name: str
    description: ClassVar[str]
    cell_type: ClassVar[CellType]
    class_columns: ClassVar[bool] = False
    multilabel: ClassVar[bool] = False
    number: ClassVar[bool] = False
    holds_labels: ClassVar[bool] = False
    separated: ClassVar[bool] = False
    ranked: ClassVar[bool] = False
    allows_blank: ClassVar[bool] = False
    is_probability: ClassVar[bool] = False
    threshold: ClassVar[float | None] = None
    constant_rows: ClassVar[int | None] = 3
    options: ClassVar[frozenset[str]] = frozenset()
    inference_order: ClassVar[int] = 2
    implied_task: ClassVar[str | None] = None
    likely_metrics: ClassVar[tuple[str, ...]] = ()
    likely_metrics_for: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def numeric(self) -> bool:
        """Whether cells are numbers."""
        return self.cell_type is CellType.NUMBER

    def fits(self, task: Task) -> bool:
        """Return whether it can hold what the task predicts."""
        return self.number if task.numeric else (task.exclusive or self.multilabel)

    @abstractmethod
    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return whether the metric can be computed from what is written."""

    @abstractmethod
    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the cells of each column beside the id; predictions are in the order of ``form.images``.

        A column with few distinct cells may be a dictionary array.
        """

    @abstractmethod
    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return what cells say, given one list (N,) per column; rows in the order of ``form.ids``."""

    @abstractmethod
    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return for each image, (N,) bool, whether reading returned something else than was written."""

    def vocabulary(self, form: SubmissionFormat) -> tuple[str, ...]:
        """Return the words that cells may contain."""
        return form.written

    def columns(self, classes: Sequence[str], label: str | None) -> tuple[str, ...]:
        """Return the columns beside the id of a submission without a sample file."""
        return tuple(classes) if self.class_columns else (label or "",)

    def check(self, form: SubmissionFormat) -> None:  # noqa: B027 - most kinds fill any format
        """Refuse a format that this kind cannot fill.

        Raises:
            KitError: The classes, or a setting, do not suit the kind.
        """

    def default_options(self, where: object, facts: CompetitionFacts) -> dict[str, Any]:
        """Return fields of ``SubmissionFormat`` for a kind that the config names, not the sample.

        Raises:
            KitError: Only a sample can give them.
        """
        return {}

    def is_default(self, task: Task, label_column: bool) -> bool:
        """Return whether this is the kind without a sample file; ``label_column``: the config names one."""
        return False

    def infer(self, sample: SampleValues, facts: CompetitionFacts) -> Evidence | None:
        """Return the evidence that a sample is of this kind; None if there is none.

        Kinds are tried by ``inference_order``, then by name; the first with evidence is taken.
        """
        return None

    def infer_from_class_names(
        self, because: str, sample: SampleValues, facts: CompetitionFacts
    ) -> Evidence | None:
        """Return the evidence for a sample whose one column holds single class names, or nothing useful."""
        return None

    def infer_from_numbers(self, names: Sequence[str], numbers: np.ndarray) -> dict[str, Any] | None:
        """Return format fields for a sample that is read without its competition; None: not this kind.

        Args:
            names: The columns beside the id.
            numbers: (N, K), all between 0 and 1.
        """
        return None

    def with_fallback(
        self, predictions: FinalPredictions, form: SubmissionFormat, classes: Sequence[str]
    ) -> FinalPredictions:
        """Return predictions in which an image without a class has the fallback class.

        Args:
            classes: The class names, in the order of the predictions.
        """
        return predictions

    def changes(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[str]:
        """Return a line for each way in which the file differs from the predictions on purpose."""
        return []

    def unwritable(self, predictions: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
        """Return the rows, (K,), for which the format has no cell."""
        return np.array([], dtype=np.int64)

    def numbers(self, predictions: FinalPredictions) -> np.ndarray:
        """Return the numbers, (N, K), that a submission of these predictions contains."""
        return predictions.probs

    def numbers_by_image(
        self, numbers: np.ndarray, names: tuple[str, ...], rows: np.ndarray | None, form: SubmissionFormat
    ) -> tuple[np.ndarray | None, np.ndarray] | None:
        """Return the numbers of a file's rows as ``kit check`` compares them; None if columns are missing.

        Args:
            numbers: (N, K), of the columns ``names``.
            rows: (N,), each row's position in ``form.ids``; None: the format's order.

        Returns:
            Each number row's position in ``form.images`` (None: in order), and the numbers, (N, C) in class
            order or (N, 1).
        """
        return rows, numbers


CELL_BYTES = 40  # of a number with all its digits, and a delimiter


@dataclass(frozen=True)
class SubmissionFormat:
    """The format of a submission file.

    Attributes:
        header: The names of all columns, in order.
        id_column: The column with the ids.
        kind: What a row says.
        ids: Every id once, in row order: (N,), text.
        classes: The class names in order; empty if unknown.
        exclusive: Whether an image has exactly one class, so that the probabilities of a row sum to 1.
        spelled: What is written for each class, in class order; empty: the class names.
        words: What is written for no and yes.
        separator: The text between the classes of a cell.
        most: The largest number of classes in a cell; None: any number.
        blank: Whether a cell may be blank (an image without a class).
        fallback: The class written for an image without a class.
        decimals: Decimals of numbers; None: as many as the same float32 needs.
        low: The smallest number allowed in a cell.
        high: The largest.
        long_rows: The image and the class of each row of a long format.
        repeats: Each row's position in ``ids``, if ids have several rows; None: a row per id.
        row_numbers: Columns that are copied from the sample: name -> one text per row.
        dialect: How the file is written.
        sample: The sample file's cells beside the id, one column of text (N,) each, rows as in ``ids``.
    """

    header: tuple[str, ...]
    id_column: str
    kind: SubmissionKind
    ids: pa.ChunkedArray
    classes: tuple[str, ...] = ()
    exclusive: bool = True
    spelled: tuple[str, ...] = ()
    words: tuple[str, str] = ("0", "1")
    separator: str = " "
    most: int | None = None
    blank: bool = False
    fallback: str | None = None
    decimals: int | None = None
    low: float = 0.0
    high: float = 1.0
    long_rows: LongRows | None = None
    repeats: np.ndarray | None = None
    row_numbers: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    dialect: CsvDialect = field(default_factory=CsvDialect)
    sample: tuple[pa.ChunkedArray, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def most_bytes(self) -> int:
        """A size that no file of this format exceeds: every cell has a long number, or all classes."""
        lengths = [len(name.encode()) + 1 for name in self.written]
        names = max(lengths, default=0) if self.exclusive else sum(lengths)
        return int(self.ids.nbytes) + self.num_rows * (len(self.header) * CELL_BYTES + names)

    @property
    def num_rows(self) -> int:
        """The number of rows of the file."""
        return len(self.ids) if self.repeats is None else len(self.repeats)

    @property
    def id_position(self) -> int:
        """The position of the id column."""
        return self.header.index(self.id_column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the kind fills, in order."""
        return tuple(name for name in self.header if name != self.id_column and name not in self.row_numbers)

    @property
    def images(self) -> tuple[str, ...]:
        """The image ids, in order of their first row."""
        return tuple(self.ids.to_pylist()) if self.long_rows is None else self.long_rows.images

    @property
    def written(self) -> tuple[str, ...]:
        """What is written for each class, in class order."""
        return self.spelled or self.classes

    def with_images(self, images: Sequence[str]) -> SubmissionFormat:
        """Return the same format for other images."""
        long_rows = None if self.long_rows is None else self.long_rows.of(images, len(self.classes))
        ids = text_column(images) if long_rows is None else long_rows.row_ids(self.written)
        numbers = {name: text_column([str(n) for n in range(len(ids))]) for name in self.row_numbers}
        return replace(self, ids=ids, long_rows=long_rows, repeats=None, row_numbers=numbers, sample=None)
