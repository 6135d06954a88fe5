"""A file beside what else is known: its class shares, a run's own answers, the submission before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kit.metrics.likelihoods import expected_grade
from kit.natural import natural_key
from kit.predictions import FinalPredictions
from kit.submission_check.context import Surroundings
from kit.submission_check.problem_codes import Problems, shown
from kit.submission_format.spec import SubmissionFormat

ENOUGH = 20  # rows; of fewer nothing is told
UNLIKELY = 1e-6  # what chance must make less likely, for a word to be said
FAR = 0.1  # how much of the rows must have another class, beyond noise
FAVOUR = 20.0  # logarithm of how much likelier the shares must be in another order
NEARER = 3  # how many times as near they must be in another order; grades that moved by one come near, too
MORE_ALIKE = 0.15  # share of rows that must agree more in another order
MORE_RELATED = 0.3  # by how much numbers must correlate more in another order
NOTHING_IN_COMMON = 0.2  # kappa, or correlation, that two files of one competition have at least
SURE = 4.0  # standard errors
MOSTLY_ONE = 0.9  # chance of agreeing, above which agreement says nothing


@dataclass(frozen=True)
class Content:
    """What a file says, as far as it can be compared.

    Attributes:
        rows: (N,), each row's position among the images of the form; None: rows stand in the form's order.
        classes: (N,), the class that each row says, −1 for none; None where it must be told from the numbers,
            or rows have several.
        numbers: (N, C), the number that each row has for each class, or the one number of each, (N, 1); None
            where there are none.
        split: The number above which the one number of a row says the second class.
        texts: The cells themselves, where a row's class is not all that it says.
    """

    rows: np.ndarray | None
    classes: np.ndarray | None
    numbers: np.ndarray | None
    texts: tuple[pa.ChunkedArray, ...] = ()
    split: float | None = None

    @property
    def decided(self) -> np.ndarray | None:
        """The class that each row says, (N,)."""
        if self.classes is not None or self.numbers is None:
            return self.classes
        if self.numbers.shape[1] == 1:
            return None if self.split is None else (self.numbers[:, 0] > self.split).astype(np.int64)
        return np.asarray(self.numbers.argmax(axis=1))

    def ordered(self, values: np.ndarray) -> np.ndarray:
        """Return what rows say, (N, ...), in the order of the form's images."""
        return values if self.rows is None else values[np.argsort(self.rows, kind="stable")]

    def ordered_texts(self) -> list[pa.ChunkedArray]:
        """Return the cells in the order of the form's images."""
        if self.rows is None:
            return list(self.texts)
        order = pa.array(np.argsort(self.rows, kind="stable"))
        return [column.take(order) for column in self.texts]


def compare(content: Content, form: SubmissionFormat, around: Surroundings, problems: Problems) -> None:
    """Tell what is odd about a file beside what else is known."""
    if around.answers is None and around.decided is None:
        return
    decided = content.decided if form.exclusive else None
    if decided is not None and (decided < 0).any():
        return
    pair = None if around.answers is None else _beside(content, decided, form, around.answers)
    if pair is not None and len(pair.said) >= ENOUGH and _tell_moved(pair, form, around, problems):
        return
    if around.decided is None or decided is None or len(decided) < ENOUGH or len(form.classes) < 2:
        return
    shares = np.bincount(decided, minlength=len(form.classes)).astype(np.float64)
    if _tell_renumbered(shares, form, around, problems):
        return
    if around.predicted and "one_class" not in problems:
        _tell_far(shares, form, around, problems)


