"""A file beside the form it should have: everything that is wrong with it, at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from kit.errors import KitError
from kit.submission_check.compare import Content, compare, tell_previous
from kit.submission_check.context import NOTHING, Surroundings
from kit.submission_check.file import read_cells
from kit.submission_check.header import columns_by_name
from kit.submission_check.ids import rows_of_ids
from kit.submission_check.labels import check_flags, check_text, read_classes
from kit.submission_check.numbers import Cells, all_equal, check_numbers, numbers_alone, read_numbers
from kit.submission_check.problem_codes import Problem, Problems, shown
from kit.submission_format.spec import SubmissionFormat, strings

EVEN = 0.5
FEW = 20  # rows, of which all may well have the same class
FEWER = 3  # rows, of which all may well have the same numbers
ONE_CLASS = 1e-6  # what chance must make less likely


def check_file(path: Path, form: SubmissionFormat, around: Surroundings = NOTHING) -> list[Problem]:
    """Return everything wrong with a file, errors first; an empty list means it may be handed in.

    Args:
        around: What else is known, to compare it with.

    Raises:
        KitError: There is no such file, or it is a folder.
    """
    problems = Problems()
    _tell_stale(around, problems)
    content = _content(path, form, around, problems)
    if content is not None:
        compare(content, form, around, problems)
        if around.previous is not None and "is_sample" not in problems:
            _compare_previous(content, form, around.previous, problems)
    return problems.listed()


def _content(path: Path, form: SubmissionFormat, around: Surroundings, problems: Problems) -> Content | None:
    """Return what a file says, if it can be compared; tell what is wrong with it."""
    read = read_cells(path, form, problems, around.max_bytes)
    if read is None:
        return None
    by_name = columns_by_name(read.parsed, form, problems)
    number = max(map(len, by_name.values()), default=0)
    if number == 0:
        if by_name and not read.left_out:
            problems.add("empty", 1, "line 2")
        return None
    ids = by_name.pop(form.id_column, None)
    names, columns = tuple(by_name), tuple(by_name.values())
    if ids is None:
        _check_values(
            Cells(strings([f"of row {row + 2}" for row in range(number)]), names, columns), form, problems
        )
        return None
    rows = rows_of_ids(ids, columns, form, read.left_out, problems)
    cells = Cells(ids, names, columns)
    if not columns:
        return None
    classes, numbers = _check_values(cells, form, problems)
    _tell_alike(cells, rows, form, problems)
    content = _by_image(cells, rows, classes, numbers, form)
    if content is not None:
        _tell_one_class(content, form, around, problems)
    return content


def _check_values(
    cells: Cells, form: SubmissionFormat, problems: Problems
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the classes (N,) or the numbers (N, K) that cells say, None if they cannot be told.

    What is wrong with them is told.
    """
    if form.numeric:
        numbers = read_numbers(cells, form, problems)
        check_numbers(cells, numbers, form, problems)
        return None, numbers
    if form.kind == "flags":
        return None, check_flags(cells, form, problems)
    if form.kind in ("label", "labels", "top_k"):
        return read_classes(cells, form, problems), None
    for name, column in zip(cells.names, cells.columns, strict=True):
        alone = Cells(cells.ids, (name,), (column,))
        position = form.columns.index(name)
        if form.sample is not None and numbers_alone(form.sample[position], form.look.decimal_mark):
            read_numbers(alone, form, problems)
        else:
            check_text(alone, position, form, problems)
    return None, None


def _by_image(
    cells: Cells,
    rows: np.ndarray | None,
    classes: np.ndarray | None,
    numbers: np.ndarray | None,
    form: SubmissionFormat,
) -> Content | None:
    """Return what the rows say of images, columns in the order of the classes; None if some say nothing."""
    if len(cells.ids) != len(form) or (rows is not None and len(np.unique(rows[rows >= 0])) < len(form)):
        return None
    if numbers is not None:
        return _numbers_by_image(cells, rows, numbers, form)
    return None if classes is None else Content(rows, classes, None, cells.columns)


