"""Write predictions as the bytes of a submission, a batch of rows at a time."""

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
from kit.submission_format.spec import CsvDialect, SubmissionFormat

BATCH = 1 << 17  # rows
THREADS = 2


def render(predictions: FinalPredictions, form: SubmissionFormat) -> Iterator[bytes | memoryview]:
    """Yield the file piece by piece: the header, then the rows, in the order of the format.

    Args:
        predictions: In the order of ``form.images``.
    """
    yield _header(form)
    with ThreadPoolExecutor(THREADS) as pool:
        batches = (pool.submit(_rows, *part) for part in _parts(predictions, form))
        ahead: deque[Future[memoryview]] = deque(islice(batches, THREADS))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(islice(batches, 1))


def text_of(predictions: FinalPredictions, form: SubmissionFormat) -> str:
    """Return the whole file as text."""
    return b"".join(render(predictions, form)).decode()


def write(path: Path, predictions: FinalPredictions, form: SubmissionFormat) -> None:
    """Write the whole file to ``path``, replacing it."""
    with path.open("wb") as file:
        file.writelines(render(predictions, form))


def _parts(
    predictions: FinalPredictions, form: SubmissionFormat
) -> Iterator[tuple[FinalPredictions, SubmissionFormat]]:
    for start in range(0, form.num_rows, BATCH):
        rows = slice(start, start + BATCH)
        numbers = {name: column[rows] for name, column in form.row_numbers.items()}
        ids = form.ids[rows] if form.repeats is None else form.ids.take(pa.array(form.repeats[rows]))
        part = replace(form, ids=ids, repeats=None, row_numbers=numbers, sample=None)
        if form.long_rows is None:
            at = rows if form.repeats is None else form.repeats[rows]
            yield FinalPredictions(predictions.probs[at], predictions.decided[at]), part
        else:
            long_rows = form.long_rows
            long_rows = replace(long_rows, image=long_rows.image[rows], column=long_rows.column[rows])
            yield predictions, replace(part, long_rows=long_rows)


def _rows(predictions: FinalPredictions, form: SubmissionFormat) -> memoryview:
    """Return the lines of some rows.

    Arrow stores a text column as one run of bytes, so that joined columns are the bytes of the file.
    """
    dialect, written = form.dialect, iter(form.kind.write(predictions, form))
    copied = {form.id_column: form.ids, **form.row_numbers}
    columns = [copied[n].combine_chunks() if n in copied else next(written) for n in form.header]
    ends = [""] * (len(columns) - 1) + [dialect.newline]
    always = [position in dialect.quoted for position in range(len(columns))]
    cells = [_quoted_column(*each, dialect) for each in zip(columns, always, ends, strict=True)]
    return _bytes(pc.binary_join_element_wise(*cells, dialect.delimiter))


def _quoted_column(column: pa.Array, always: bool, end: str, dialect: CsvDialect) -> pa.StringArray:
    """Return the cells of a column as the file has them: quoted, and followed by ``end``.

    Each distinct cell of a dictionary array is quoted once.
    """
    if isinstance(column, pa.DictionaryArray):
        return pc.take(_quoted_column(column.dictionary, always, end, dialect), column.indices)
    cells = _quoted(column, always, dialect)
    return pc.binary_join_element_wise(cells, "", end) if end else cells


def _quoted(cells: pa.StringArray, always: bool, dialect: CsvDialect) -> pa.StringArray:
    """Return cells, quoted where needed or ``always``; quotation marks inside are doubled."""
    special = [dialect.delimiter, '"', "\r", "\n"]
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
    """Return the bytes of a text column, cell after cell."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(b"" if data is None else data)[ends[0] : ends[-1]]


def _header(form: SubmissionFormat) -> bytes:
    cells = _quoted(pa.array(form.header, pa.string()), form.dialect.quoted_header, form.dialect)
    return (form.dialect.delimiter.join(cells.to_pylist()) + form.dialect.newline).encode()
