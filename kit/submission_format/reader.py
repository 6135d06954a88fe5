"""Read a submission back as a leaderboard does: with Python's own CSV reader, rows matched by id.

The reader shares no code with the writer, so that it can prove what the writer wrote.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from kit.errors import KitError, counted
from kit.predictions import FinalPredictions
from kit.submission_format.spec import SubmissionFormat
from kit.tasks import Task

WHERE = "the submission"


def read_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a CSV text, the header first."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def read_back(text: str, form: SubmissionFormat, task: Task) -> FinalPredictions:
    """Return what a checked file says, in the order of ``form.images``, whatever the order of its rows.

    Raises:
        KitError: Header or ids are not those of the format.
    """
    header, *rows = read_rows(text, form.dialect.delimiter)
    if tuple(header) != form.header:
        raise KitError(
            WHERE,
            f"has the header {header[:5]}",
            f"The format has the header {form.header[:5]}",
            code="header_differs",
        )
    position = {sample_id: number for number, sample_id in enumerate(form.ids.to_pylist())}
    ordered: list[list[str] | None] = [None] * len(position)
    for row in rows:
        row_id = row[form.id_position]
        if row_id not in position:
            raise KitError(WHERE, f"has the id {row_id}", "The format has no such id", code="ids_unknown")
        before = ordered[position[row_id]]
        if before is not None and form.repeats is not None and _values(before, form) != _values(row, form):
            raise KitError(
                WHERE,
                f"has different rows for the id {row_id}",
                "Rows of one id are equal",
                code="rows_contradict",
            )
        ordered[position[row_id]] = row
    complete = [row for row in ordered if row is not None]
    if len(complete) < len(position) or len(rows) != form.num_rows:
        raise KitError(
            WHERE,
            f"has {counted(len(rows), 'row')}",
            f"The format has {form.num_rows}, for {counted(len(position), 'id')}",
            code="ids_missing",
        )
    by_name = dict(zip(header, zip(*complete, strict=True), strict=True))
    return form.kind.read([by_name[name] for name in form.columns], form, task)


def _values(row: Sequence[str], form: SubmissionFormat) -> list[str]:
    """Return what a row says of its id."""
    return [row[form.header.index(name)] for name in form.columns]
