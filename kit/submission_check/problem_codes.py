"""The problems that the submission check finds: a table of codes, each with its meaning and remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]
LONGEST = 80  # characters of an example


@dataclass(frozen=True)
class ProblemCode:
    """A kind of problem: a file with an ``error`` is refused or scored wrong; a ``warning`` is suspicious.

    Attributes:
        whole_file: Whether the problem concerns the file as a whole, so that messages give no count.
    """

    severity: Severity
    meaning: str
    remedy: str
    whole_file: bool = False


CODES: dict[str, ProblemCode] = {
    # The file
    "empty": ProblemCode("error", "the file has no row", "Write it again: kit submit.", whole_file=True),
    "too_large": ProblemCode(
        "error", "the file is larger than allowed", "Write fewer decimals, or drop columns.", whole_file=True
    ),
    "not_text": ProblemCode(
        "error", "the file is not text", "Unpack it, or save it as CSV.", whole_file=True
    ),
    "encoding": ProblemCode("error", "the file is not UTF-8", "Save it as UTF-8.", whole_file=True),
    "bom": ProblemCode(
        "warning",
        "the file begins with a byte-order mark",
        "Write it with encoding='utf-8', not 'utf-8-sig'.",
        whole_file=True,
    ),
    "nul_bytes": ProblemCode(
        "error", "the file holds NUL bytes", "Write it again: it is damaged, or not text."
    ),
    "delimiter": ProblemCode(
        "error", "cells have another delimiter", "Use the delimiter of the sample.", whole_file=True
    ),
    "unclosed_quote": ProblemCode("error", "a quotation mark is not closed", 'Close it, or double it: "".'),
    "ragged": ProblemCode("error", "rows do not have the header's number of cells", "Fill or cut them."),
    # The header
    "no_header": ProblemCode(
        "error", "the header is missing", "Write the sample's first line before it.", whole_file=True
    ),
    "header_order": ProblemCode(
        "error", "the columns are in another order", "Order them as in the sample.", whole_file=True
    ),
    "header_name": ProblemCode("error", "columns have other names", "Name them exactly as the sample does."),
    "index_column": ProblemCode(
        "error", "the first column is an index", "Write to_csv(index=False).", whole_file=True
    ),
    "extra_columns": ProblemCode("error", "columns are not in the sample", "Drop them."),
    "missing_columns": ProblemCode("error", "columns are missing", "Add every column of the sample."),
    "duplicate_columns": ProblemCode("error", "columns have the same name", "Keep one of each."),
    # The ids
    "missing_ids": ProblemCode("error", "ids are missing", "Add one row for every id of the sample."),
    "extra_ids": ProblemCode("error", "ids are not in the sample", "Remove their rows."),
    "duplicate_ids": ProblemCode("error", "ids have several rows", "Keep one of each."),
    "ids_extension": ProblemCode(
        "error", "ids differ in their file suffix", "Write the suffix as the sample does."
    ),
    "ids_case": ProblemCode("error", "ids differ in upper and lower case", "Write ids as the sample does."),
    "ids_padding": ProblemCode(
        "error", "ids differ in zeros, as if read as numbers", "Read ids as text: read_csv(dtype=str)."
    ),
    "ids_space": ProblemCode("error", "ids differ in white space", "Write ids without it: str.strip()."),
    "ids_path": ProblemCode(
        "error", "ids differ in a leading folder", "Write ids as the sample does: Path.name."
    ),
    "ids_unicode": ProblemCode(
        "error",
        "ids differ in their Unicode normal form",
        "Take ids from the sample, not from file names.",
    ),
    # Values
    "blank": ProblemCode("error", "rows have a blank value", "Fill every cell."),
    "not_finite": ProblemCode(
        "error", "values are NaN, null or infinite", "Write a number or a class in every cell."
    ),
    "not_a_number": ProblemCode("error", "values are not numbers", "Write plain numbers such as 0.25."),
    "decimal_comma": ProblemCode("error", "numbers have a decimal comma", "Write a point: 0.5."),
    "thousands": ProblemCode("error", "numbers have thousands separators", "Write 1234.5 for 1,234.5."),
    "percent": ProblemCode("error", "numbers have a percent sign", "Write 0.12 for 12%."),
    "out_of_range": ProblemCode("error", "values are out of range", "Inspect the predictions."),
    "logits": ProblemCode("error", "values look like logits", "Apply softmax or sigmoid."),
    "percentages": ProblemCode("error", "probabilities look like percentages", "Divide them by 100."),
    "row_sum": ProblemCode("error", "rows of probabilities do not sum to 1", "Divide each row by its sum."),
    "row_sum_rounding": ProblemCode(
        "warning", "rounded rows of probabilities do not sum to 1 within 1e-6", "Write more decimals."
    ),
    "unknown_label": ProblemCode(
        "error", "labels are not classes", "Write class names as the training data does."
    ),
    "label_spelling": ProblemCode(
        "error", "labels have another spelling", "Write class names as the sample does."
    ),
    "indices_for_names": ProblemCode(
        "error", "labels are numbers, and classes have names", "Write the class that each number stands for."
    ),
    "names_for_indices": ProblemCode(
        "error", "labels are names, and classes are numbers", "Write the number that stands for each class."
    ),
    "label_separator": ProblemCode(
        "error", "several labels have another separator", "Use the separator of the sample."
    ),
    "repeated_label": ProblemCode("error", "rows contain a class twice", "Write each class once."),
    "too_many_labels": ProblemCode("error", "rows contain more classes than allowed", "Keep the first ones."),
    "too_few_labels": ProblemCode(
        "warning", "rows contain fewer classes than allowed", "Fill them: further guesses cost nothing."
    ),
    "formula": ProblemCode(
        "error", "cells begin like a formula", "Write plain text: a spreadsheet evaluates formulas."
    ),
    # All rows together
    "is_sample": ProblemCode(
        "warning",
        "every value is the same as in the sample file",
        "Replace the example values by predictions.",
        whole_file=True,
    ),
    "constant": ProblemCode(
        "warning", "every row has the same values", "Inspect the predictions.", whole_file=True
    ),
    "one_class": ProblemCode(
        "warning", "every row has the same class", "Inspect the predictions.", whole_file=True
    ),
    # Compared with predictions, class counts and the previous submission
    "labels_permuted": ProblemCode(
        "error", "classes were numbered in another order", "Number them in one order: kit submit does."
    ),
    "rows_permuted": ProblemCode(
        "error",
        "predictions are in the rows of other ids",
        "Join predictions and ids by id, never by position.",
    ),
    "shares_far": ProblemCode("warning", "classes are far more or less frequent", "Inspect the predictions."),
    "far_from_training": ProblemCode(
        "warning",
        "numbers are far outside the range of the training numbers",
        "Inspect these predictions, or keep them in the range: `decide: [{name: clip}]`.",
    ),
    "same_as_previous": ProblemCode(
        "warning",
        "the file is the same as the previous submission",
        "It would score the same.",
        whole_file=True,
    ),
    "unlike_previous": ProblemCode(
        "warning", "the file is unrelated to the previous submission", "Compare the two.", whole_file=True
    ),
    "stale_sample": ProblemCode(
        "error", "the sample does not list exactly the test images", "Download sample and images again."
    ),
}


@dataclass(frozen=True)
class Problem:
    """One problem of a file.

    Attributes:
        code: One of ``CODES``; stable, for scripts.
        count: The number of affected rows, cells, ids or columns.
        first: The first example.
        message: The code's meaning, with details of this file.
    """

    code: str
    severity: Severity
    count: int
    first: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        if self.code not in CODES or self.severity != CODES[self.code].severity:
            raise ValueError(f"there is no code {self.code} with severity {self.severity}")

    @property
    def summary(self) -> str:
        """The message, with the count (unless the problem concerns the whole file) and the first example."""
        if CODES[self.code].whole_file:
            return f"{self.message} ({self.first})"
        return f"{self.message} (count {self.count}; first: {self.first})"

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


@dataclass
class Problems:
    """The problems found so far, each code once."""

    found: dict[str, Problem] = field(default_factory=dict)

    def add(self, code: str, count: int, first: str, detail: str = "", remedy: str = "") -> None:
        """Add a problem; if its code exists already, add to the count.

        Args:
            detail: Text to append to the code's meaning.
            remedy: Text that replaces the code's remedy.
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
        """Return all problems, errors first, in the order of the table."""
        order = {code: number for number, code in enumerate(CODES)}
        return sorted(self.found.values(), key=lambda p: (p.severity, order[p.code]))


def printable(text: object) -> str:
    """Return a cell or name for messages: unprintable characters escaped, long text cut."""
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)[: LONGEST + 1])
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 3] + "..."
