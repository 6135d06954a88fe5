"""A format of every kind and a valid file for each, and the codes that a check of a text reports."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kit.submission_check.check import check_file
from kit.submission_check.context import CheckContext
from kit.submission_check.problem_codes import Problem
from kit.submission_format.kinds import UNKNOWN_KIND, submission_kinds
from kit.submission_format.spec import CsvDialect, LongRows, SubmissionFormat, text_column

IDS = ("a1.png", "a2.png", "b,3.png", "007.png")
CLASSES = ("bee", "cat", "red fox")
GRADES = tuple(str(grade) for grade in range(12))


def make_format(kind, columns, ids=IDS, classes=CLASSES, **more) -> SubmissionFormat:
    entry = submission_kinds.get(kind) if kind in submission_kinds else UNKNOWN_KIND
    return SubmissionFormat(("id", *columns), "id", entry, text_column(list(ids)), tuple(classes), **more)


@dataclass(frozen=True)
class ValidFile:
    """A format, and the cells of a valid file in this format: one row per id, without the id."""

    form: SubmissionFormat
    cells: tuple[tuple[str, ...], ...]

    def text(self, newline="\n") -> str:
        rows = [self.form.header, *self.rows]
        return newline.join(",".join(map(quoted, row)) for row in rows) + newline

    @property
    def rows(self) -> list[tuple[str, ...]]:
        return [(i, *cells) for i, cells in zip(self.form.ids.to_pylist(), self.cells, strict=True)]


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell


def check_text(tmp_path, valid: ValidFile, text: str | bytes, context=None) -> list[Problem]:
    """Write the text to a file and return the problems that the check finds."""
    path = tmp_path / "s.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return check_file(path, valid.form, context or CheckContext())


LABEL = ValidFile(make_format("label", ["label"]), (("cat",), ("bee",), ("red fox",), ("cat",)))
GRADE = ValidFile(make_format("label", ["label"], classes=GRADES), (("0",), ("11",), ("2",), ("10",)))
TRUE_FALSE = ValidFile(
    make_format("label", ["label"], classes=("0", "1"), spelled=("False", "True")),
    (("True",), ("False",), ("True",), ("False",)),
)
FLAGS = ValidFile(
    make_format("flags", CLASSES, exclusive=False, words=("no", "yes")),
    (("no", "yes", "no"), ("no", "no", "no"), ("yes", "yes", "no"), ("no", "no", "yes")),
)
PROBS = ValidFile(
    make_format("probabilities", CLASSES),
    (("0.5", "0.25", "0.25"), ("0", "0", "1"), ("0.1", "0.2", "0.7"), ("1e-3", "0.999", "0")),
)
MULTILABEL_PROBS = ValidFile(
    make_format("probabilities", CLASSES, exclusive=False),
    (("0.5", "0.25", "0.5"), ("0", "1", "1"), ("0.1", "0.9", "0.7"), ("0.001", "0.4", "0")),
)
SCORE = ValidFile(
    make_format("score", ["p"], classes=("no", "yes")), (("0.5",), ("1",), ("0",), ("0.123456789",))
)
LABEL_SETS = ValidFile(
    make_format("labels", ["labels"], classes=("rust", "scab", "rot"), exclusive=False),
    (("rust scab",), ("rot",), ("scab",), ("rust scab rot",)),
)
TOP_K = ValidFile(
    make_format("top_k", ["ids"], classes=("x", "y", "z", "w"), most=3),
    (("x y z",), ("y z x",), ("w x y",), ("z w x",)),
)
VALUE = ValidFile(
    make_format("value", ["v"], classes=tuple(str(v) for v in range(1, 101)), low=1.0, high=100.0),
    (("20.5",), ("100",), ("1.0",), ("55.123",)),
)
LONG_ROWS = LongRows((), np.array([]), np.array([])).of(("s1", "s2"), 2)
LONG = ValidFile(
    make_format(
        "long",
        ["p"],
        LONG_ROWS.row_ids(("C1", "C2")).to_pylist(),
        ("C1", "C2"),
        exclusive=False,
        long_rows=LONG_ROWS,
    ),
    (("0.5",), ("0.1",), ("0.9",), ("0",)),
)
SAMPLE = (text_column(["0.5", "0.5", "0.5", "0.5"]),)
ANY_NUMBER = ValidFile(
    make_format("any", ["v"], classes=(), sample=SAMPLE), (("12.5",), ("-3",), ("1e9",), ("0",))
)
ANY_TEXT = ValidFile(
    make_format("any", ["v"], classes=(), sample=(text_column(["cat", "=1+1", "", "cat"]),)),
    (("dog",), ("=1+1",), ("",), ("a b",)),
)
TABS = ValidFile(replace(LABEL.form, dialect=CsvDialect(delimiter="\t")), LABEL.cells)

VALID_FILES = {
    "label": LABEL,
    "grade": GRADE,
    "true false": TRUE_FALSE,
    "flags": FLAGS,
    "probs": PROBS,
    "multilabel probs": MULTILABEL_PROBS,
    "score": SCORE,
    "label sets": LABEL_SETS,
    "top k": TOP_K,
    "value": VALUE,
    "long": LONG,
    "any number": ANY_NUMBER,
    "any text": ANY_TEXT,
}
