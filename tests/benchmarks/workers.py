"""Measure folds per hour with several workers, and the cost of a Ray task: ``python -m tests.benchmarks.workers``.

A worker has one core here, as it has one GPU elsewhere. More workers than this machine has cores are modelled
from one worker, with the efficiency that two workers had; the rows say so. The images are drawn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.claim import Claim, not_measured, show
from tests.benchmarks.growth import draw_pool, link_competition

IMAGES, FOLDS, EPOCHS = 600, 8, 3
WORKERS = (1, 2, 4, 8)
MAX_OVERHEAD = 5.0  # seconds of a Ray task, beyond importing torch
FOLDS_PER_HOUR = "folds per hour with {} of one core each"
OVERHEAD = "Ray task of a fold: time beyond the fold itself and importing torch"


def claims() -> list[Claim]:
    """Measure on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = _workspace(root)
        _train(root, config, "warm", "--fold", "0")  # fills the image cache
        return [*_folds_per_hour(root, config), _overhead(root, config)]


def _workspace(root: Path) -> Path:
    """Draw a competition and return its config: eight folds of a small network."""
    from kit import pipeline
    from kit.storage.workspace import Workspace

    draw_pool(root / "pool", IMAGES + IMAGES // 2)
    (root / "data").mkdir()
    link_competition(root / "pool", root / "data/drawn", IMAGES)
    return pipeline.init("drawn", workspace=Workspace.open(root)).config


def _folds_per_hour(root: Path, config: Path) -> list[Claim]:
    """Return folds per hour: measured with as many workers as cores, else modelled."""
    cores = sorted(os.sched_getaffinity(0))
    measured = {1: _rate(_train(root, config, "workers-1", cores=cores[:1]))}
    for workers in (each for each in WORKERS[1:] if each <= len(cores)):
        seconds = _train(
            root, config, f"workers-{workers}", "--devices", f"cpu:{workers}", cores=cores[:workers]
        )
        measured[workers] = _rate(seconds)
    most = max(measured)
    efficiency = measured[most] / (most * measured[1])
    made = []
    for workers in WORKERS:
        name = FOLDS_PER_HOUR.format("one worker" if workers == 1 else f"{workers} workers")
        if workers in measured:
            about = f"measured; {measured[workers] / measured[1]:.2f} x one worker, start included"
            made.append(Claim(name, measured[workers], None, "higher", "folds/h", about))
        else:
            about = f"modelled: one worker x {workers} x the efficiency of {most} workers, {efficiency:.2f}"
            made.append(Claim(name, workers * measured[1] * efficiency, None, "higher", "folds/h", about))
    return made


def _rate(seconds: float) -> float:
    return FOLDS * 3600 / seconds


def _overhead(root: Path, config: Path) -> Claim:
    """Return what Ray adds to each fold: the time of all folds one after the other, with Ray and without."""
    try:
        import ray  # noqa: F401
    except ImportError:
        return not_measured(OVERHEAD, "needs the extra cluster")
    cores = len(os.sched_getaffinity(0))
    alone = _train(root, config, "alone")
    start, torch = _seconds(root, "-c", START_RAY), _seconds(root, "-c", "import torch")
    together = _train(root, config, "ray", "--ray", "local", "--fold-cpus", str(cores))
    added = (together - alone - start - torch) / FOLDS
    about = (
        f"{FOLDS} folds one after the other: {together:.1f} s with Ray, {alone:.1f} s without; starting Ray "
        f"{start:.1f} s, importing torch {torch:.1f} s"
    )
    return Claim(OVERHEAD, added, MAX_OVERHEAD, "lower", "s", about)


START_RAY = """
from kit.parallel.cluster import connected
from kit.parallel.devices import Cluster
with connected(Cluster("local")):
    pass
"""


def _train(root: Path, config: Path, name: str, *more: str, cores: list[int] | None = None) -> float:
    """Return the seconds of ``kit train`` of all folds, on these cores."""
    recipe = [f"name={name}", "model.name=simple_cnn", "image.size=48", f"train.epochs={EPOCHS}"]
    recipe += [f"folds.count={FOLDS}", "train.precision=fp32"]
    settings = [part for value in recipe for part in ("--set", value)]
    return _seconds(root, "-m", "kit", "train", str(config), *settings, *more, cores=cores)


def _seconds(root: Path, *words: str, cores: list[int] | None = None) -> float:
    """Return the seconds of a Python process in a workspace, on these cores."""
    env = {k: v for k, v in os.environ.items() if k not in ("KIT_DATA", "KIT_WEIGHTS", "KIT_CACHE")}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        cwd=root,
        check=True,
        capture_output=True,
        env=env,
        preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, cores),
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    show(claims())