def orders_of(names: tuple[str, ...]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the ways in which things may be numbered in one order and named in another.

    Yields:
        The two orders, and for each position in ``names`` the position of what was meant.
    """
    position = {name: number for number, name in enumerate(names)}
    orders = {
        "the sample's order": list(names),
        "text order": sorted(names),
        "natural order": sorted(names, key=natural_key),
    }
    seen = {tuple(range(len(names)))}
    for meant, model_order in orders.items():
        for said, written_order in orders.items():
            moved = np.empty(len(names), dtype=np.int64)
            moved[[position[n] for n in written_order]] = [position[n] for n in model_order]
            if tuple(moved) not in seen:
                seen.add(tuple(moved))
                yield meant, said, moved


@dataclass(frozen=True)
class Pair:
    """What a file and a run say of the same images: classes (N,), or numbers (N, K)."""

    said: np.ndarray
    ours: np.ndarray

    def likeness(self) -> float:
        """Return the share of rows that agree, or the mean correlation of the columns."""
        if self.said.ndim == 1:
            return float((self.said == self.ours).mean())
        return _correlation(self.said, self.ours) or 0.0

    def with_classes(self, moved: np.ndarray) -> Pair:
        """Return the pair with other classes said."""
        return Pair(moved[self.said] if self.said.ndim == 1 else self.said[:, np.argsort(moved)], self.ours)

    def with_rows(self, moved: np.ndarray) -> Pair:
        """Return the pair with what the run says of other images."""
        return Pair(self.said, self.ours[moved])

    def gain_to_tell(self, before: float, after: float) -> float:
        """Return how much likeness must grow that neither chance nor a better model explains it."""
        if self.said.ndim == 1:
            return max(MORE_ALIKE, float(5 * np.sqrt((before + after) / len(self.said))))
        return max(MORE_RELATED, 7 / float(np.sqrt(len(self.said))))


def _beside(
    content: Content, decided: np.ndarray | None, form: SubmissionFormat, answers: FinalPredictions
) -> Pair | None:
    """Return what a file and a run say: the classes, where each row has one of several, else the numbers."""
    if decided is not None and (len(form.classes) > 2 or content.numbers is None):
        return Pair(content.ordered(decided), answers.decided) if answers.decided.ndim == 1 else None
    if content.numbers is None:
        return None
    ours = answers.probs
    if form.kind == "score":
        ours = ours[:, 1:]
    elif form.kind == "value":
        ours = expected_grade(ours)[:, None]
    said = content.ordered(content.numbers)
    return Pair(said, ours) if said.shape == ours.shape else None


def _tell_moved(pair: Pair, form: SubmissionFormat, around: Surroundings, problems: Problems) -> bool:
    """Tell classes or rows that agree with a run's own answers only in another order."""
    before = pair.likeness()
    if before + pair.gain_to_tell(before, before) > 1:
        return False  # they agree as they are
    names = form.written
    for meant, written, moved in orders_of(form.classes) if _has_classes(pair, form) else ():
        undone = pair.with_classes(moved)
        after = undone.likeness()
        if after - before > pair.gain_to_tell(before, after):
            count, example = int((moved != np.arange(len(moved))).sum()), _instead(names, moved)
            if pair.said.ndim == 1:
                rows = np.flatnonzero((undone.said == pair.ours) & (undone.said != pair.said))
                count, first = int((undone.said != pair.said).sum()), int(rows[0])
                example = f"id {shown(form.images[first])}: {_instead(names, moved, pair.said[first])}"
            detail = f": numbered in {meant}, named in {written}{_more_alike(pair, before, after, around)}"
            problems.add("labels_permuted", count, example, detail)
            return True
    for meant, written, moved in orders_of(form.images):
        after = pair.with_rows(moved).likeness()
        if after - before > pair.gain_to_tell(before, after):
            others = np.flatnonzero(moved != np.arange(len(moved)))
            row = int(others[0])
            example = f"id {shown(form.images[row])} has the row of {shown(form.images[moved[row]])}"
            detail = f": made in {meant}, written in {written}{_more_alike(pair, before, after, around)}"
            problems.add("rows_permuted", len(others), example, detail)
            return True
    return False


def _has_classes(pair: Pair, form: SubmissionFormat) -> bool:
    return pair.said.ndim == 1 or pair.said.shape[1] == len(form.classes)


def _instead(names: tuple[str, ...], moved: np.ndarray, said: int | None = None) -> str:
    """Return which class would be which, of one that is said or of the first that moved."""
    first = int(np.flatnonzero(moved != np.arange(len(moved)))[0]) if said is None else int(said)
    return f"'{shown(names[first])}' would be '{shown(names[moved[first]])}'"


def _more_alike(pair: Pair, before: float, after: float, around: Surroundings) -> str:
    if pair.said.ndim == 1:
        return f"; undone, {after:.0%} of the rows agree with {around.answers_of}, as they are {before:.0%}"
    return f"; undone, the correlation with {around.answers_of} is {after:.2f}, as it is {before:.2f}"


def _tell_renumbered(
    shares: np.ndarray, form: SubmissionFormat, around: Surroundings, problems: Problems
) -> bool:
    """Tell classes whose shares fit only if they were numbered in one order and named in another."""
    assert around.decided is not None  # the caller has looked
    likelihood, distance = _fit(shares, around.decided)
    if _chance(distance, shares, around.decided) > UNLIKELY:
        return False
    fitting = []
    for meant, written, moved in orders_of(form.classes):
        undone = np.bincount(moved, weights=shares, minlength=len(shares))
        likelier, nearer = _fit(undone, around.decided)
        fits = not around.predicted or _chance(nearer, undone, around.decided) > UNLIKELY
        if likelier - likelihood > FAVOUR and nearer < distance / NEARER and fits:
            fitting.append((likelier, meant, written, moved))
    if not fitting:
        return False
    _, meant, written, moved = max(fitting, key=lambda fit: fit[0])
    others = moved != np.arange(len(moved))
    said = int(np.argmax(np.where(others, shares, -1)))
    example = _instead(form.written, moved, said)
    detail = f": numbered in {meant}, named in {written}, as the shares in {around.decided_of} say"
    problems.add("labels_permuted", int(shares[others].sum()), example, detail)
    return True


def _fit(shares: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return how likely class counts are under expected ones, as a logarithm, and their χ² as two samples."""
    smooth = (expected + 1) / (expected.sum() + len(expected))
    return float(shares @ np.log(smooth)), _chi_square(shares, expected)


def _chi_square(a: np.ndarray, b: np.ndarray) -> float:
    """Return χ² of two samples of class counts; large means that they differ (Press et al., 14.3)."""
    both = a + b
    weight_a, weight_b = np.sqrt(b.sum() / a.sum()), np.sqrt(a.sum() / b.sum())
    gaps = (a * weight_a - b * weight_b) ** 2
    return float((gaps[both > 0] / both[both > 0]).sum())


def _chance(distance: float, a: np.ndarray, b: np.ndarray) -> float:
    """Return how likely chance alone makes two samples differ so much."""
    from scipy.stats import chi2

    return float(chi2.sf(distance, max(1, int((a + b > 0).sum()) - 1)))


def _tell_far(shares: np.ndarray, form: SubmissionFormat, around: Surroundings, problems: Problems) -> None:
    assert around.decided is not None  # the caller has looked
    expected = around.decided
    if _chance(_chi_square(shares, expected), shares, expected) > UNLIKELY:
        return
    ours, theirs = shares / shares.sum(), expected / expected.sum()
    pooled = (shares + expected) / (shares.sum() + expected.sum())
    noise = np.sqrt(pooled * (1 - pooled) * (1 / shares.sum() + 1 / expected.sum()) * 2 / np.pi).sum() / 2
    moved = np.abs(ours - theirs).sum() / 2
    if moved - noise > FAR:
        worst = int(np.argmax(np.abs(ours - theirs)))
        example = f"'{shown(form.written[worst])}' {ours[worst]:.1%}, there {theirs[worst]:.1%}"
        problems.add("shares_far", int(moved * shares.sum()), example, f" than in {around.decided_of}")


def tell_previous(content: Content, before: Content, name: str, problems: Problems) -> None:
    """Tell a file that says the same as the one before it, or has nothing in common with it."""
    values, others = (each.classes if each.numbers is None else each.numbers for each in (content, before))
    if values is None or others is None or len(values) < ENOUGH or values.shape != others.shape:
        return
    ours, theirs = content.ordered(values), before.ordered(others)
    if np.array_equal(ours, theirs) and _same_texts(content, before):
        problems.add("same_as_previous", len(ours), shown(name))
    elif (alike := _alike(ours, theirs)) is not None and alike.surely < NOTHING_IN_COMMON:
        example = f"{shown(name)}: {alike.measured:.2f} in common, 1 being the same"
        problems.add("unlike_previous", len(ours), example)


def _same_texts(content: Content, before: Content) -> bool:
    pairs = zip(content.ordered_texts(), before.ordered_texts(), strict=True)
    return all(ours.equals(theirs) for ours, theirs in pairs)


class Alike(NamedTuple):
    """How much two files have in common, from 0 for chance to 1; and how much it is at most, beyond noise."""

    measured: float
    surely: float


def _alike(ours: np.ndarray, theirs: np.ndarray) -> Alike | None:
    """Return Cohen's kappa of classes, or the mean correlation of numbers; None where one is constant."""
    number = len(ours)
    if ours.ndim == 1:
        width = int(max(ours.max(), theirs.max())) + 2
        a, b = (np.bincount(each + 1, minlength=width) / number for each in (ours, theirs))
        chance, same = float(a @ b), float((ours == theirs).mean())
        if chance > MOSTLY_ONE:
            return None
        noise = np.sqrt((same + 1 / number) / number) / (1 - chance)
        kappa = (same - chance) / (1 - chance)
        return Alike(kappa, kappa + SURE * noise)
    related = _correlation(ours, theirs)
    return None if related is None else Alike(related, related + SURE / np.sqrt(number))


def _correlation(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Return the mean correlation of columns (N, K); None where all are constant."""
    spread = (ours.std(axis=0) > 0) & (theirs.std(axis=0) > 0)
    if not spread.any():
        return None
    x, y = (each[:, spread] - each[:, spread].mean(axis=0) for each in (ours, theirs))
    return float(((x * y).mean(axis=0) / (x.std(axis=0) * y.std(axis=0))).mean())
