"""Write runs and submissions for the leaderboard, without images or training."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from kit.config import Config
from kit.ensemble.members import member_inputs
from kit.evaluation.evaluate import evaluate
from kit.predictions import load_oof, load_predictions, load_test
from kit.storage import run_artifacts
from kit.storage.files import read_json, write_json, write_text
from kit.storage.provenance import Identity, read_artifact, write_artifact
from kit.storage.run_artifacts import read_scores, write_scores
from kit.storage.workspace import RunFolder, SubmissionFile, Workspace
from kit.submission.trace_values import write_trace
from kit.training.trained_folds import TrainedFold, model_identity, models_digest
from tests.evaluation.runs import write_run

CLASSES = ("2", "10", "red")
ROWS = 60
TARGETS = np.arange(ROWS) % 3
INPUTS = {"folds": "f", "images": "i", "config": "c"}  # digests of other folds: these models are stale


def probs_with_errors(wrong) -> np.ndarray:
    """Return probabilities (60, 3) whose largest is the label except in the rows ``wrong``."""
    predicted = TARGETS.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 3
    return np.eye(3)[predicted] * 0.7 + 0.1


@cache
def evaluated_files(wrong: tuple[int, ...], metric: str) -> dict[str, bytes]:
    """Return the files of a workspace with one evaluated run ``made/x``; cached, since that takes 0.2 s."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder))
        run = write_run(workspace, "multiclass", metric, TARGETS, probs_with_errors(wrong), CLASSES, name="x")
        folds = [
            TrainedFold({"model": f"m{fold}", "score": 0.5, "seconds": 30.0}, INPUTS) for fold in range(5)
        ]
        for fold, trained in enumerate(folds):
            write_artifact(run.fold(fold).done, trained.values, model_identity(run, fold), trained.inputs)
        oof = load_oof(run)
        replace(oof, origin=replace(oof.origin, models=models_digest(folds))).save(run.oof)
        write_test_probs(run, 1.0, models_digest(folds))
        evaluate(run, workspace)
        files = [path for path in workspace.root.rglob("*") if path.is_file()]
        return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in files}


def write_experiment(
    workspace: Workspace, name: str, wrong=range(10), day: int = 1, metric="accuracy", **changes
) -> RunFolder:
    """Write an evaluated experiment started on this day of November 2026; ``changes`` are config values."""
    run = workspace.run("made", name)
    for relative, content in evaluated_files(tuple(wrong), metric).items():
        path = workspace.root / relative.replace("runs/made/x/", f"runs/made/{name}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    rename_artifacts(run, "made/x")
    values = yaml.load(run.config.read_text(), yaml.CSafeLoader) | changes | {"name": name}
    run.config.write_text(yaml.dump(Config.model_validate(values).model_dump(), Dumper=yaml.CSafeDumper))
    started = f"2026-11-{day:02d}T08:00:00+00:00"
    write_json(run.environment, {"device": "cpu", "commit": "0123456789abcdef", "started": started})
    return run


def rename_artifacts(run: RunFolder, before: str) -> None:
    """Write the artifacts of a copied run folder again, with its own name."""
    if run.label == before:
        return
    for path, kind in ((run.oof, "oof"), (run.test, "test")):
        predictions = load_predictions(path, Identity(before, kind), "")
        replace(predictions, origin=replace(predictions.origin, experiment=run.label)).save(path)
    folds = [(run.fold(k).done, "model", str(k)) for k in range(5)]
    for path, kind, part in ((run.metrics, "scores", ""), (run.decision, "postprocessing", ""), *folds):
        values, provenance = read_artifact(path, Identity(before, kind, part), "")
        write_artifact(path, values, Identity(run.label, kind, part), provenance.inputs)


def write_test_probs(run: RunFolder, confidence: float, models: str | None = None) -> None:
    """Replace the test predictions of a run by one row with this confidence in the first class."""
    test = load_test(run)
    probs = np.array([[confidence, 0.0, 1.0 - confidence]], dtype=np.float32)
    origin = replace(test.origin, models=models or test.origin.models)
    replace(test, ids=("t 1",), probs=probs, origin=origin).save(run.test)


def write_blend(workspace: Workspace, name: str, members=("a", "b"), wrong=range(8), **more) -> RunFolder:
    """Write an evaluated blend of these experiments; ``more`` are values of its blend.json."""
    run = write_experiment(workspace, name, wrong)
    values = {
        "method": {"name": "weights"},
        "members": [f"made/{member}" for member in members],
        "config": yaml.load(run.config.read_text(), yaml.CSafeLoader),
        "worth": {"members": [], "low": None, "high": None},
        "command": f"kit blend --name {name}",
    }
    run.config.unlink()
    run.environment.unlink()
    inputs = {
        name: digest
        for member in members
        if workspace.run("made", member).oof.exists()
        for name, digest in member_inputs(workspace.run("made", member)).items()
    }
    run_artifacts.write_blend(run, values | more, inputs)
    scores, provenance = read_scores(run)
    write_scores(run, scores | {"nested": scores["cv"]}, provenance.inputs)
    return run


def write_submission(
    workspace: Workspace, run: RunFolder, text: str = "ID,Label\n1,red\n", **more
) -> SubmissionFile:
    """Write a submission of a run and its trace; ``more`` are values of the trace."""
    file = workspace.submission(run.competition, run.name)
    write_text(file.path, text)
    test, (scores, _) = load_test(run), read_scores(run)
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
