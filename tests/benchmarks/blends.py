"""How fast blends and thresholds are fitted: ``python -m tests.benchmarks.blends [--autogluon PYTHON]``.

The hill climb is compared, on the same data and for the same number of steps, with the algorithm of the paper
written down plainly in NumPy and scikit-learn, and (given an interpreter that has ``autogluon.core``, which
does not live beside kit's libraries) with AutoGluon's ``EnsembleSelection``.
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
begun = time.perf_counter()
selection.fit(members, targets)
print(json.dumps({"seconds": time.perf_counter() - begun, "weights": np.asarray(selection.weights_).tolist()}))
"""


@dataclass(frozen=True)
class Climb:
    """A hill climb: seconds, and the log loss of its blend."""

    name: str
    seconds: float
    loss: float

    def __str__(self) -> str:
        return f"{self.name}: {self.seconds:.2f} s, log loss {self.loss:.5f}"


def library(number: int, rows: int, classes: int, seed: int = 0) -> BlendData:
    """Return members of different skill, whose errors are partly shared, as out-of-fold predictions are."""
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


def kits(data: BlendData, steps: int = STEPS) -> Climb:
    """Return kit's climb among all members, begun from nothing, as the others do it."""
    begun = time.perf_counter()
    weights = climbed_weights(data, steps, bags=1, share=1.0, warm=1, negative=False)
    return Climb("kit", time.perf_counter() - begun, loss_of(data, weights))


def plain(data: BlendData, steps: int = STEPS) -> Climb:
    """Return the paper's algorithm written down plainly."""
    begun = time.perf_counter()
    total, counts = np.zeros(data.members.shape[1:]), np.zeros(len(data.members))
    best, kept = np.inf, counts
    for step in range(1, steps + 1):
        losses = [log_loss(data.targets, _rows_sum_to_1(total + member)) for member in data.members]
        chosen = int(np.argmin(losses))
        total, counts = total + data.members[chosen], counts.copy()
        counts[chosen] += 1
        if losses[chosen] < best:
            best, kept = losses[chosen], counts / step
    return Climb("the paper, plainly", time.perf_counter() - begun, loss_of(data, kept))


def _rows_sum_to_1(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def autogluons(data: BlendData, python: str, steps: int = STEPS) -> Climb:
    """Return AutoGluon's climb, made by another interpreter, which alone is timed."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "members.npz"
        np.savez(arrays, members=data.members, targets=data.targets)
        command = [python, "-c", AUTOGLUON, str(arrays), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    return Climb("AutoGluon", values["seconds"], loss_of(data, np.array(values["weights"])))


def large() -> tuple[Climb, float]:
    """Return the climb over 50 members x 100,000 rows x 20 classes, and its peak memory, data included, in GB."""
    climb = kits(library(50, 100_000, 20))
    return climb, peak_memory(lambda: kits(library(50, 100_000, 20), steps=5)) / 1e9


def thresholds(metric: str = "f1_macro") -> float:
    """Return the seconds that thresholds for 100,000 rows x 50 labels take."""
    rng = np.random.default_rng(0)
    task = tasks.get("multilabel")
    targets = (rng.random((100_000, 50)) < 0.1).astype(np.float32)
    probs = np.clip(0.3 * targets + 0.7 * rng.random(targets.shape), 0, 1).astype(np.float32)
    names = tuple(f"label {c}" for c in range(50))
    rows = LabeledProbs(targets, probs, names, task, get_metric(metric, task))
    begun = time.perf_counter()
    fit_steps([Component(name="thresholds")], rows)
    return time.perf_counter() - begun


def claims(autogluon: str | None = None) -> list[Claim]:
    """Return how long climbs and thresholds take, and that a climb is the paper's.

    Args:
        autogluon: An interpreter that has ``autogluon.core``, to be compared with.
    """
    climb, memory = large()
    what = "hill climb, 50 members x 100,000 rows x 20 classes"
    fits = [_threshold_claim(metric) for metric in ("f1_macro", "f1_micro", "exact_match")]
    return [
        Claim(what, climb.seconds, 60.0, "lower", "s", f"{STEPS} steps, log loss {climb.loss:.5f}"),
        Claim(f"{what}: peak memory", memory, 3.0, "lower", "GB", "the members included"),
        *_against_others(autogluon),
        *fits,
    ]


def _against_others(autogluon: str | None) -> list[Claim]:
    """Return the claims of a climb that others make on the same data for the same number of steps."""
    data = library(20, 10_000, 20)
    ours, paper = kits(data), plain(data)
    what = "hill climb, 20 members x 10,000 rows x 20 classes"
    found = [
        Claim(
            f"{what}: {paper.name}, takes",
            paper.seconds / ours.seconds,
            10.0,
            "higher",
            "x kit's time",
            f"{ours}; {paper}",
        ),
        Claim(
            f"{what}: log loss above that of {paper.name}",
            max(0.0, ours.loss - paper.loss),
            1e-9,
            "lower",
            "",
        ),
    ]
    if autogluon is None:
        return [
            *found,
            not_measured(f"{what}: AutoGluon takes", "no interpreter with it; --autogluon PYTHON", "higher"),
        ]
    theirs = autogluons(data, autogluon)
    ratio = theirs.seconds / ours.seconds
    return [
        *found,
        Claim(f"{what}: AutoGluon takes", ratio, None, "higher", "x kit's time", f"{ours}; {theirs}"),
    ]


def _threshold_claim(metric: str) -> Claim:
    bar = None if metric == "exact_match" else 10.0
    return Claim(f"thresholds for {metric}, 100,000 rows x 50 labels", thresholds(metric), bar, "lower", "s")


def main() -> None:
    """Print the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--autogluon", help="an interpreter that has autogluon.core")
    show(claims(parser.parse_args().autogluon))


if __name__ == "__main__":
    main()
