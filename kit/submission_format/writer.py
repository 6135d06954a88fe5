"""FinalPredictions -> the bytes of a file to hand in, a batch of rows at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.predictions import FinalPredictions
from kit.submission_format.kinds import kinds
from kit.submission_format.spec import Look, SubmissionFormat

BATCH = 1 << 17  # rows that are made at once
THREADS = 2


def render(answers: FinalPredictions, form: SubmissionFormat) -> Iterator[bytes | memoryview]:
    """Yield the file piece by piece: the form's header, then its ids in its order, one row each.

    Args:
        answers: In the order of ``form.images``.
    """
    yield _header(form)
    with ThreadPoolExecutor(THREADS) as pool:
        batches = (pool.submit(_rows, *part) for part in _parts(answers, form))
        ahead: deque[Future[memoryview]] = deque(islice(batches, THREADS))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(islice(batches, 1))


def text_of(answers: FinalPredictions, form: SubmissionFormat) -> str:
    """Return the whole file as text."""
    return b"".join(render(answers, form)).decode()


def write(path: Path, answers: FinalPredictions, form: SubmissionFormat) -> None:
    """Write the whole file to ``path``, over whatever is there."""
    with path.open("wb") as file:
        file.writelines(render(answers, form))


def _parts(
    answers: FinalPredictions, form: SubmissionFormat
) -> Iterator[tuple[FinalPredictions, SubmissionFormat]]:
    for start in range(0, len(form), BATCH):
        rows = slice(start, start + BATCH)
        part = replace(form, ids=form.ids[rows], sample=None)
        if form.cells is None:
            yield FinalPredictions(answers.probs[rows], answers.decided[rows]), part
        else:
            cells = replace(form.cells, image=form.cells.image[rows], column=form.cells.column[rows])
            yield answers, replace(part, cells=cells)


def _rows(answers: FinalPredictions, form: SubmissionFormat) -> memoryview:
    """Return the lines of some rows.

    Text columns lie in memory as one run of bytes: joined, they are the file.
    """
    look, columns = form.look, list(kinds.get(form.kind).write(answers, form))
    columns.insert(form.id_position, form.ids.combine_chunks())
    ends = [""] * (len(columns) - 1) + [look.newline]
    always = [position in look.quoted for position in range(len(columns))]
    cells = [_finished(*each, look) for each in zip(columns, always, ends, strict=True)]
    return _bytes(pc.binary_join_element_wise(*cells, look.delimiter))


def _finished(column: pa.Array, always: bool, end: str, look: Look) -> pa.StringArray:
    """Return a column as it stands in the file: quoted where it must be, with what follows it.

    Of few different cells each is finished once.
    """
    if isinstance(column, pa.DictionaryArray):
        return pc.take(_finished(column.dictionary, always, end, look), column.indices)
    cells = _quoted(column, always, look)
    return pc.binary_join_element_wise(cells, "", end) if end else cells


def _quoted(cells: pa.StringArray, always: bool, look: Look) -> pa.StringArray:
    """Return cells with quotes around those that need them, or all: a quote in a cell is doubled."""
    special = [look.delimiter, '"', "\r", "\n"]
    text = bytes(_bytes(cells))
    needed = any(character.encode() in text for character in special)
    if not (always or needed):
        return cells
    around = pc.binary_join_element_wise('"', pc.replace_substring(cells, '"', '""'), '"', "")
    if always:
        return around
    odd = pc.match_substring_regex(cells, "[" + "".join(special) + "]")
    return pc.if_else(odd, around, cells)


def _bytes(column: pa.StringArray) -> memoryview:
    """Return the bytes of a column of text, one cell after the other."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(b"" if data is None else data)[ends[0] : ends[-1]]


def _header(form: SubmissionFormat) -> bytes:
    cells = _quoted(pa.array(form.header, pa.string()), form.look.quoted_header, form.look)
    return (form.look.delimiter.join(cells.to_pylist()) + form.look.newline).encode()
