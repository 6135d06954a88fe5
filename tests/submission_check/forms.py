"""A format of every kind, and a valid file of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kit.submission_format.kinds import UNKNOWN_KIND, submission_kinds
from kit.submission_format.spec import CsvDialect, LongRows, SubmissionFormat, text_column

IDS = ("a1.png", "a2.png", "b,3.png", "007.png")
NAMES = ("bee", "cat", "red fox")
GRADES = tuple(str(grade) for grade in range(12))


def form(kind, columns, ids=IDS, classes=NAMES, **more) -> SubmissionFormat:
    entry = submission_kinds.get(kind) if kind in submission_kinds else UNKNOWN_KIND
    return SubmissionFormat(("id", *columns), "id", entry, text_column(list(ids)), tuple(classes), **more)


@dataclass(frozen=True)
class Good:
    """A format, and the cells of a valid file of it: one row per id."""

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


LABEL = Good(form("label", ["label"]), (("cat",), ("bee",), ("red fox",), ("cat",)))
GRADE = Good(form("label", ["label"], classes=GRADES), (("0",), ("11",), ("2",), ("10",)))
SPELLED = Good(
    form("label", ["label"], classes=("0", "1"), spelled=("False", "True")),
    (("True",), ("False",), ("True",), ("False",)),
)
FLAGS = Good(
    form("flags", NAMES, exclusive=False, words=("no", "yes")),
    (("no", "yes", "no"), ("no", "no", "no"), ("yes", "yes", "no"), ("no", "no", "yes")),
)
SHARES = Good(
    form("probabilities", NAMES),
    (("0.5", "0.25", "0.25"), ("0", "0", "1"), ("0.1", "0.2", "0.7"), ("1e-3", "0.999", "0")),
)
CHANCES = Good(
    form("probabilities", NAMES, exclusive=False),
    (("0.5", "0.25", "0.5"), ("0", "1", "1"), ("0.1", "0.9", "0.7"), ("0.001", "0.4", "0")),
)
SCORE = Good(form("score", ["p"], classes=("no", "yes")), (("0.5",), ("1",), ("0",), ("0.123456789",)))
SETS = Good(
    form("labels", ["labels"], classes=("rust", "scab", "rot"), exclusive=False),
    (("rust scab",), ("rot",), ("scab",), ("rust scab rot",)),
)
RANKS = Good(
    form("top_k", ["ids"], classes=("x", "y", "z", "w"), most=3),
    (("x y z",), ("y z x",), ("w x y",), ("z w x",)),
)
VALUE = Good(
    form("value", ["v"], classes=tuple(str(v) for v in range(1, 101)), low=1.0, high=100.0),
    (("20.5",), ("100",), ("1.0",), ("55.123",)),
)
JOINED = LongRows((), np.array([]), np.array([])).of(("s1", "s2"), 2)
LONG = Good(
    form(
        "long",
        ["p"],
        JOINED.row_ids(("C1", "C2")).to_pylist(),
        ("C1", "C2"),
        exclusive=False,
        long_rows=JOINED,
    ),
    (("0.5",), ("0.1",), ("0.9",), ("0",)),
)
SAMPLE = (text_column(["0.5", "0.5", "0.5", "0.5"]),)
ANY_NUMBER = Good(form("any", ["v"], classes=(), sample=SAMPLE), (("12.5",), ("-3",), ("1e9",), ("0",)))
ANY_TEXT = Good(
    form("any", ["v"], classes=(), sample=(text_column(["cat", "=1+1", "", "cat"]),)),
    (("dog",), ("=1+1",), ("",), ("a b",)),
)
TABS = Good(replace(LABEL.form, dialect=CsvDialect(delimiter="\t")), LABEL.cells)

ALL = {
    "label": LABEL,
    "grade": GRADE,
    "spelled": SPELLED,
    "flags": FLAGS,
    "shares": SHARES,
    "chances": CHANCES,
    "score": SCORE,
    "sets": SETS,
    "ranks": RANKS,
    "value": VALUE,
    "long": LONG,
    "any number": ANY_NUMBER,
    "any text": ANY_TEXT,
}
