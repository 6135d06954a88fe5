"""Time the fitting of blends and thresholds: ``python -m tests.benchmarks.blends [--autogluon PYTHON]``.

The hill climb is compared, on the same data and with the same number of steps, with a plain NumPy and
scikit-learn version of the paper's algorithm, and with AutoGluon's ``EnsembleSelection`` if ``--autogluon``
names an interpreter that has ``autogluon.core`` (which needs other random_members versions than kit).
"""

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss

from kit.config import Component
from kit.ensemble.blend_data import BlendData, weighted_mean
from kit.ensemble.methods.hill_climb import climbed_weights
from kit.metrics import get_metric
from kit.postprocess.postprocessing import fit_steps
from kit.postprocess.step import LabeledProbs
from kit.tasks import tasks
from tests.benchmarks.claim import Claim, not_measured, show
from tests.benchmarks.folds import peak_memory

STEPS = 100
AUTOGLUON = """
import json, sys, time, numpy as np
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection
from autogluon.core.metrics import log_loss
data = np.load(sys.argv[1])
members, targets = list(data["members"]), data["targets"]
selection = EnsembleSelection(ensemble_size=int(sys.argv[2]), problem_type="multiclass", metric=log_loss)
start = time.perf_counter()
selection.fit(members, targets)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "weights": np.asarray(selection.weights_).tolist()}))
"""


@dataclass(frozen=True)
class Climb:
    """The result of a hill climb: seconds, and the log loss of the blend."""

    name: str
    seconds: float
    loss: float

    def __str__(self) -> str:
        return f"{self.name}: {self.seconds:.2f} s, log loss {self.loss:.5f}"


def random_members(number: int, rows: int, classes: int, seed: int = 0) -> BlendData:
    """Return members of different accuracy with partly shared errors, like out-of-fold predictions."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, rows)
    shared = rng.normal(size=(rows, classes)).astype(np.float32)
    members = np.empty((number, rows, classes), dtype=np.float32)
    for member in members:
        own = rng.normal(size=(rows, classes)).astype(np.float32)
        logits = 1.5 * shared + rng.uniform(0.8, 1.6) * own
        logits[np.arange(rows), targets] += rng.uniform(1.0, 3.5)
        np.exp(logits, out=logits)
        member[:] = logits / logits.sum(axis=1, keepdims=True)
    task = tasks.get("multiclass")
    return BlendData(members, targets, task, get_metric("log_loss", task))


def loss_of(data: BlendData, weights: np.ndarray) -> float:
    """Return the log loss of a weighted mean."""
    probs = data.task.normalized(weighted_mean(weights)(data.members))
    return data.metric(data.targets, probs, data.task)


def climb_with_kit(data: BlendData, steps: int = STEPS) -> Climb:
    """Return kit's climb over all members, with the settings of the other implementations."""
    start = time.perf_counter()
    weights = climbed_weights(data, steps, bags=1, share=1.0, warm=1, negative=False)
    return Climb("kit", time.perf_counter() - start, loss_of(data, weights))


def climb_in_numpy(data: BlendData, steps: int = STEPS) -> Climb:
    """Return the climb by a plain NumPy version of the paper's algorithm."""
    start = time.perf_counter()
    total, counts = np.zeros(data.members.shape[1:]), np.zeros(len(data.members))
    best, kept = np.inf, counts
    for step in range(1, steps + 1):
        losses = [log_loss(data.targets, _rows_sum_to_1(total + member)) for member in data.members]
        chosen = int(np.argmin(losses))
        total, counts = total + data.members[chosen], counts.copy()
        counts[chosen] += 1
        if losses[chosen] < best:
            best, kept = losses[chosen], counts / step
    return Climb("plain NumPy", time.perf_counter() - start, loss_of(data, kept))


def _rows_sum_to_1(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def climb_with_autogluon(data: BlendData, python: str, steps: int = STEPS) -> Climb:
    """Return AutoGluon's climb, run and timed in another interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "members.npz"
        np.savez(arrays, members=data.members, targets=data.targets)
        command = [python, "-c", AUTOGLUON, str(arrays), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    return Climb("AutoGluon", values["seconds"], loss_of(data, np.array(values["weights"])))


def large() -> tuple[Climb, float]:
    """Return the climb over 50 members x 100,000 rows x 20 classes, and its peak memory with data, in GB."""
    climb = climb_with_kit(random_members(50, 100_000, 20))
    return climb, peak_memory(lambda: climb_with_kit(random_members(50, 100_000, 20), steps=5)) / 1e9


def thresholds(metric: str = "f1_macro") -> float:
    """Return the seconds to fit thresholds on 100,000 rows x 50 labels."""
    rng = np.random.default_rng(0)
    task = tasks.get("multilabel")
    targets = (rng.random((100_000, 50)) < 0.1).astype(np.float32)
    probs = np.clip(0.3 * targets + 0.7 * rng.random(targets.shape), 0, 1).astype(np.float32)
    names = tuple(f"label {c}" for c in range(50))
    rows = LabeledProbs(targets, probs, names, task, get_metric(metric, task))
    start = time.perf_counter()
    fit_steps([Component(name="thresholds")], rows)
    return time.perf_counter() - start


def claims(autogluon: str | None = None) -> list[Claim]:
    """Return the claims: time and memory of climbs and thresholds, and equality with the paper's algorithm.

    Args:
        autogluon: An interpreter that has ``autogluon.core``; None: no comparison.
    """
    climb, memory = large()
    what = "hill climb, 50 members x 100,000 rows x 20 classes"
    thresholds_of = [_threshold_claim(metric) for metric in ("f1_macro", "f1_micro", "exact_match")]
    return [
        Claim(what, climb.seconds, 60.0, "lower", "s", f"{STEPS} steps, log loss {climb.loss:.5f}"),
        Claim(f"{what}: peak memory", memory, 3.0, "lower", "GB", "including the members"),
        *_comparisons(autogluon),
        *thresholds_of,
    ]


def _comparisons(autogluon: str | None) -> list[Claim]:
    """Return the claims that compare implementations on the same data with the same number of steps."""
    data = random_members(20, 10_000, 20)
    ours, plain = climb_with_kit(data), climb_in_numpy(data)
    what = "hill climb, 20 members x 10,000 rows x 20 classes"
    found = [
        Claim(
            f"{what}: time of {plain.name}",
            plain.seconds / ours.seconds,
            10.0,
            "higher",
            "x kit's time",
            f"{ours}; {plain}",
        ),
        Claim(
            f"{what}: log loss above that of {plain.name}",
            max(0.0, ours.loss - plain.loss),
            1e-9,
            "lower",
            "",
        ),
    ]
    if autogluon is None:
        return [
            *found,
            not_measured(f"{what}: time of AutoGluon", "needs --autogluon PYTHON", "higher"),
        ]
    theirs = climb_with_autogluon(data, autogluon)
    ratio = theirs.seconds / ours.seconds
    return [
        *found,
        Claim(f"{what}: time of AutoGluon", ratio, None, "higher", "x kit's time", f"{ours}; {theirs}"),
    ]


def _threshold_claim(metric: str) -> Claim:
    limit = None if metric == "exact_match" else 10.0
    name = f"fitting thresholds for {metric}, 100,000 rows x 50 labels"
    return Claim(name, thresholds(metric), limit, "lower", "s")


def main() -> None:
    """Print the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--autogluon", help="an interpreter that has autogluon.core")
    show(claims(parser.parse_args().autogluon))


if __name__ == "__main__":
    main()
