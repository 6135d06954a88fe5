"""Whether a CSV may be handed in: every problem at once, each with a code, an example and a remedy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kit.submission.format import SubmissionFormat
from kit.submission.writer import read_submission

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a CSV.

    Attributes:
        code: Stable, for scripts.
        severity: An ``error`` would be refused or scored wrong; a ``warning`` is only odd.
        count: How many rows, ids or columns it concerns.
        first: The first example.
    """

    code: str
    severity: Literal["error", "warning"]
    count: int
    first: str
    message: str
    remedy: str

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def check_file(path: Path, form: SubmissionFormat) -> list[Problem]:
    """Return everything wrong with a CSV file, errors first; an empty list means it may be handed in.

    Raises:
        KitError: It cannot be read as a CSV at all.
    """
    return check_rows(read_submission(path, form.delimiter), form)


def check_rows(rows: list[list[str]], form: SubmissionFormat) -> list[Problem]:
    """Return everything wrong with the rows of a CSV, the header first; empty lines are passed over."""
    rows = [row for row in rows if row]
    if not rows:
        return [_error("empty", 1, "line 1", "the file is empty", "Write it again: kit submit.")]
    header, body = tuple(rows[0]), rows[1:]
    problems = _header_problems(header, form)
    width = len(form.header)
    ragged = [(line, row) for line, row in enumerate(body, start=2) if len(row) != width]
    if ragged and len(header) == width:
        line, row = ragged[0]
        what = f"rows have another number of cells than {width}"
        problems.append(
            _error("ragged", len(ragged), f"line {line}: {len(row)} cells", what, "Fill or cut them.")
        )
    whole = [row for row in body if len(row) == width]
    if len(header) != width:
        return problems
    problems += _id_problems([row[0] for row in whole], form)
    problems += _value_problems(whole, form)
    return sorted(problems, key=lambda problem: problem.severity)


def _error(code: str, count: int, first: str, message: str, remedy: str) -> Problem:
    return Problem(code, "error", count, first, message, remedy)


def _warning(code: str, count: int, first: str, message: str, remedy: str) -> Problem:
    return Problem(code, "warning", count, first, message, remedy)


def _header_problems(header: tuple[str, ...], form: SubmissionFormat) -> list[Problem]:
    if header == form.header:
        return []
    wanted = f"the header is not '{_joined(form.header, form)}'"
    remedy = "Write exactly that first line."
    if header and header[0] in set(form.ids):
        return [_error("no_header", 1, _joined(header, form), f"the first line is a row; {wanted}", remedy)]
    if len(header) == len(form.header) + 1 and header[1:] == form.header:
        remedy = "Write without the index: to_csv(index=False)."
        return [_error("index_column", 1, _joined(header, form), "there is an index column in front", remedy)]
    return [_error("header", 1, _joined(header, form), wanted, remedy)]


def _joined(cells: Sequence[str], form: SubmissionFormat) -> str:
    text = form.delimiter.join(cells)
    return text if len(text) <= 80 else text[:77] + "..."


def _id_problems(ids: list[str], form: SubmissionFormat) -> list[Problem]:
    wanted, found = set(form.ids), Counter(ids)
    missing = [i for i in form.ids if i not in found]
    extra = [i for i in found if i not in wanted]
    twice = [i for i, count in found.items() if count > 1]
    problems = []
    if missing:
        why = _why_missing(missing, extra)
        what = f"ids are missing{why}"
        problems.append(_error("missing_ids", len(missing), missing[0], what, "Every test id has one row."))
    if extra:
        what = "ids are not asked for"
        problems.append(
            _error("extra_ids", len(extra), extra[0], what, "Remove them, or write ids as the sample.")
        )
    if twice:
        problems.append(
            _error("duplicate_ids", len(twice), twice[0], "ids have more than one row", "Keep one.")
        )
    return problems