def _numbers_by_image(
    cells: Cells, rows: np.ndarray | None, numbers: np.ndarray, form: SubmissionFormat
) -> Content | None:
    if np.isnan(numbers).any():
        return None
    if form.kind == "long" and form.cells is not None:
        wide = np.zeros((len(form.cells.images), len(form.classes)))
        at = slice(None) if rows is None else rows
        wide[form.cells.image[at], form.cells.column[at]] = numbers[:, 0]
        return Content(None, None, wide)
    if form.kind == "score":
        return Content(rows, None, numbers, split=EVEN)
    if form.kind == "value" or cells.names == form.classes:
        return Content(rows, None, numbers)
    if set(cells.names) != set(form.classes):
        return None
    return Content(rows, None, numbers[:, [cells.names.index(name) for name in form.classes]])


def _tell_alike(cells: Cells, rows: np.ndarray | None, form: SubmissionFormat, problems: Problems) -> None:
    """Tell a file that is still the sample, or says the same of every row."""
    if _is_sample(cells, rows, form):
        problems.add("is_sample", len(cells.ids), _first_row(cells))
        return
    flags = form.kind == "flags" or cells.columns[0][0].as_py() in ("0", "1")
    few = FEW if flags else FEWER
    if len(cells.ids) >= few and form.kind not in ("label", "labels") and all_equal(cells.columns):
        problems.add("constant", len(cells.ids), _first_row(cells))


def _tell_one_class(
    content: Content, form: SubmissionFormat, around: Surroundings, problems: Problems
) -> None:
    """Tell a file of one class.

    Of two classes probabilities are looked at only beside predictions: those of a rare class may well all
    lie below a half.
    """
    if not form.exclusive or "constant" in problems or _may_be_rare(form, around):
        return
    decided = content.decided
    if decided is None:
        return
    only = int(decided[0])
    if only >= 0 and (decided == only).all() and _is_odd(len(decided), only, around.decided):
        problems.add("one_class", len(decided), f"'{shown(form.written[only])}'")


def _may_be_rare(form: SubmissionFormat, around: Surroundings) -> bool:
    return form.numeric and len(form.classes) == 2 and not around.predicted


def _is_odd(number: int, only: int, known: np.ndarray | None) -> bool:
    """Tell whether it is odd that all rows have one class, of as many as there are."""
    if known is None or known.sum() == 0:
        return number >= FEW
    share = (known[only] + 1) / (known.sum() + 2)
    return bool(number * np.log(share) < np.log(ONE_CLASS))


def _is_sample(cells: Cells, rows: np.ndarray | None, form: SubmissionFormat) -> bool:
    """Tell whether every cell is that of the sample, wherever its row stands."""
    if form.sample is None or len(cells.ids) != len(form) or cells.names != form.columns:
        return False
    if rows is None:
        return all(own.equals(there) for own, there in zip(cells.columns, form.sample, strict=True))
    if (rows < 0).any():
        return False
    at = pa.array(rows)
    return all(own.equals(there.take(at)) for own, there in zip(cells.columns, form.sample, strict=True))


def _first_row(cells: Cells) -> str:
    return cells.example(0, " ".join(str(column[0].as_py()) for column in cells.columns[:5]))


def _tell_stale(around: Surroundings, problems: Problems) -> None:
    for names, what in ((around.unlisted, "is not listed"), (around.vanished, "is no test image")):
        if names:
            problems.add("stale_sample", len(names), f"{shown(names[0])} {what}")


def _compare_previous(content: Content, form: SubmissionFormat, path: Path, problems: Problems) -> None:
    """Compare with the submission before, if that is one of the same form."""
    aside = Problems()
    try:
        before = _content(path, form, NOTHING, aside)
    except (KitError, OSError):
        return
    if before is not None and not any(p.severity == "error" for p in aside.listed()):
        tell_previous(content, before, path.name, problems)
