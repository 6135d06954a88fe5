"""Cells that are to be classes: which are none, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import first_few
from kit.submission_check.numbers import NO_VALUE, Cells, is_formula, is_number
from kit.submission_check.problem_codes import Problems, shown
from kit.submission_format.infer_kind import SEPARATORS
from kit.submission_format.kinds import meant
from kit.submission_format.spec import SubmissionFormat

INTEGER = re.compile(r"\d+(\.0*)?")
HARMLESS = ("", "too_few_labels", "repeated_label")  # cells whose classes are still known


@dataclass(frozen=True)
class Vocabulary:
    """The words that cells may say.

    Attributes:
        words: The words in their order.
        known: The same, to look up.
        meanings: What they mean apart from their spelling.
        numbered: Whether all of them are whole numbers.
    """

    words: tuple[str, ...]
    known: frozenset[str]
    meanings: frozenset[str]
    numbered: bool

    @classmethod
    def of(cls, words: Sequence[str]) -> Vocabulary:
        """Return that of some words."""
        return cls(
            words=tuple(words),
            known=frozenset(words),
            meanings=frozenset(map(meant, words)),
            numbered=all(INTEGER.fullmatch(word) for word in words),
        )

    def positions(self, column: pa.ChunkedArray | pa.Array) -> np.ndarray:
        """Return which word each cell is, (N,), −1 for none."""
        at = pc.index_in(column, value_set=pa.array(self.words, pa.string())).fill_null(-1)
        return np.asarray(at.to_numpy())

    def fault(self, text: str) -> str:
        """Return the code of what is wrong with a cell that should be a word; empty if nothing is."""
        if text in self.known:
            return ""
        if (plain := _plain_fault(text)) and plain != "formula":
            return plain
        if meant(text) in self.meanings:
            return "label_spelling"
        number = bool(INTEGER.fullmatch(text.strip()))
        if number and not self.numbered and float(text) <= len(self.known):
            return "indices_for_names"
        if is_formula(text):
            return "formula"
        return "names_for_indices" if self.numbered and not is_number(text) else "unknown_label"


def read_classes(cells: Cells, form: SubmissionFormat, problems: Problems) -> np.ndarray | None:
    """Return the class that each row names first, (N,), −1 for none; None if any cell is no class.

    What is wrong with the cells is told.
    """
    vocabulary = Vocabulary.of(form.written)
    column = cells.columns[0]
    if form.kind == "label":
        classes = vocabulary.positions(column)
        faults = _tell(cells, 0, np.flatnonzero(classes < 0), vocabulary.fault, form, problems)
    else:
        found = [_named_first(chunk, form, vocabulary) for chunk in column.chunks]
        classes = np.concatenate([first for first, _ in found])
        odd = np.flatnonzero(np.concatenate([odd for _, odd in found]))
        faults = _tell(cells, 0, odd, lambda text: _set_fault(text, form, vocabulary), form, problems)
    return None if faults - {*HARMLESS} else classes


def _named_first(
    cells: pa.StringArray, form: SubmissionFormat, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class that each of some cells names first, (N,), and which need a closer look, (N,) bool."""
    parts = pc.split_pattern(cells, form.separator)
    counts = np.asarray(pc.list_value_length(parts).to_numpy(zero_copy_only=False))
    named = vocabulary.positions(parts.flatten())
    row = np.repeat(np.arange(len(cells)), counts)
    odd = np.bincount(row[named < 0], minlength=len(cells)) > 0
    odd[row[1:][_again(row * (len(vocabulary.words) + 1) + named)]] = True
    if form.most is not None:
        most = min(form.most, len(vocabulary.words))
        odd |= counts > most if form.kind == "labels" else counts != most
    return named[np.cumsum(counts) - counts], odd


def _again(keys: np.ndarray) -> np.ndarray:
    """Return where a key (N,) of a row has occurred in it before, (N - 1,) bool, rows being in order."""
    return np.asarray(np.diff(np.sort(keys)) == 0)


def check_flags(cells: Cells, form: SubmissionFormat, problems: Problems) -> np.ndarray | None:
    """Return yes and no as numbers (N, K); None if any cell is neither, which is told."""
    vocabulary = Vocabulary.of(form.words)
    given = [vocabulary.positions(column) for column in cells.columns]
    faults = [
        _tell(cells, position, np.flatnonzero(flags < 0), vocabulary.fault, form, problems)
        for position, flags in enumerate(given)
    ]
    return None if any(faults) else np.stack(given, axis=1).astype(np.float64)


def check_text(cells: Cells, position: int, form: SubmissionFormat, problems: Problems) -> None:
    """Tell what is wrong with the cells of a column of which only the sample is known."""
    known = form.sample[position] if form.sample is not None else pa.chunked_array([], pa.string())
    odd = pc.match_substring_regex(cells.columns[position], r"^[\s=@]|^\s*$|^\s*<?[-+]?[iInN]")
    rows = np.flatnonzero(np.asarray(odd.to_numpy()))
    allowed = frozenset(pc.unique(known).to_pylist()) if len(rows) else frozenset()
    _tell(cells, position, rows, lambda text: "" if text in allowed else _plain_fault(text), form, problems)


def _plain_fault(text: str) -> str:
    """Return what is wrong with a cell whatever it should say."""
    if not text.strip():
        return "blank"
    if text.strip().casefold() in NO_VALUE:
        return "not_finite"
    return "formula" if is_formula(text) and text[0] not in "+-" else ""


def _set_fault(text: str, form: SubmissionFormat, vocabulary: Vocabulary) -> str:
    """Return what is wrong with a cell that may hold several classes."""
    if not text.strip():
        return "" if form.kind == "labels" and form.blank and text == "" else "blank"
    if text == form.fallback:
        return ""
    named = (text.strip() if form.separator.isspace() else text).split(form.separator)
    faults = [fault for word in named if (fault := vocabulary.fault(word))]
    if faults:
        return "label_separator" if _is_otherwise_separated(text, form, vocabulary) else faults[0]
    if len(set(named)) < len(named):
        return "repeated_label"
    if form.most is not None and len(named) > form.most:
        return "too_many_labels"
    few = (
        form.kind == "top_k" and form.most is not None and len(named) < min(form.most, len(vocabulary.known))
    )
    return "too_few_labels" if few else ""


def _is_otherwise_separated(text: str, form: SubmissionFormat, vocabulary: Vocabulary) -> bool:
    others = [separator for separator in SEPARATORS if separator != form.separator]
    parts = [[part.strip() for part in text.split(separator)] for separator in (*others, form.separator)]
    return any(len(named) > 1 and set(named) - {""} <= vocabulary.known for named in parts)


def _tell(
    cells: Cells,
    position: int,
    rows: np.ndarray,
    fault_of: Callable[[str], str],
    form: SubmissionFormat,
    problems: Problems,
) -> set[str]:
    """Note each fault of some rows of a column once, with the first row that has it, and return their codes.

    Each of the different cells is judged once.
    """
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
    known = form.words if form.kind == "flags" else form.written
    return f" ({shown(first_few(list(known)))})"


DETAILS: dict[str, Callable[[SubmissionFormat], str]] = {
    "unknown_label": _classes_of,
    "label_spelling": _classes_of,
    "indices_for_names": _classes_of,
    "names_for_indices": _classes_of,
    "too_many_labels": lambda form: f": {form.most}",
    "too_few_labels": lambda form: f": {form.most}",
    "label_separator": lambda form: f" than '{form.separator}'",
}
