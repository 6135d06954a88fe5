"""Time 1,000 bootstrap draws of 100,000 rows against a loop: ``python -m tests.benchmarks.bootstrap``.

The loop draws rows with replacement and calls scikit-learn for each draw; a few draws are measured, and the
time of all draws is extrapolated.
"""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sklearn.metrics as reference

from kit.metrics import get_metric
from kit.metrics.bootstrap import bootstrap_scores
from kit.tasks import Task, tasks
from tests.benchmarks.claim import Claim, show

ROWS, CLASSES, DRAWS = 100_000, 20, 1_000
LOOPED_DRAWS = 5


@dataclass(frozen=True)
class Measured:
    """Seconds of ``DRAWS`` draws by kit and by the loop, and the peak memory of kit's draws, in MiB."""

    metric: str
    seconds: float
    loop_seconds: float
    memory: float

    @property
    def ratio(self) -> float:
        """The time of the loop over the time of kit."""
        return self.loop_seconds / self.seconds


@dataclass(frozen=True)
class Case:
    """A metric on rows, and scikit-learn's function for it (of row indices)."""

    metric: str
    task: Task
    targets: np.ndarray
    probs: np.ndarray
    reference: Callable[[np.ndarray], float]

    def drawn(self, draws: int) -> np.ndarray:
        """Return kit's scores of the draws."""
        scorer = get_metric(self.metric, self.task).scorer(self.targets, self.probs, self.task)
        return np.asarray(bootstrap_scores([scorer], len(self.targets), draws)[0])

    def looped(self, draws: int) -> np.ndarray:
        """Return scikit-learn's scores of the draws."""
        rng = np.random.default_rng(0)
        num_rows = len(self.targets)
        return np.array([self.reference(rng.integers(num_rows, size=num_rows)) for _ in range(draws)])


def cases() -> list[Case]:
    """Return the cases: two metrics of predicted labels (multiclass), and one of a ranking (binary)."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, ROWS)
    probs = rng.dirichlet(np.ones(CLASSES), ROWS) + 0.3 * np.eye(CLASSES)[targets]
    decided = probs.argmax(axis=1)
    second = np.clip(rng.normal(0.4 + 0.2 * (targets % 2), 0.2), 0, 1).astype(np.float32)
    two = np.stack([1 - second, second], axis=1)
    return [
        Case(
            "accuracy",
            tasks.get("multiclass"),
            targets,
            probs,
            lambda r: reference.accuracy_score(targets[r], decided[r]),
        ),
        Case(
            "f1_macro",
            tasks.get("multiclass"),
            targets,
            probs,
            lambda r: reference.f1_score(targets[r], decided[r], average="macro"),
        ),
        Case(
            "roc_auc",
            tasks.get("binary"),
            targets % 2,
            two,
            lambda r: reference.roc_auc_score(targets[r] % 2, second[r]),
        ),
    ]


def measured(case: Case) -> Measured:
    """Return the times of a case; kit and the loop use the same draws."""
    start = time.perf_counter()
    scores = case.drawn(DRAWS)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    looped = case.looped(LOOPED_DRAWS)
    loop_seconds = (time.perf_counter() - start) / LOOPED_DRAWS * DRAWS
    np.testing.assert_allclose(scores[:LOOPED_DRAWS], looped, atol=1e-9)
    tracemalloc.start()
    case.drawn(20)
    memory = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return Measured(case.metric, seconds, loop_seconds, memory)


def claims() -> list[Claim]:
    """Return the claims: the time of all draws, and the time of the loop for each metric."""
    rows = [measured(case) for case in cases()]
    what = f"{DRAWS:,} bootstrap draws of {ROWS:,} rows"
    seconds = ", ".join(f"{row.metric} {row.seconds:.2f} s" for row in rows)
    total = Claim(f"{what}, three metrics", sum(row.seconds for row in rows), 30.0, "lower", "s", seconds)
    return [total, *(_loop_claim(row, what) for row in rows)]


def _loop_claim(row: Measured, what: str) -> Claim:
    detail = f"{row.seconds:.2f} s against {row.loop_seconds:.1f} s; kit's peak memory {row.memory:.0f} MiB"
    return Claim(
        f"{what}, {row.metric}: time of a loop over scikit-learn",
        row.ratio,
        None,
        "higher",
        "x kit's time",
        detail,
    )


if __name__ == "__main__":
    show(claims())
