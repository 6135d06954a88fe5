"""Killed again and again, a run ends as if it never was; over the folds its memory stays."""

import contextlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kit.engine.models.checkpoints import load_resume
from kit.storage.workspace import Workspace
from tests.benchmarks.recipes import digits_workspace
from tests.conftest import draw_class_folders, kit, oof_bytes, wait_for, write_config

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_memory_is_flat_over_the_folds(tmp_path):
    """After five folds the process holds no more than 1.1 times what it held after the first."""
    digits_workspace(tmp_path, per_class=30)
    code = (
        "import sys; from pathlib import Path\n"
        "from kit.training import experiment; from kit.storage.workspace import Workspace\n"
        "from tests.benchmarks.recipes import recipe_config\n"
        "workspace = Workspace.open(Path(sys.argv[1]))\n"
        "config = recipe_config(0, ['train.average=ema', 'train.keep=best'], epochs=3)\n"
        "pages = lambda: int(Path('/proc/self/statm').read_text().split()[1])\n"
        "for k in range(5):\n"
        "    experiment.train(config, workspace, only=[k]); print(pages())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    held = [int(line) for line in done.stdout.split()]
    assert len(held) == 5
    assert held[-1] <= 1.1 * held[0], held


@pytest.mark.slow
def test_twenty_random_kills_change_no_bit(tmp_path):
    """Killed at random moments of training, the run ends as if it never was; ``pytest -s`` says where it hit."""
    changes = {
        "name": "a",
        "train__epochs": 300,
        "train__average": "ema",
        "train__keep": "best",
        "augment__mixup": 0.2,
        "model__options": {"widths": [8, 16], "dropout": 0.2},
    }
    whole, killed = (
        Workspace.open(draw_class_folders(tmp_path / name / "data" / "tiny").parents[1])
        for name in ("whole", "killed")
    )
    for workspace, minutes in ((whole, 10), (killed, 1e-9)):
        write_config(workspace, checkpoint__every_minutes=minutes, **changes)
    uninterrupted = kit(whole, "run", str(whole.config("a")))
    uninterrupted.communicate()
    assert uninterrupted.returncode == 0
    rng, hits = random.Random(0), []
    while len(hits) < 20:
        process = kit(killed, "run", str(killed.config("a")), stdin=subprocess.DEVNULL)
        folds = [killed.run("tiny", "a").fold(k) for k in range(2)]
        before = [marks(fold) for fold in folds]
        wait_for(lambda: process.poll() is not None or [marks(fold) for fold in folds] != before)  # noqa: B023
        time_to_live = rng.uniform(0, 0.6)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(time_to_live)
        assert process.poll() is None, "it ended before it was killed twenty times: train longer"
        process.kill()
        process.communicate()
        hits.append(where_it_was(folds))
    progress = kit(killed, "run", str(killed.config("a")))
    _, said = progress.communicate()
    assert progress.returncode == 0, said
    assert oof_bytes(killed) == oof_bytes(whole)
    print("\n".join(hits))


def marks(fold) -> tuple:
    """Return what changes when a fold gets on."""
    return tuple(path.stat().st_mtime_ns for path in (fold.resume, fold.done) if path.exists())


def where_it_was(folds) -> str:
    fold = folds[1] if folds[0].done.exists() else folds[0]
    drafts = [path.name for path in fold.path.glob(".*.tmp")]
    saved, damaged = load_resume(fold)
    at = f"epoch {saved['state']['epoch']}, step {saved['state']['step']}" if saved else "no checkpoint"
    return f"{fold.path.name}: {at}" + (f", while writing {drafts[0]}" if drafts else "") + "".join(damaged)
