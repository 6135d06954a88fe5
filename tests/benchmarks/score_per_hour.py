"""Measure what a given time is worth: ``python -m tests.benchmarks.score_per_hour cse144 --limits 3m 10m``.

A fifth of the labeled images, another one for each seed, is kept back as the test set. Each method gets the
rest, the same pretrained weights and the same time, and is scored on the images that were kept back. A method
that has written no submission when the time is over has no score. The table is printed row by row.

Methods: ``auto`` (``kit auto``), ``default`` (``kit run`` with the recipe of ``kit init``), ``committed`` (``kit
run`` with the recipe of ``configs/``), and ``fastai`` with ``--python`` of an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.config.load import config_yaml, load_config, with_values
from kit.engine.models.build import preprocessing_of
from kit.runtime.deadline import Deadline
from tests.benchmarks.claim import table_row
from tests.benchmarks.kept_back import KeptBack, keep_back
from tests.benchmarks.single_folds import KeptBackScore, single_fold_score

DATA = ("cse144", "dance8", "multilabel_qtt", "bccd", "digits")
FASTAI = Path(__file__).parent / "peers" / "fastai_score.py"
HEADER = ["data", "time", "seed", "method", "expected", "one fold", "kept back", "seconds", "remark"]
GRACE = 120  # seconds after the limit, until a method is killed


@dataclass(frozen=True)
class Outcome:
    """What a method reached.

    Attributes:
        score: On the images that were kept back; None without a submission.
        expected: What the method says of its score on new images; empty: nothing.
        one_fold: What models of one fold reach on the images that were kept back; empty: not measured.
    """

    score: float | None
    expected: str
    seconds: float
    remark: str = ""
    one_fold: str = ""


@dataclass(frozen=True)
class Task:
    """One measurement: the data, the time limit such as ``3m``, and the seed."""

    data: KeptBack
    limit: str
    seed: int
    python: str

    @property
    def root(self) -> Path:
        """The workspace."""
        return self.data.workspace.root


def auto(task: Task) -> Outcome:
    """Run ``kit auto``."""
    config = _seeded(task, task.data.default)
    done, seconds = _kit(task, "auto", str(config), "--time-limit", task.limit, "--json")
    if done.returncode:
        return Outcome(None, "", seconds, _last_line(done))
    result = json.loads(done.stdout)
    corrected, best = result["corrected"], result["best"]
    expected = f"{corrected['score']:.4f} ({corrected['low']:.4f} to {corrected['high']:.4f})"
    remark = (
        f"{best['name']}, raw {best['cv']:.4f}, {len(result['scored'])} scored, {result['trials']} trials"
    )
    one_fold = single_fold_score(task.data, task.data.workspace.run(result["competition"], best["name"]))
    score = task.data.score(task.root / result["submission"])
    return Outcome(score, expected, seconds, remark, _compared(one_fold, corrected))


def _compared(one_fold: KeptBackScore, corrected: dict[str, float]) -> str:
    """Return the score of single-fold models, and whether what was expected holds."""
    low, high = corrected["low"], corrected["high"]
    covered = "" if one_fold.is_covered_by(low, high) else ", not covered"
    agrees = "" if one_fold.agrees_with(corrected["score"], low, high) else ", beyond the noise of both"
    return f"{one_fold.score:.4f} ({one_fold.interval.text()}){covered}{agrees}"


def default(task: Task) -> Outcome:
    """Run ``kit run`` with the recipe of ``kit init``."""
    return _run(task, task.data.default)


def committed(task: Task) -> Outcome:
    """Run ``kit run`` with the recipe of ``configs/``."""
    return _run(task, task.data.committed)


def _run(task: Task, config: Path) -> Outcome:
    seeded = _seeded(task, config)
    done, seconds = _kit(task, "run", str(seeded), "--time-limit", task.limit, "--json")
    file = task.root / "submissions" / task.data.competition.name / f"{seeded.stem}.csv"
    if not file.exists():
        return Outcome(None, "", seconds, f"no submission in time. {_last_line(done)}")
    return Outcome(task.data.score(file), f"{json.loads(done.stdout)['cv']:.4f}", seconds)


def fastai(task: Task) -> Outcome:
    """Train fastai's ``vision_learner`` with ``fine_tune``, on all images, for as many epochs as fit."""
    config = load_config(task.data.default)
    folder = task.data.workspace.data(config.competition.data)
    weights = config.model.weights and task.data.workspace.weights(config.model.weights)
    out = task.root / "fastai.csv"
    request = {
        "train": str(folder / "train.csv"),
        "test": str(folder / "test.csv"),
        "labels": task.data.competition.label_columns,
        "classes": list(task.data.competition.classes),
        "model": config.model.name if weights else "resnet18",
        "weights": weights and str(weights),
        "size": preprocessing_of(config.model, config.image)[0].size,
        "seconds": Deadline.of(task.limit).left,
        "seed": task.seed,
        "out": str(out),
    }
    path = task.root / "fastai.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    done, seconds = _timed(task, [task.python, str(FASTAI), str(path)])
    if done.returncode:
        return Outcome(None, "", seconds, _last_line(done))
    return Outcome(task.data.score(out), "", seconds, done.stdout.splitlines()[-1])


METHODS: dict[str, Callable[[Task], Outcome]] = {
    method.__name__: method for method in (auto, default, committed, fastai)
}


def _seeded(task: Task, path: Path) -> Path:
    """Return a copy of a config with the seed of the task, whose experiments no other task has."""
    seeded = path.with_stem(f"{path.stem}-{task.limit}-{task.seed}")
    config = with_values(load_config(path), {"seed": task.seed, "name": seeded.stem})
    seeded.write_text(config_yaml(config), encoding="utf-8")
    return seeded


def _kit(task: Task, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    return _timed(task, [sys.executable, "-m", "kit", *words, "--workspace", str(task.root)])


def _timed(task: Task, command: Sequence[str]) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command; return what it printed and its seconds."""
    began = time.perf_counter()
    environment = {**os.environ, "KIT_DATA": str(task.root / "data")}
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=Deadline.of(task.limit).left + GRACE,
    )
    return done, time.perf_counter() - began


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:120]


def main() -> None:
    """Measure and print one row per data set, limit, seed and method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", default=list(DATA), help=f"of {', '.join(DATA)}; default: all")
    parser.add_argument("--limits", nargs="+", default=["3m"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["auto", "default"])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has fastai")
    args = parser.parse_args()
    print(table_row(HEADER), table_row(["---"] * len(HEADER)), sep="\n", flush=True)
    for name in args.data:
        for limit in args.limits:
            for seed in args.seeds:
                for method in args.methods:
                    with tempfile.TemporaryDirectory() as root:
                        task = Task(keep_back(name, Path(root), seed), limit, seed, args.python)
                        print(_row(name, task, method, METHODS[method](task)), flush=True)


def _row(name: str, task: Task, method: str, outcome: Outcome) -> str:
    score = "none" if outcome.score is None else f"{outcome.score:.4f}"
    cells = [name, task.limit, str(task.seed), method, outcome.expected, outcome.one_fold, score]
    return table_row([*cells, f"{outcome.seconds:.1f}", outcome.remark])


if __name__ == "__main__":
    main()
