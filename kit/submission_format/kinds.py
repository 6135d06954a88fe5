"""What a row may say: each kind writes answers as cells, and reads from cells what a leaderboard reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kit.errors import KitError
from kit.metrics import Metric
from kit.metrics.likelihoods import expected_grade
from kit.predictions import FinalPredictions
from kit.registry import Registry
from kit.submission_format.numbers import fixed, fixed_shares, parsed, shortest
from kit.submission_format.spec import SubmissionFormat, strings
from kit.tasks import Task

RANKED = ("top_k", "map_at_k")  # metrics of the first few classes
FLOAT32 = 2.0**-23  # what a float32 near 1 cannot tell
TINY = 1e-9
GRADED = ("rmse", "mae")  # metrics of the expected grade
WORDS = (("false", "no", "f", "n"), ("true", "yes", "t", "y"))  # how no and yes are written


class Kind(Protocol):
    """What a row says."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Tell whether the metric can be told from what is written."""

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Return the cells of each column beside the id; answers are in the order of ``form.images``.

        Where there are few different ones, a column may be a dictionary array.
        """

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return what cells say, one list (N,) per column; rows in the order of ``form.ids``."""

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the images, (N,) bool, of which what was read is not what was to be written."""


kinds: Registry[Kind] = Registry("kind of submission")


def register_kind(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Return a decorator that files an instance of a class."""

    def add(kind: type[Kind]) -> type[Kind]:
        kinds.register(name)(kind())
        return kind

    return add


def numbers(values: np.ndarray, form: SubmissionFormat) -> pa.StringArray:
    """Return numbers (N,) as the form writes them."""
    text = shortest(values) if form.decimals is None else fixed(values, form.decimals)
    return _marked(text, form)


def _marked(text: pa.StringArray, form: SubmissionFormat) -> pa.StringArray:
    mark = form.look.decimal_mark
    return text if mark == "." else pc.replace_substring(text, ".", mark)


def _numbers_in(cells: Sequence[str], form: SubmissionFormat) -> np.ndarray:
    return np.array([parsed(cell, form.look.decimal_mark) for cell in cells], dtype=np.float32)


def _other_labels(answers: FinalPredictions, read: FinalPredictions) -> np.ndarray:
    return np.asarray((answers.decided != read.decided).reshape(len(read.decided), -1).any(axis=1))


def _other_numbers(wanted: np.ndarray, read: np.ndarray, form: SubmissionFormat) -> np.ndarray:
    """Return the rows in which numbers (N, ...) differ by more than the decimals of the form explain."""
    off = 0.0 if form.decimals is None else 10.0**-form.decimals + FLOAT32
    wide = wanted.astype(np.float64).reshape(len(wanted), -1)
    return np.asarray((np.abs(wide - read.reshape(wide.shape)) > off).any(axis=1))


def _sure(decided: np.ndarray, form: SubmissionFormat, task: Task) -> FinalPredictions:
    """Return decisions, of which a leaderboard knows nothing but themselves."""
    return FinalPredictions(task.one_hot(decided, len(form.classes)).astype(np.float32), decided)


@dataclass(frozen=True)
class _Meaning:
    """Which class a cell means, whoever wrote it: where it is spelled otherwise than in the data, loosely."""

    loose: bool
    index: dict[str, int]

    @classmethod
    def of(cls, form: SubmissionFormat) -> _Meaning:
        loose = bool(form.spelled)
        names = map(meant, form.classes) if loose else form.classes
        return cls(loose, {name: number for number, name in enumerate(names)})

    def __getitem__(self, cell: str) -> int:
        return self.index[meant(cell) if self.loose else cell]


def meant(cell: str) -> str:
    """Return what a cell means apart from its spelling: case, white space, ``1.0`` for 1, ``True`` for 1."""
    text = cell.strip().casefold()
    for value, words in enumerate(WORDS):
        if text in words:
            return str(value)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


@register_kind("label")
class _Label:
    """One class: its name, or a grade."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return metric.needs == "labels"

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        return [_named(answers.decided, form.written)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        index = _Meaning.of(form)
        return _sure(np.array([index[cell] for cell in columns[0]], dtype=np.int64), form, task)

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return _other_labels(answers, read)


@register_kind("flags")
class _Flags:
    """A column per class: yes or no."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return metric.needs == "labels"

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        given = _given(answers, form)
        return [_named(given[:, form.classes.index(name)], form.words) for name in form.columns]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        index = {word: value for value, word in enumerate(form.words)}
        given = _by_class([[index[cell] for cell in cells] for cells in columns], form, np.int64)
        return _sure(given.argmax(axis=1) if task.exclusive else given, form, task)

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return _other_labels(answers, read)


