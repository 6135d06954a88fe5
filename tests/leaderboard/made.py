"""Runs and submissions for the leaderboard, made without images or training."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from kit.config import Config
from kit.evaluation.evaluate import evaluate
from kit.predictions import load_predictions
from kit.storage.files import read_json, write_json, write_text
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.provenance import write_trace
from tests.evaluation.made import made_run

CLASSES = ("2", "10", "red")
ROWS = 60
TARGETS = np.arange(ROWS) % 3


def probs_for(wrong) -> np.ndarray:
    """Probabilities that are right except for the rows in ``wrong``."""
    decided = TARGETS.copy()
    decided[list(wrong)] = (decided[list(wrong)] + 1) % 3
    return np.eye(3)[decided] * 0.7 + 0.1


@cache
def evaluated(wrong: tuple[int, ...], metric: str) -> dict[str, bytes]:
    """The files of a workspace with one evaluated run ``made/x``; cached, since it takes a fifth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder))
        run = made_run(workspace, "multiclass", metric, TARGETS, probs_for(wrong), CLASSES, name="x")
        for fold in range(5):
            write_json(run.fold(fold).done, {"fold": fold, "seconds": 30.0})
        other_test(run, 1.0)
        evaluate(run, workspace)
        files = [path for path in workspace.root.rglob("*") if path.is_file()]
        return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in files}


def experiment(
    workspace: Workspace, name: str, wrong=range(10), day: int = 1, metric="accuracy", **changes
) -> RunFolder:
    """An evaluated experiment that started on that day of November; ``changes`` are config values."""
    run = workspace.run("made", name)
    for relative, content in evaluated(tuple(wrong), metric).items():
        path = workspace.root / relative.replace("runs/made/x/", f"runs/made/{name}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    values = yaml.load(run.config.read_text(), yaml.CSafeLoader) | changes | {"name": name}
    run.config.write_text(yaml.dump(Config.model_validate(values).model_dump(), Dumper=yaml.CSafeDumper))
    started = f"2026-11-{day:02d}T08:00:00+00:00"
    write_json(run.environment, {"device": "cpu", "commit": "0123456789abcdef", "started": started})
    return run


def other_test(run: RunFolder, confidence: float, models: str = "m") -> None:
    """Write other test predictions than the run has."""
    test = load_predictions(run.test)
    probs = np.array([[confidence, 0.0, 1.0 - confidence]], dtype=np.float32)
    replace(test, ids=("t 1",), probs=probs, origin=replace(test.origin, models=models)).save(run.test)


def blend(workspace: Workspace, name: str, members=("a", "b"), wrong=range(8), **more) -> RunFolder:
    """An evaluated blend of those experiments."""
    run = experiment(workspace, name, wrong)
    values = {
        "method": {"name": "weights"},
        "members": [f"made/{member}" for member in members],
        "config": yaml.load(run.config.read_text(), yaml.CSafeLoader),
        "worth": {},
    }
    run.config.unlink()
    run.environment.unlink()
    write_json(run.blend, values | more)
    scores = read_json(run.metrics)
    write_json(run.metrics, scores | {"nested": scores["cv"]})
    return run


def submitted(
    workspace: Workspace, run: RunFolder, text: str = "ID,Label\n1,red\n", **more
) -> SubmissionFile:
    """A submission of a run as it is now, with its trace."""
    file = workspace.submission(run.competition, run.name)
    write_text(file.path, text)
    test, scores = load_predictions(run.test), read_json(run.metrics)
    trace = {
        "competition": run.competition,
        "experiment": run.label,
        "of": "blend" if run.blend.exists() else "experiment",
        "metric": scores["metric"],
        "higher_is_better": scores["higher_is_better"],
        "cv": scores["cv"],
        "sd": scores["sd"],
        "models": test.origin.models,
        "predictions": test.digest(),
        "decision": read_json(run.decision)["steps"],
        "commit": "fedcba9876543210",
    }
    write_trace(file, trace | more)
    return file
