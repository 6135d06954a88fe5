"""Compare a file with a run's predictions, class counts and the previous submission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kit.natural import natural_key
from kit.predictions import FinalPredictions
from kit.submission_check.context import CheckContext
from kit.submission_check.problem_codes import Problems, printable
from kit.submission_format.spec import SubmissionFormat

ENOUGH = 20  # rows that a comparison needs
UNLIKELY = 1e-6  # the probability below which a difference is not chance
RANGE_MARGIN = 0.5  # by which numbers may be outside the training numbers, in parts of their range
FAR = 0.1  # share of rows that must have another class, beyond noise
LOG_LIKELIHOOD_GAIN = 20.0  # by which another class order must fit the counts better
DISTANCE_RATIO = 3  # by which it must be closer; grades that are off by one are close, too
AGREEMENT_GAIN = 0.15  # share of rows that must agree more in another order
CORRELATION_GAIN = 0.3  # by which numbers must correlate more in another order
UNRELATED = 0.2  # kappa or correlation below which two submissions are unrelated
STANDARD_ERRORS = 4.0
MOSTLY_ONE = 0.9  # agreement by chance above which agreement is not informative


@dataclass(frozen=True)
class FileContent:
    """The values of a file, by image.

    Attributes:
        rows: (N,), each row's position in the format's images; None: the format's order.
        classes: (N,), each row's class, −1 for none; None if it follows from the numbers, or rows have
            several classes.
        numbers: (N, C), a number per class, or (N, 1), one per row; None for classes.
        threshold: For one number per row: above it, the row means the second class.
        texts: The cells, if they contain more than one class.
    """

    rows: np.ndarray | None
    classes: np.ndarray | None
    numbers: np.ndarray | None
    texts: tuple[pa.ChunkedArray, ...] = ()
    threshold: float | None = None

    @property
    def decided(self) -> np.ndarray | None:
        """The class of each row, (N,); None if it is unknown."""
        if self.classes is not None or self.numbers is None:
            return self.classes
        if self.numbers.shape[1] == 1:
            return None if self.threshold is None else (self.numbers[:, 0] > self.threshold).astype(np.int64)
        return np.asarray(self.numbers.argmax(axis=1))

    def ordered(self, values: np.ndarray) -> np.ndarray:
        """Return values of rows, (N, ...), in the order of the format's images."""
        return values if self.rows is None else values[np.argsort(self.rows, kind="stable")]

    def ordered_texts(self) -> list[pa.ChunkedArray]:
        """Return the cells in the order of the format's images."""
        if self.rows is None:
            return list(self.texts)
        order = pa.array(np.argsort(self.rows, kind="stable"))
        return [column.take(order) for column in self.texts]


def compare(content: FileContent, form: SubmissionFormat, context: CheckContext, problems: Problems) -> None:
    """Add suspicious differences from the training numbers, predictions and class counts."""
    _check_training_range(content, form, context, problems)
    if context.predictions is None and context.class_counts is None:
        return
    classes = content.decided if form.exclusive else None
    if classes is not None and (classes < 0).any():
        return
    rows = None if context.predictions is None else _same_images(content, classes, form, context.predictions)
    if rows is not None and len(rows.file) >= ENOUGH and _check_permuted(rows, form, context, problems):
        return
    if context.class_counts is None or classes is None or len(classes) < ENOUGH or len(form.classes) < 2:
        return
    counts = np.bincount(classes, minlength=len(form.classes)).astype(np.float64)
    if _check_counts_permuted(counts, context.class_counts, form, context, problems):
        return
    if context.counts_are_predictions and "one_class" not in problems:
        _check_shares(counts, context.class_counts, form, context, problems)


def _check_training_range(
    content: FileContent, form: SubmissionFormat, context: CheckContext, problems: Problems
) -> None:
    """Add numbers that are further outside the training numbers than half their range."""
    if context.training_range is None or content.numbers is None:
        return
    low, high = context.training_range
    margin = RANGE_MARGIN * (high - low)
    values = content.ordered(content.numbers)[:, 0]
    far = np.flatnonzero((values < low - margin) | (values > high + margin))
    if len(far):
        example = f"id {printable(form.images[int(far[0])])}: {values[far[0]]:g}"
        problems.add("far_from_training", len(far), example, f", {low:g} to {high:g}")