@register_kind("probabilities")
class _Probabilities:
    """A column per class: its probability."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return True

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        order = [form.classes.index(name) for name in form.columns]
        if form.decimals is None or not form.exclusive:
            return [numbers(answers.probs[:, c], form) for c in order]
        return [_marked(text, form) for text in fixed_shares(answers.probs[:, order], form.decimals)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        probs = _by_class([_numbers_in(cells, form) for cells in columns], form, np.float32)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return _other_numbers(answers.probs, read.probs, form)


@register_kind("score")
class _Score:
    """The probability of the second of two classes."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return True

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        return [numbers(answers.probs[:, 1], form)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        second = _numbers_in(columns[0], form)
        probs = np.stack([1 - second, second], axis=1)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return _other_numbers(answers.probs, read.probs, form)


@register_kind("labels")
class _Labels:
    """All classes of an image in one cell; none is the fallback, or a blank cell."""

    def _named(self, cell: str, form: SubmissionFormat) -> list[str]:
        """Return the classes that a cell names; a fallback that is no class names none."""
        if cell == form.fallback and cell not in form.classes:
            return []
        return [word for word in cell.split(form.separator) if word]

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return metric.needs == "labels"

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        images, classes = np.nonzero(_given(answers, form))
        ends = np.searchsorted(images, np.arange(len(answers.decided) + 1))
        words = pc.take(pa.array(form.written, pa.string()), pa.array(classes))
        cells = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), words), form.separator)
        if form.fallback is None:
            return [cells]
        return [pc.if_else(pc.equal(cells, ""), pa.scalar(form.fallback), cells)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        index = _Meaning.of(form)
        given = np.zeros((len(columns[0]), len(form.classes)), dtype=np.int64)
        for row, cell in enumerate(columns[0]):
            given[row, [index[word] for word in self._named(cell, form)]] = 1
        return _sure(given, form, task)

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return _other_labels(answers, read)


@register_kind("top_k")
class _TopK:
    """The likeliest classes in one cell, the likeliest first."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        if metric.kind in RANKED:
            return int(metric.options["k"]) <= _length(form)
        return metric.needs == "labels"

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        best = _best(answers, form)
        names = pa.array(form.written, pa.string())
        words = [pc.take(names, pa.array(np.ascontiguousarray(best[:, r]))) for r in range(best.shape[1])]
        return [words[0] if len(words) == 1 else pc.binary_join_element_wise(*words, form.separator)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return ranks as probabilities: each halves the one before it, and those not named have none."""
        index, probs = _Meaning.of(form), np.zeros((len(columns[0]), len(form.classes)), dtype=np.float32)
        for row, cell in enumerate(columns[0]):
            named = [index[word] for word in cell.split(form.separator) if word]
            probs[row, named] = 0.5 ** np.arange(1, len(named) + 1)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return np.asarray((_best(answers, form) != _best(read, form)).any(axis=1))


@register_kind("value")
class _Value:
    """One number: the expected grade, where the classes are consecutive whole numbers."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return metric.kind in GRADED

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        values = self._values(answers, form)
        text = (
            pc.cast(pa.array(values), pa.string()) if form.decimals is None else fixed(values, form.decimals)
        )
        return [_marked(text, form)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Return probabilities of the two grades around each number, such that it is what they expect."""
        values = np.array([parsed(cell, form.look.decimal_mark) for cell in columns[0]])
        grades = values - first_grade(form.classes)
        below = np.clip(np.floor(grades).astype(np.int64), 0, len(form.classes) - 2)
        rows, share = np.arange(len(grades)), grades - below
        probs = np.zeros((len(grades), len(form.classes)))
        probs[rows, below], probs[rows, below + 1] = 1 - share, share
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Return the rows that expect another grade, by more than the last bits of a sum."""
        off = TINY if form.decimals is None else 10.0**-form.decimals
        return np.asarray(np.abs(self._values(answers, form) - self._values(read, form)) > off)

    def _values(self, answers: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
        expected = expected_grade(answers.probs) + first_grade(form.classes)
        return np.asarray(np.clip(expected, form.low, form.high))


@register_kind("long")
class _Long:
    """A row per image and class: the probability."""

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        return True

    def write(self, answers: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        assert form.cells is not None  # a long form has them
        return [numbers(answers.probs[form.cells.image, form.cells.column], form)]

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        assert form.cells is not None  # a long form has them
        probs = np.zeros((len(form.cells.images), len(form.classes)), dtype=np.float32)
        probs[form.cells.image, form.cells.column] = _numbers_in(columns[0], form)
        return FinalPredictions(probs, task.decide(probs))

    def changed(
        self, answers: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        return _other_numbers(answers.probs, read.probs, form)


def first_grade(classes: Sequence[str]) -> int:
    """Return the first of classes that are consecutive whole numbers.

    Raises:
        KitError: They are not.
    """
    try:
        numbers = [int(name) for name in classes]
    except ValueError:
        numbers = []
    if len(numbers) < 2 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise KitError(
            "submission.kind",
            f"is value, and the classes are {', '.join(classes[:5])}",
            "A number can be expected of consecutive whole numbers alone",
            "Set submission.kind: label.",
        )
    return numbers[0]


def mirrored(form: SubmissionFormat, images: Sequence[str]) -> SubmissionFormat:
    """Return the form of other images, as if they were those to predict."""
    if form.cells is None:
        return replace(form, ids=strings(images), sample=None)
    cells = form.cells.of(images, len(form.classes))
    return replace(form, ids=cells.row_ids(form.classes), cells=cells, sample=None)


def _named(numbers: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    """Return numbers (N,) as the names they stand for, each kept once."""
    positions = pa.array(np.ascontiguousarray(numbers, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(positions, pa.array(names, pa.string()))


def _given(answers: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return which classes each image gets, (N, C), 0 or 1."""
    if answers.decided.ndim == 2:
        return answers.decided.astype(np.int64)
    given: np.ndarray = np.eye(len(form.classes), dtype=np.int64)[answers.decided]
    return given


def _by_class(columns: Sequence[Any], form: SubmissionFormat, kind: type) -> np.ndarray:
    """Return columns as a matrix (N, C) in the order of the classes."""
    order = [form.columns.index(name) for name in form.classes]
    return np.stack([np.asarray(columns[position], dtype=kind) for position in order], axis=1)


def _best(answers: FinalPredictions, form: SubmissionFormat) -> np.ndarray:
    """Return the likeliest classes of each image, (N, K), the likeliest first."""
    return np.argsort(-answers.probs, axis=1, kind="stable")[:, : _length(form)]


def _length(form: SubmissionFormat) -> int:
    return len(form.classes) if form.most is None else min(form.most, len(form.classes))
