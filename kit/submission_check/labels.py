"""Check cells that must be classes, and find the probable cause of wrong cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import first_few
from kit.submission_check.numbers import NO_VALUE, ValueColumns, is_formula, is_number
from kit.submission_check.problem_codes import Problems, printable
from kit.submission_format.spec import SubmissionFormat
from kit.submission_format.spelling import SEPARATORS, normalize_spelling

INTEGER = re.compile(r"\d+(\.0*)?")
HARMLESS = {"", "too_few_labels", "repeated_label"}  # the classes of such cells are still known


@dataclass(frozen=True)
class Vocabulary:
    """The words that cells may contain.

    Attributes:
        words: The words in order.
        known: The same as a set.
        normalized: The words without their spelling.
        numbered: Whether all words are integers.
    """

    words: tuple[str, ...]
    known: frozenset[str]
    normalized: frozenset[str]
    numbered: bool

    @classmethod
    def of(cls, words: Sequence[str]) -> Vocabulary:
        """Return the vocabulary of some words."""
        return cls(
            words=tuple(words),
            known=frozenset(words),
            normalized=frozenset(map(normalize_spelling, words)),
            numbered=all(INTEGER.fullmatch(word) for word in words),
        )

    def positions(self, column: pa.ChunkedArray | pa.Array) -> np.ndarray:
        """Return the position of each cell's word, (N,), −1 for an unknown one."""
        at = pc.index_in(column, value_set=pa.array(self.words, pa.string())).fill_null(-1)
        return np.asarray(at.to_numpy())

    def fault(self, text: str) -> str:
        """Return the problem code of a cell that must be one word; empty: none."""
        if text in self.known:
            return ""
        if (plain := _general_fault(text)) and plain != "formula":
            return plain
        if normalize_spelling(text) in self.normalized:
            return "label_spelling"
        number = bool(INTEGER.fullmatch(text.strip()))
        if number and not self.numbered and float(text) <= len(self.known):
            return "indices_for_names"
        if is_formula(text):
            return "formula"
        return "names_for_indices" if self.numbered and not is_number(text) else "unknown_label"


