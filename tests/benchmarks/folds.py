"""Compare the time and evenness of folds with reference libraries: ``python -m tests.benchmarks.folds``.

Times are the minimum over several calls: ``make_folds`` reads a table, ranks its ids, assigns folds and
checks the partition; scikit-learn and iterative-stratification get arrays and only split them.
"""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from kit.config import FoldsConfig
from kit.folds.groups import Population
from kit.folds.make import make_folds
from tests.benchmarks.claim import Claim, show

FOLDS = 5


@dataclass(frozen=True)
class Measured:
    """A split by kit and by a reference: seconds, mean deviation from even class counts in rows, memory.

    ``memory`` is kit's peak of allocated memory over the size of the table.
    """

    name: str
    seconds: float
    reference_seconds: float
    deviation: float
    reference_deviation: float
    memory: float

    @property
    def ratio(self) -> float:
        """The time of kit over the time of the reference."""
        return self.seconds / self.reference_seconds


def best_of(times: int, call: Callable[[], object]) -> float:
    """Return the seconds of the fastest call."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_memory(call: Callable[[], object]) -> int:
    """Return the peak of allocated bytes during a call."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def table_bytes(table: pd.DataFrame) -> int:
    """Return the size of a table including its text, in bytes."""
    return int(table.memory_usage(deep=True).sum())


def folds_of_splitter(splitter: Any, labels: np.ndarray) -> np.ndarray:
    """Return each row's fold under a scikit-learn splitter, (N,)."""
    folds = np.zeros(len(labels), dtype=int)
    for number, (_, rows) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        folds[rows] = number
    return folds


def unevenness(matrix: np.ndarray, folds: np.ndarray) -> float:
    """Return the mean over classes and folds of |rows - the class's share|, in rows."""
    counts = np.array([matrix[folds == k].sum(axis=0) for k in range(FOLDS)])
    return float(np.abs(counts - matrix.sum(axis=0) / FOLDS).mean())


def stratified(rows: int = 1_000_000, classes: int = 100) -> Measured:
    """Return the comparison of stratified folds with scikit-learn's."""
    codes = np.random.default_rng(0).integers(0, classes, rows)
    names = np.array([f"class-{c}" for c in range(classes)], dtype=object)[codes]
    table = pd.DataFrame({"id": [f"img_{i:07d}.jpg" for i in range(rows)], "label": names}, dtype=str)
    population, config = Population(table, ["label"]), FoldsConfig(scheme="stratified")
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    made = make_folds(population, config).table["fold"].to_numpy()
    counts = [
        np.bincount(codes * FOLDS + f, minlength=classes * FOLDS)
        for f in (made, folds_of_splitter(splitter, names))
    ]
    ideal = np.repeat(np.bincount(codes) / FOLDS, FOLDS)
    return Measured(
        f"stratified, {rows:,} rows, {classes} classes",
        best_of(3, lambda: make_folds(population, config)),
        best_of(3, lambda: list(splitter.split(np.zeros(rows), names))),
        float(np.abs(counts[0] - ideal).mean()),
        float(np.abs(counts[1] - ideal).mean()),
        peak_memory(lambda: make_folds(population, config)) / table_bytes(table),
    )


def multilabel(rows: int = 100_000, labels: int = 50, order: Literal[1, 2] = 1) -> Measured:
    """Return the comparison of multi-label folds with iterative-stratification's, which has order 1 only.

    Labels have from 0.2 % to 30 % of the rows and are correlated.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold  # type: ignore[import-untyped]

    rng = np.random.default_rng(0)
    share = np.geomspace(0.002, 0.3, labels)
    odds = np.log(share / (1 - share)) + 0.7 * rng.normal(size=(rows, 1))
    matrix = (rng.random((rows, labels)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    columns = [f"label-{c}" for c in range(labels)]
    ids = pd.DataFrame({"id": [f"img_{i:06d}.jpg" for i in range(rows)]}, dtype=str)
    table = pd.concat([ids, pd.DataFrame(matrix, columns=columns)], axis=1)
    population, config = Population(table, columns), FoldsConfig(scheme="multilabel", order=order)
    splitter = MultilabelStratifiedKFold(FOLDS, shuffle=True, random_state=0)
    made = make_folds(population, config).table["fold"].to_numpy()
    return Measured(
        f"multi-label order {order}, {rows:,} rows, {labels} labels",
        best_of(3, lambda: make_folds(population, config)),
        best_of(3, lambda: list(splitter.split(np.zeros(rows), matrix))),
        unevenness(matrix, made),
        unevenness(matrix, folds_of_splitter(splitter, matrix)),
        peak_memory(lambda: make_folds(population, config)) / table_bytes(table),
    )


def claims() -> list[Claim]:
    """Return the claims: time, memory, and folds at least as even as those of the references."""
    second_order = _claims(multilabel(order=2), "iterative-stratification's (order 1)", time_limit=None)
    return [
        *_claims(stratified(), "scikit-learn's", time_limit=1.5),
        *_claims(multilabel(), "iterative-stratification's", time_limit=1.0),
        *(replace(claim, limit=None) for claim in second_order),  # the reference does not support order 2
    ]


def _claims(found: Measured, reference: str, time_limit: float | None) -> list[Claim]:
    what = f"folds, {found.name}"
    times = f"{found.seconds:.2f} s against {found.reference_seconds:.2f} s"
    uneven = f"{reference}: {found.reference_deviation:.3f} rows"
    no_worse = found.reference_deviation + 1e-9
    return [
        Claim(f"{what}: time over {reference}", found.ratio, time_limit, "lower", detail=times),
        Claim(
            f"{what}: mean deviation from even class counts",
            found.deviation,
            no_worse,
            "lower",
            "rows",
            uneven,
        ),
        Claim(f"{what}: peak memory over table size", found.memory, 3.0, "lower"),
    ]


if __name__ == "__main__":
    show(claims())
