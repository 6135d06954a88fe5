"""A file to hand in read back as a leaderboard reads it: Python's own CSV reader, and rows that meet by id.

It shares nothing with the writer but the form.
"""

from __future__ import annotations

import csv
import io

from kit.errors import KitError
from kit.predictions import FinalPredictions
from kit.submission_format.kinds import kinds
from kit.submission_format.spec import SubmissionFormat
from kit.tasks import Task


def read_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a CSV text, the header first."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def read_back(text: str, form: SubmissionFormat, task: Task) -> FinalPredictions:
    """Return what a checked file says, in the order of ``form.images``, wherever its rows stand.

    Raises:
        KitError: Its header or its ids are not the form's.
    """
    header, *rows = read_rows(text, form.look.delimiter)
    if tuple(header) != form.header:
        raise KitError("the file", f"begins with {header[:5]}", f"The form begins with {form.header[:5]}")
    position = {sample_id: number for number, sample_id in enumerate(form.ids.to_pylist())}
    ordered: list[list[str] | None] = [None] * len(position)
    for row in rows:
        if row[form.id_position] not in position:
            raise KitError("the file", f"has the id {row[form.id_position]}", "The form has no such id")
        ordered[position[row[form.id_position]]] = row
    lost = [sample_id for sample_id, number in position.items() if ordered[number] is None]
    if lost or len(rows) != len(position):
        raise KitError("the file", f"has {len(rows)} rows", f"The form has {len(position)}, one per id")
    columns = list(zip(*(row for row in ordered if row is not None), strict=True))
    del columns[form.id_position]
    return kinds.get(form.kind).read(columns, form, task)