def read_classes(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> np.ndarray | None:
    """Return the first class of each row, (N,), −1 for none; None if a cell is wrong. Add the problems."""
    vocabulary = Vocabulary.of(form.written)
    column = cells.columns[0]
    if not form.kind.separated:
        classes = vocabulary.positions(column)
        faults = _add_faults(cells, 0, np.flatnonzero(classes < 0), vocabulary.fault, form, problems)
    else:
        found = [_first_classes(chunk, form, vocabulary) for chunk in column.chunks]
        classes = np.concatenate([first for first, _ in found])
        odd = np.flatnonzero(np.concatenate([odd for _, odd in found]))
        faults = _add_faults(cells, 0, odd, lambda text: _cell_fault(text, form, vocabulary), form, problems)
    return None if faults - HARMLESS else classes


def _first_classes(
    cells: pa.StringArray, form: SubmissionFormat, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first class of each cell, (N,), and the cells that may be wrong, (N,) bool."""
    parts = pc.split_pattern(cells, form.separator)
    counts = np.asarray(pc.list_value_length(parts).to_numpy(zero_copy_only=False))
    named = vocabulary.positions(parts.flatten())
    row = np.repeat(np.arange(len(cells)), counts)
    odd = np.bincount(row[named < 0], minlength=len(cells)) > 0
    odd[row[1:][_repeated(row * (len(vocabulary.words) + 1) + named)]] = True
    if form.most is not None:
        most = min(form.most, len(vocabulary.words))
        odd |= counts != most if form.kind.ranked else counts > most
    return named[np.cumsum(counts) - counts], odd


def _repeated(keys: np.ndarray) -> np.ndarray:
    """Return where a key (N,) repeats an earlier one, (N - 1,) bool; keys of one row are adjacent."""
    return np.asarray(np.diff(np.sort(keys)) == 0)


def check_flags(cells: ValueColumns, form: SubmissionFormat, problems: Problems) -> np.ndarray | None:
    """Return yes and no as 1 and 0, (N, K); None if a cell is neither. Add the problems."""
    vocabulary = Vocabulary.of(form.words)
    given = [vocabulary.positions(column) for column in cells.columns]
    faults = [
        _add_faults(cells, position, np.flatnonzero(flags < 0), vocabulary.fault, form, problems)
        for position, flags in enumerate(given)
    ]
    return None if any(faults) else np.stack(given, axis=1).astype(np.float64)


def check_text(cells: ValueColumns, position: int, form: SubmissionFormat, problems: Problems) -> None:
    """Add the problems of the cells of a text column of unknown kind."""
    known = form.sample[position] if form.sample is not None else pa.chunked_array([], pa.string())
    odd = pc.match_substring_regex(cells.columns[position], r"^[\s=@]|^\s*$|^\s*<?[-+]?[iInN]")
    rows = np.flatnonzero(np.asarray(odd.to_numpy()))
    allowed = frozenset(pc.unique(known).to_pylist()) if len(rows) else frozenset()
    _add_faults(
        cells, position, rows, lambda text: "" if text in allowed else _general_fault(text), form, problems
    )


def _general_fault(text: str) -> str:
    """Return the code of a cell that is wrong in any column; empty: none."""
    if not text.strip():
        return "blank"
    if text.strip().casefold() in NO_VALUE:
        return "not_finite"
    return "formula" if is_formula(text) and text[0] not in "+-" else ""


def _cell_fault(text: str, form: SubmissionFormat, vocabulary: Vocabulary) -> str:
    """Return the problem code of a cell that may contain several classes; empty: none."""
    if not text.strip():
        return "" if form.kind.allows_blank and form.blank and text == "" else "blank"
    if text == form.fallback:
        return ""
    named = (text.strip() if form.separator.isspace() else text).split(form.separator)
    faults = [fault for word in named if (fault := vocabulary.fault(word))]
    if faults:
        return "label_separator" if _has_other_separator(text, form, vocabulary) else faults[0]
    if len(set(named)) < len(named):
        return "repeated_label"
    if form.most is not None and len(named) > form.most:
        return "too_many_labels"
    if form.kind.ranked and form.most is not None and len(named) < min(form.most, len(vocabulary.known)):
        return "too_few_labels"
    return ""


def _has_other_separator(text: str, form: SubmissionFormat, vocabulary: Vocabulary) -> bool:
    others = [separator for separator in SEPARATORS if separator != form.separator]
    parts = [[part.strip() for part in text.split(separator)] for separator in (*others, form.separator)]
    return any(len(named) > 1 and set(named) - {""} <= vocabulary.known for named in parts)


def _add_faults(
    cells: ValueColumns,
    position: int,
    rows: np.ndarray,
    fault_of: Callable[[str], str],
    form: SubmissionFormat,
    problems: Problems,
) -> set[str]:
    """Add the problems in some rows of a column, and return their codes. Equal cells are checked once."""
    if not len(rows):
        return set()
    encoded = cells.columns[position].take(pa.array(rows)).combine_chunks().dictionary_encode()
    texts, which = encoded.dictionary.to_pylist(), np.asarray(encoded.indices.to_numpy())
    codes = np.array([fault_of(text) for text in texts])[which]
    for code in dict.fromkeys(codes[codes != ""].tolist()):
        at = np.flatnonzero(codes == code)
        first = cells.example(int(rows[at[0]]), texts[which[at[0]]])
        problems.add(code, len(at), first, DETAILS[code](form) if code in DETAILS else "")
    return set(codes.tolist()) - {""}


def _classes_of(form: SubmissionFormat) -> str:
    return f" ({printable(first_few(list(form.kind.vocabulary(form))))})"


DETAILS: dict[str, Callable[[SubmissionFormat], str]] = {
    "unknown_label": _classes_of,
    "label_spelling": _classes_of,
    "indices_for_names": _classes_of,
    "names_for_indices": _classes_of,
    "too_many_labels": lambda form: f": {form.most}",
    "too_few_labels": lambda form: f": {form.most}",
    "label_separator": lambda form: f" than '{form.separator}'",
}
