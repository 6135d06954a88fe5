"""Measure the startup time and imports of kit: ``python -m tests.benchmarks.startup``.

Each ``--help`` runs in its own process, and the minimum of several runs counts. A training on drawn images
runs to the end of its first step, with the time of each part.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmarks.claim import Claim, show

TRIES = 3
HELP_SECONDS, STEP_SECONDS = 0.4, 8.0
HEAVY = ("torch", "timm", "albumentations", "pandas", "sklearn", "matplotlib")
LIGHT_VERBS = {
    "folds": ["folds", "configs/drawn.yaml"],
    "check": ["check", "data/drawn/sample_submission.csv", "configs/drawn.yaml"],
    "leaderboard": ["leaderboard"],
}
IMAGES, SIDE, CLASSES = 200, 224, 4
TRAINING = [
    "model={name: mobilenetv2_100, pretrained: false}",
    "image.size=224",
    "train.epochs=1",
]
LOADED = "import sys; print('\\n', *sorted({name.partition('.')[0] for name in sys.modules}))"
RUN_VERB = """
import sys
from kit.cli.main import app
try:
    app(sys.argv[1:], standalone_mode=False)
except SystemExit as over:
    assert not over.code, over
"""


# --- help


def commands() -> list[list[str]]:
    """Return all commands: kit itself, its verbs, and their subcommands."""
    from kit.cli.main import app

    return [[], *_below(app, [])]


def _below(app: Any, before: list[str]) -> list[list[str]]:
    found = [[*before, str(command.name or command.callback.__name__)] for command in app.registered_commands]
    for group in app.registered_groups:
        name = [*before, str(group.name)]
        found += [name, *_below(group.typer_instance, name)]
    return found


def help_seconds(command: Sequence[str]) -> float:
    """Return the seconds of a ``--help``, including the start of Python."""
    return min(_seconds([sys.executable, "-m", "kit", *command, "--help"]) for _ in range(TRIES))


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def loaded_by(arguments: Sequence[str], folder: Path | None = None) -> set[str]:
    """Return the top-level packages that a command has imported at its end."""
    command = [sys.executable, "-c", RUN_VERB + LOADED, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def help_claims() -> list[Claim]:
    """Return the claims that every ``--help`` is fast and imports no heavy package."""
    all_commands = commands()
    seconds = {" ".join(["kit", *command, "--help"]): help_seconds(command) for command in all_commands}
    slowest = max(seconds, key=lambda name: seconds[name])
    needless = {
        name: _heavy(loaded_by([*command, "--help"]))
        for name, command in zip(seconds, all_commands, strict=True)
    }
    named = [f"{name}: {', '.join(sorted(heavy))}" for name, heavy in needless.items() if heavy]
    bare = min(_seconds([sys.executable, "-c", "pass"]) for _ in range(TRIES))
    return [
        Claim(
            "kit --help: time",
            seconds["kit --help"],
            HELP_SECONDS,
            "lower",
            "s",
            f"Python alone: {bare:.2f} s",
        ),
        Claim(
            f"slowest --help of {len(all_commands)} commands: time",
            seconds[slowest],
            HELP_SECONDS,
            "lower",
            "s",
            slowest,
        ),
        Claim(f"--help outputs that import {', '.join(HEAVY)}", len(named), 0, "lower", "", "; ".join(named)),
    ]


def _heavy(loaded: set[str]) -> set[str]:
    return loaded & set(HEAVY)


# --- verbs


def draw_competition(root: Path) -> None:
    """Write a workspace with a competition of JPEGs in class folders, a sample submission and a config."""
    from kit import pipeline
    from kit.storage.workspace import Workspace

    rng, data = np.random.default_rng(0), root / "data" / "drawn"
    rows = ["id,label"]
    for number in range(IMAGES + IMAGES // 10):
        label, of_test = f"class_{number % CLASSES}", number >= IMAGES
        path = data / ("test" if of_test else f"train/{label}") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=85)
        rows += [f"{path.name},{label}"] if of_test else []
    (data / "sample_submission.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    pipeline.init("drawn", workspace=Workspace.open(root))


def verb_claims(root: Path) -> list[Claim]:
    """Return the claims that verbs without a network do not import torch."""
    return [
        Claim(
            f"kit {verb} imports torch",
            "torch" in loaded_by(arguments, root),
            0,
            "lower",
            "",
            "0: not imported",
        )
        for verb, arguments in LIGHT_VERBS.items()
    ]


# --- training


class _SteppedError(Exception):
    """Ends the training after its first step."""


def first_step(root: Path) -> dict[str, float]:
    """Train to the end of the first step; return the seconds of each part, in order."""
    start = time.perf_counter()
    import torch  # noqa: F401

    moments = {"import torch": time.perf_counter() - start}
    before = time.perf_counter()

    def done(what: str) -> None:
        nonlocal before
        now = time.perf_counter()
        moments[what] = now - before
        before = now

    from kit.config.load import load_config
    from kit.storage.workspace import Workspace
    from kit.training import experiment

    workspace = Workspace.open(root)
    config = load_config(workspace.config("drawn"), TRAINING)
    done("importing kit and loading the config")
    from kit.engine.fit import validate_config
    from kit.engine.fit.train_step import TrainStep
    from kit.training.fold import FoldRunner

    done("importing timm, albumentations and the rest of the engine")
    _note_after(validate_config, "check_recipe", "checking the config", done)
    _note_after(experiment, "prepare", "reading the images and making folds", done)
    _note_after(experiment, "settled_precision", "precision trial of bf16 and fp32", done)
    _note_after(FoldRunner, "model", "building the model", done)
    _note_after(FoldRunner, "trainer", "building optimizer, loss and data loaders", done)
    step = TrainStep.__call__

    def one_step(train_step: TrainStep, *batch: Any) -> None:
        done("loading the first batch")
        step(train_step, *batch)
        done("the first step")
        raise _SteppedError

    TrainStep.__call__ = one_step  # type: ignore[method-assign, assignment]
    try:
        experiment.train(config, workspace, only=[0])
    except _SteppedError:
        return moments
    raise RuntimeError("the training ended without a step")


def _note_after(owner: Any, name: str, what: str, done: Any) -> None:
    """Wrap a function so that it calls ``done`` when it returns."""
    function = getattr(owner, name)

    def noted(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        done(what)
        return result

    setattr(owner, name, noted)


def step_claims(root: Path) -> list[Claim]:
    """Return the claims about the time to the start and to the end of the first training step."""
    command = [sys.executable, "-m", "tests.benchmarks.startup", "--first-step", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    moments: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    torch_seconds = moments.pop("import torch")
    what = f"kit train, mobilenetv2_100 at 224 px, {IMAGES} images, after importing torch"
    first_step = moments.pop("the first step")
    spent = sorted(moments.items(), key=lambda pair: -pair[1])
    detail = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent)
    reached = sum(moments.values())
    detail = f"{detail}; import torch: {torch_seconds:.2f} s"
    return [
        Claim(f"{what}: time to the first step", reached, STEP_SECONDS, "lower", "s", detail),
        Claim(
            f"{what}: time to the end of the first step",
            reached + first_step,
            STEP_SECONDS,
            "lower",
            "s",
            "the first step allocates its memory",
        ),
    ]


def claims() -> list[Claim]:
    """Return the claims."""
    with tempfile.TemporaryDirectory() as folder:
        draw_competition(Path(folder))
        trained = step_claims(Path(folder))  # before a verb caches the scan of the images
        return [*help_claims(), *verb_claims(Path(folder)), *trained]


def main() -> None:
    """Print the claims, or train to the first step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first-step", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.first_step:
        print(json.dumps(first_step(args.first_step)))
        return
    show(claims())


if __name__ == "__main__":
    main()
