"""What a file to hand in looks like: which rows and columns, what a cell says, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.config import SubmissionKind

KindName = SubmissionKind | Literal["any"]


def strings(values: Sequence[str]) -> pa.ChunkedArray:
    """Return a column of text."""
    return pa.chunked_array([pa.array(values, pa.string())])


@dataclass(frozen=True)
class Look:
    """How a file is written, whatever it says.

    Attributes:
        delimiter: What stands between cells.
        newline: The line end.
        quoted_header: Whether the names of the columns stand in quotes that they do not need.
        quoted: Positions of the columns whose cells stand in quotes that they do not need.
        decimal_mark: What stands before the decimals of a number.
        bom: Whether the file begins with a byte-order mark; none is ever written.
    """

    delimiter: str = ","
    newline: str = "\n"
    quoted_header: bool = False
    quoted: frozenset[int] = frozenset()
    decimal_mark: str = "."
    bom: bool = False


@dataclass(frozen=True)
class Cells:
    """The images and classes that the rows of a long form are about.

    Attributes:
        images: Ids of the images, each once, in order of their first row.
        image: (N,), each row's position in ``images``.
        column: (N,), each row's position in the classes.
        joint: What stands between image and class in the id of a row.
        class_first: Whether the class stands before the image.
    """

    images: tuple[str, ...]
    image: np.ndarray
    column: np.ndarray
    joint: str = "_"
    class_first: bool = False

    def of(self, images: Sequence[str], num_classes: int) -> Cells:
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


@dataclass(frozen=True)
class SubmissionFormat:
    """The file to hand in.

    Attributes:
        header: The names of all columns, in order.
        id_column: Which of them holds the ids.
        kind: What a row says, a name in ``kit.submission_format.kinds.kinds``; ``any``: read from a sample
            alone, which leaves it open.
        ids: Every id once, in the order of the rows: (N,), text.
        classes: The class names in their order; empty where they are not known.
        exclusive: Whether an image has exactly one class, so that the probabilities of a row sum to 1.
        spelled: What is written for each class, in their order: usually its name.
        words: What is written for no and for yes, where cells say that.
        separator: What stands between the classes of a cell.
        most: How many classes a cell may hold: the length of a ranked list. None: any number.
        blank: Whether a cell may be blank: an image without any class.
        fallback: The class written for an image without any.
        decimals: How many decimals numbers have; None: as many as it takes to read the same float32.
        low: The smallest number that may stand in a cell.
        high: The largest.
        cells: What the rows of a long form are about.
        look: How it is written.
        sample: The sample file's cells beside the id, one column of text (N,) each, rows as in ``ids``.
    """

    header: tuple[str, ...]
    id_column: str
    kind: KindName
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
    cells: Cells | None = None
    look: Look = field(default_factory=Look)
    sample: tuple[pa.ChunkedArray, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def id_position(self) -> int:
        """Where the column of ids stands."""
        return self.header.index(self.id_column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns beside the id, in order."""
        return tuple(name for name in self.header if name != self.id_column)

    @property
    def images(self) -> tuple[str, ...]:
        """The ids of the images that the rows are about, in order of their first row."""
        return tuple(self.ids.to_pylist()) if self.cells is None else self.cells.images

    @property
    def numeric(self) -> bool:
        """Whether cells are numbers to compute with, not names."""
        return self.kind in ("probabilities", "score", "value", "long")

    @property
    def written(self) -> tuple[str, ...]:
        """What is written for each class, in their order."""
        return self.spelled or self.classes