def permutations_of(names: tuple[str, ...]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the permutations that arise when names are numbered in one order and written in another.

    Yields:
        The two orders, and (N,): for each position in ``names`` the intended position.
    """
    position = {name: number for number, name in enumerate(names)}
    orders = {
        "the sample's order": list(names),
        "text order": sorted(names),
        "natural order": sorted(names, key=natural_key),
    }
    seen = {tuple(range(len(names)))}
    for numbered, numbered_order in orders.items():
        for written, written_order in orders.items():
            meant = np.empty(len(names), dtype=np.int64)
            meant[[position[n] for n in written_order]] = [position[n] for n in numbered_order]
            if tuple(meant) not in seen:
                seen.add(tuple(meant))
                yield numbered, written, meant


@dataclass(frozen=True)
class ComparedRows:
    """The values of a file and a run for the same images: classes (N,), or numbers (N, K)."""

    file: np.ndarray
    run: np.ndarray

    @property
    def are_classes(self) -> bool:
        """Whether rows are compared by class."""
        return self.file.ndim == 1

    def agreement(self) -> float:
        """Return the share of rows with the same class, or the mean correlation of the columns."""
        if self.are_classes:
            return float((self.file == self.run).mean())
        return _correlation(self.file, self.run) or 0.0

    def with_classes(self, meant: np.ndarray) -> ComparedRows:
        """Return the rows with permuted classes in the file."""
        return ComparedRows(
            meant[self.file] if self.are_classes else self.file[:, np.argsort(meant)], self.run
        )

    def with_rows(self, meant: np.ndarray) -> ComparedRows:
        """Return the rows with the run's predictions of permuted images."""
        return ComparedRows(self.file, self.run[meant])

    def required_gain(self, before: float, after: float) -> float:
        """Return the gain in agreement that neither chance nor a better model explains."""
        if self.are_classes:
            return max(AGREEMENT_GAIN, float(5 * np.sqrt((before + after) / len(self.file))))
        return max(CORRELATION_GAIN, 7 / float(np.sqrt(len(self.file))))


def _same_images(
    content: FileContent,
    classes: np.ndarray | None,
    form: SubmissionFormat,
    predictions: FinalPredictions,
) -> ComparedRows | None:
    """Return the values of a file and a run: classes if each row has one of several, else numbers."""
    if classes is not None and (len(form.classes) > 2 or content.numbers is None):
        if predictions.decided.ndim == 2:
            return None
        return ComparedRows(content.ordered(classes), predictions.decided)
    if content.numbers is None:
        return None
    run = form.kind.numbers(predictions)
    file = content.ordered(content.numbers)
    return ComparedRows(file, run) if file.shape == run.shape else None


def _check_permuted(
    rows: ComparedRows, form: SubmissionFormat, context: CheckContext, problems: Problems
) -> bool:
    """Add a problem if classes or rows agree with a run's predictions only when permuted."""
    before = rows.agreement()
    if before + rows.required_gain(before, before) > 1:
        return False  # they agree without a permutation
    has_classes = rows.are_classes or rows.file.shape[1] == len(form.classes)
    for numbered, written, meant in permutations_of(form.classes) if has_classes else ():
        undone = rows.with_classes(meant)
        after = undone.agreement()
        if after - before > rows.required_gain(before, after):
            count, example = int((meant != np.arange(len(meant))).sum()), _instead(form.written, meant)
            if rows.are_classes:
                changed = undone.file != rows.file
                first = int(np.flatnonzero((undone.file == rows.run) & changed)[0])
                count = int(changed.sum())
                example = (
                    f"id {printable(form.images[first])}: {_instead(form.written, meant, rows.file[first])}"
                )
            detail = f": numbered in {numbered}, named in {written}{_gain(rows, before, after, context)}"
            problems.add("labels_permuted", count, example, detail)
            return True
    for numbered, written, meant in permutations_of(form.images):
        after = rows.with_rows(meant).agreement()
        if after - before > rows.required_gain(before, after):
            moved = np.flatnonzero(meant != np.arange(len(meant)))
            row = int(moved[0])
            example = f"id {printable(form.images[row])} has the row of {printable(form.images[meant[row]])}"
            detail = f": predicted in {numbered}, written in {written}{_gain(rows, before, after, context)}"
            problems.add("rows_permuted", len(moved), example, detail)
            return True
    return False


def _instead(names: tuple[str, ...], meant: np.ndarray, said: int | None = None) -> str:
    """Return a text that names a class and the one it should be; by default the first that differs."""
    first = int(np.flatnonzero(meant != np.arange(len(meant)))[0]) if said is None else int(said)
    return f"'{printable(names[first])}' would be '{printable(names[meant[first]])}'"


def _gain(rows: ComparedRows, before: float, after: float, context: CheckContext) -> str:
    source = context.predictions_source
    if rows.are_classes:
        return f"; {before:.0%} of the rows agree with {source}, {after:.0%} once this is undone"
    return f"; the correlation with {source} is {before:.2f}, {after:.2f} once this is undone"


def _check_counts_permuted(
    counts: np.ndarray,
    expected: np.ndarray,
    form: SubmissionFormat,
    context: CheckContext,
    problems: Problems,
) -> bool:
    """Add a problem if class counts fit the expected ones only when classes are permuted."""
    likelihood, distance = _fit(counts, expected)
    if _p_value(distance, counts, expected) > UNLIKELY:
        return False
    fitting = []
    for numbered, written, meant in permutations_of(form.classes):
        undone = np.bincount(meant, weights=counts, minlength=len(counts))
        new_likelihood, new_distance = _fit(undone, expected)
        fits = not context.counts_are_predictions or _p_value(new_distance, undone, expected) > UNLIKELY
        gain = new_likelihood - likelihood
        if gain > LOG_LIKELIHOOD_GAIN and new_distance < distance / DISTANCE_RATIO and fits:
            fitting.append((new_likelihood, numbered, written, meant))
    if not fitting:
        return False
    _, numbered, written, meant = max(fitting, key=lambda fit: fit[0])
    moved = meant != np.arange(len(meant))
    most_frequent = int(np.argmax(np.where(moved, counts, -1)))
    example = _instead(form.written, meant, most_frequent)
    detail = f": numbered in {numbered}, named in {written}, judging by {context.counts_source}"
    problems.add("labels_permuted", int(counts[moved].sum()), example, detail)
    return True


def _fit(counts: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the log-likelihood of class counts under expected ones, and their χ² as two samples."""
    smooth = (expected + 1) / (expected.sum() + len(expected))
    return float(counts @ np.log(smooth)), _chi_square(counts, expected)


def _chi_square(a: np.ndarray, b: np.ndarray) -> float:
    """Return χ² of two samples of class counts (Press et al., Numerical Recipes, 14.3)."""
    both = a + b
    weight_a, weight_b = np.sqrt(b.sum() / a.sum()), np.sqrt(a.sum() / b.sum())
    gaps = (a * weight_a - b * weight_b) ** 2
    return float((gaps[both > 0] / both[both > 0]).sum())


def _p_value(distance: float, a: np.ndarray, b: np.ndarray) -> float:
    """Return the probability that two samples of one distribution have at least this χ²."""
    from scipy.stats import chi2

    return float(chi2.sf(distance, max(1, int((a + b > 0).sum()) - 1)))


def _check_shares(
    counts: np.ndarray,
    expected: np.ndarray,
    form: SubmissionFormat,
    context: CheckContext,
    problems: Problems,
) -> None:
    """Add a problem if class shares are far from the expected ones, beyond noise."""
    if _p_value(_chi_square(counts, expected), counts, expected) > UNLIKELY:
        return
    ours, theirs = counts / counts.sum(), expected / expected.sum()
    pooled = (counts + expected) / (counts.sum() + expected.sum())
    noise = np.sqrt(pooled * (1 - pooled) * (1 / counts.sum() + 1 / expected.sum()) * 2 / np.pi).sum() / 2
    moved = np.abs(ours - theirs).sum() / 2
    if moved - noise > FAR:
        worst = int(np.argmax(np.abs(ours - theirs)))
        example = f"'{printable(form.written[worst])}' {ours[worst]:.1%}, there {theirs[worst]:.1%}"
        problems.add("shares_far", int(moved * counts.sum()), example, f" than in {context.counts_source}")


def compare_previous(content: FileContent, before: FileContent, name: str, problems: Problems) -> None:
    """Add a problem if a file has the same values as the previous submission, or is unrelated to it."""
    values, others = (each.classes if each.numbers is None else each.numbers for each in (content, before))
    if values is None or others is None or len(values) < ENOUGH or values.shape != others.shape:
        return
    ours, theirs = content.ordered(values), before.ordered(others)
    if np.array_equal(ours, theirs) and _same_texts(content, before):
        problems.add("same_as_previous", len(ours), printable(name))
    elif (found := _agreement(ours, theirs)) is not None and found.upper_bound < UNRELATED:
        problems.add(
            "unlike_previous", len(ours), f"{printable(name)}: agreement {found.value:.2f}, 1 is the same"
        )


def _same_texts(content: FileContent, before: FileContent) -> bool:
    pairs = zip(content.ordered_texts(), before.ordered_texts(), strict=True)
    return all(ours.equals(theirs) for ours, theirs in pairs)


class Agreement(NamedTuple):
    """The agreement of two files (0: chance, 1: the same), and its upper bound beyond noise."""

    value: float
    upper_bound: float


def _agreement(ours: np.ndarray, theirs: np.ndarray) -> Agreement | None:
    """Return Cohen's kappa of classes, or the mean correlation of numbers; None if a file is constant."""
    num_rows = len(ours)
    if ours.ndim == 1:
        width = int(max(ours.max(), theirs.max())) + 2
        a, b = (np.bincount(each + 1, minlength=width) / num_rows for each in (ours, theirs))
        chance, same = float(a @ b), float((ours == theirs).mean())
        if chance > MOSTLY_ONE:
            return None
        error = np.sqrt((same + 1 / num_rows) / num_rows) / (1 - chance)
        kappa = (same - chance) / (1 - chance)
        return Agreement(kappa, kappa + STANDARD_ERRORS * error)
    correlation = _correlation(ours, theirs)
    return (
        None
        if correlation is None
        else Agreement(correlation, correlation + STANDARD_ERRORS / np.sqrt(num_rows))
    )


def _correlation(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Return the mean correlation of columns (N, K), constant ones left out; None if all are constant."""
    varies = (ours.std(axis=0) > 0) & (theirs.std(axis=0) > 0)
    if not varies.any():
        return None
    x, y = (each[:, varies] - each[:, varies].mean(axis=0) for each in (ours, theirs))
    return float(((x * y).mean(axis=0) / (x.std(axis=0) * y.std(axis=0))).mean())
