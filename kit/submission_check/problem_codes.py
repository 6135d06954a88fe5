"""What can be wrong with a file to hand in: a table of codes, each with its meaning and remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]
LONGEST = 80  # characters of an example


@dataclass(frozen=True)
class Code:
    """One kind of problem: an ``error`` would be refused or scored wrong, a ``warning`` is only odd."""

    severity: Severity
    meaning: str
    remedy: str


CODES: dict[str, Code] = {
    # The file
    "empty": Code("error", "the file has no row", "Write it again: kit submit."),
    "too_large": Code("error", "the file is larger than allowed", "Write fewer decimals, or drop columns."),
    "not_text": Code("error", "the file is no text", "Unpack it, or save it as CSV."),
    "encoding": Code("error", "the file is not UTF-8", "Save it as UTF-8."),
    "bom": Code(
        "warning",
        "the file begins with a byte-order mark",
        "Write it with encoding='utf-8', not 'utf-8-sig'.",
    ),
    "nul_bytes": Code("error", "the file holds NUL bytes", "Write it again: it was cut or is no text."),
    "delimiter": Code("error", "cells are separated by something else", "Separate them as the sample does."),
    "unclosed_quote": Code("error", "a quotation mark does not close", 'Close it, or double it: "".'),
    "ragged": Code("error", "rows have another number of cells than the header", "Fill or cut them."),
    # The header
    "no_header": Code("error", "the first line is a row", "Write the sample's first line before it."),
    "header_order": Code("error", "the columns stand in another order", "Order them as in the sample."),
    "header_name": Code("error", "columns are called otherwise", "Call them exactly as in the sample."),
    "index_column": Code("error", "there is an index column in front", "Write to_csv(index=False)."),
    "extra_columns": Code("error", "columns are not asked for", "Drop them."),
    "missing_columns": Code("error", "columns are missing", "Every column of the sample is there."),
    "duplicate_columns": Code("error", "columns have the same name", "Keep one of each."),
    # The ids
    "missing_ids": Code("error", "ids are missing", "Every id of the sample has one row."),
    "extra_ids": Code("error", "ids are not asked for", "Remove their rows."),
    "duplicate_ids": Code("error", "ids have more than one row", "Keep one of each."),
    "ids_extension": Code("error", "ids differ in their file ending", "Write the ending as the sample does."),
    "ids_case": Code("error", "ids differ in upper and lower case", "Write ids as the sample does."),
    "ids_padding": Code(
        "error", "ids differ in zeros, as if read as numbers", "Read ids as text: read_csv(dtype=str)."
    ),
    "ids_space": Code("error", "ids differ in white space", "Write ids without it: str.strip()."),
    "ids_path": Code("error", "ids differ in a folder in front", "Write ids as the sample does: Path.name."),
    "ids_unicode": Code(
        "error",
        "ids differ in their Unicode normal form",
        "Take ids from the sample, not from file names.",
    ),
    # Values
    "blank": Code("error", "rows have a blank value", "Every row has its values."),
    "not_finite": Code("error", "values are missing or infinite", "Every value is a number or a class."),
    "not_a_number": Code("error", "values are no numbers", "Write plain numbers such as 0.25."),
    "decimal_comma": Code("error", "numbers have a decimal comma", "Write a point: 0.5."),
    "thousands": Code("error", "numbers have thousands separators", "Write 1234.5 for 1,234.5."),
    "percent": Code("error", "numbers have a percent sign", "Write 0.12 for 12%."),
    "out_of_range": Code("error", "values are out of range", "Look at what was written."),
    "logits": Code("error", "values look like logits", "Apply softmax or sigmoid."),
    "percentages": Code("error", "probabilities look like percentages", "Divide them by 100."),
    "row_sum": Code("error", "rows of probabilities do not sum to 1", "Divide each row by its sum."),
    "row_sum_rounding": Code(
        "warning", "rows of probabilities do not sum to 1 within 1e-6, for rounding", "Write more decimals."
    ),
    "unknown_label": Code("error", "labels are no class", "Write class names as the training data does."),
    "label_spelling": Code("error", "labels are spelled otherwise", "Write class names as the sample does."),
    "indices_for_names": Code(
        "error", "labels are numbers, and classes have names", "Write the class that each number stands for."
    ),
    "names_for_indices": Code(
        "error", "labels are names, and classes are numbers", "Write the number that stands for each class."
    ),
    "label_separator": Code(
        "error", "several labels are separated by something else", "Separate them as the sample does."
    ),
    "repeated_label": Code("error", "rows name a class twice", "Name each class once."),
    "too_many_labels": Code("error", "rows name more classes than may be", "Keep the first."),
    "too_few_labels": Code("warning", "rows name fewer classes than may be", "Further guesses cost nothing."),
    "formula": Code("error", "cells begin like a formula", "Write plain text: spreadsheets would run it."),
    # All rows together
    "is_sample": Code("warning", "every value is that of the sample file", "Predict first."),
    "constant": Code("warning", "every row has the same values", "Look at the predictions."),
    "one_class": Code("warning", "every row says the same class", "Look at the predictions."),
    # Beside what else is known
    "labels_permuted": Code(
        "error", "classes were numbered in another order", "Number them in one order: kit submit does."
    ),
    "rows_permuted": Code(
        "error", "predictions stand beside other ids", "Join predictions and ids by id, never by position."
    ),
    "shares_far": Code("warning", "classes are far more or less frequent", "Look at the predictions."),
    "same_as_previous": Code(
        "warning", "it is the same as the previous submission", "It would score the same."
    ),
    "unlike_previous": Code("warning", "it has nothing to do with the previous one", "Compare them."),
    "stale_sample": Code(
        "error", "the sample does not list exactly the test images", "Download sample and images anew."
    ),
}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file.

    Attributes:
        code: One of ``CODES``; stable, for scripts.
        count: How many rows, cells, ids or columns it concerns.
        first: The first example.
        message: What is wrong, in this file.
    """

    code: str
    severity: Severity
    count: int
    first: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        if self.code not in CODES or self.severity != CODES[self.code].severity:
            raise ValueError(f"there is no code {self.code} of severity {self.severity}")

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


@dataclass
class Problems:
    """What is found on the way, each code once."""

    found: dict[str, Problem] = field(default_factory=dict)

    def add(self, code: str, count: int, first: str, detail: str = "", remedy: str = "") -> None:
        """Note a problem; one that is there already counts more.

        Args:
            detail: What to add to the code's meaning.
            remedy: What to say instead of the code's own.
        """
        known = CODES[code]
        message = f"{known.meaning}{detail}"
        before = self.found.get(code)
        if before is not None:
            count, first, message = before.count + count, before.first, before.message
        self.found[code] = Problem(code, known.severity, count, first, message, remedy or known.remedy)

    def __contains__(self, code: str) -> bool:
        return code in self.found

    def __bool__(self) -> bool:
        return bool(self.found)

    def listed(self) -> list[Problem]:
        """Return all, errors first, in the order of the table."""
        order = {code: number for number, code in enumerate(CODES)}
        return sorted(self.found.values(), key=lambda p: (p.severity, order[p.code]))


def shown(text: object) -> str:
    """Return a cell or name for people: what cannot be seen is escaped, what is long is cut."""
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[: LONGEST + 1])
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 3] + "..."