def _why_missing(missing: list[str], extra: list[str]) -> str:
    """Say in what the ids differ, where one rule turns those that are there into those that are not."""
    there = {e.strip() for e in extra}
    rules: dict[str, Callable[[str], bool]] = {
        "with white space around": lambda wanted: wanted in there,
        "without their ending": lambda wanted: _stem(wanted) in there,
        "without their leading zeros": lambda wanted: (wanted.lstrip("0") or "0") in there,
        "in another case": lambda wanted: wanted.lower() in lower,
        "with an ending that does not belong": lambda wanted: wanted in stems,
    }
    lower = {e.lower() for e in there}
    stems = {_stem(e) for e in there}
    how = next((how for how, matches in rules.items() if any(map(matches, missing))), None)
    return f"; they are there {how}" if how else ""


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _value_problems(rows: list[list[str]], form: SubmissionFormat) -> list[Problem]:
    blank = [row for row in rows if any(not cell.strip() for cell in row[1:])]
    problems = []
    if blank:
        what = "rows have a blank value"
        problems.append(_error("blank", len(blank), f"id {blank[0][0]}", what, "Every row has its values."))
    filled = [row for row in rows if all(cell.strip() for cell in row[1:])]
    if form.kind == "label":
        problems += _label_problems(filled, form)
    elif form.kind != "any" or _sample_is_numeric(form):
        problems += _number_problems(filled, form)
    if filled and form.sample is not None and all(tuple(r[1:]) == form.sample.get(r[0]) for r in filled):
        what = "every value is that of the sample file"
        problems.append(_warning("is_sample", len(filled), f"id {filled[0][0]}", what, "Predict first."))
    elif len(filled) > 1 and len({tuple(row[1:]) for row in filled}) == 1:
        first = _joined(filled[0], form)
        what = "every row has the same values"
        problems.append(_warning("constant", len(filled), first, what, "Look at the predictions."))
    return problems


def _label_problems(rows: list[list[str]], form: SubmissionFormat) -> list[Problem]:
    known = set(form.classes)
    odd = [row for row in rows if row[1] not in known]
    if not odd:
        return []
    sample_id, label = odd[0][0], odd[0][1]
    what = f"labels are none of the {len(form.classes)} classes"
    remedy = f"Write class names as the training data does, such as '{form.classes[0]}'."
    return [_error("unknown_label", len(odd), f"id {sample_id}: {label}", what, remedy)]


def _number_problems(rows: list[list[str]], form: SubmissionFormat) -> list[Problem]:
    problems = []
    numbers = [[_number(cell) for cell in row[1:]] for row in rows]
    text = [row for row, values in zip(rows, numbers, strict=True) if None in values]
    if text:
        what = "rows hold something that is no finite number"
        first = f"id {text[0][0]}: {_joined(text[0][1:], form)}"
        problems.append(_error("not_a_number", len(text), first, what, "Write plain numbers such as 0.25."))
    if form.kind == "any":
        return problems
    known = [(row, [v for v in values if v is not None]) for row, values in zip(rows, numbers, strict=True)]
    whole = [(row, values) for row, values in known if len(values) == len(form.columns)]
    outside = [row for row, values in whole if any(not 0 <= value <= 1 for value in values)]
    if outside:
        what = "rows have probabilities outside 0..1"
        first = f"id {outside[0][0]}: {_joined(outside[0][1:], form)}"
        problems.append(_error("out_of_range", len(outside), first, what, "Write probabilities, not logits."))
    elif form.kind == "probabilities" and form.exclusive:
        sums = [(row, math.fsum(values)) for row, values in whole]
        off = [(row, total) for row, total in sums if abs(total - 1) > SUM_TOLERANCE]
        if off:
            what = "rows of probabilities do not sum to 1"
            first = f"id {off[0][0]}: {off[0][1]:.4f}"
            problems.append(_error("row_sum", len(off), first, what, "Divide each row by its sum."))
    return problems


def _number(cell: str) -> float | None:
    try:
        value = float(cell) if "_" not in cell else math.nan  # float() reads 1_000; a leaderboard does not
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _sample_is_numeric(form: SubmissionFormat) -> bool:
    values: Iterable[tuple[str, ...]] = (form.sample or {}).values()
    return all(_number(cell) is not None for row in values for cell in row)
