"""Write a run that can be submitted, without training: a few images, OOF and test predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from kit.predictions import load_oof
from kit.storage.workspace import RunFolder, Workspace
from kit.tasks import tasks
from tests.conftest import draw
from tests.evaluation.runs import write_run

ROWS = 200


def write_submittable_run(
    workspace: Workspace,
    task: str,
    metric,
    classes: tuple[str, ...],
    test: tuple[str, ...],
    sample: str | None = None,
    name: str = "made",
    skill: float = 3.0,
    decide: tuple = ("auto",),
    **submission,
) -> RunFolder:
    """Write a competition folder with one test image per id in ``test``, and a run; return the run."""
    root, kind = workspace.root / "data" / "made", tasks.get(task)
    _draw_images(root, kind, classes, test)
    values = dict(submission)
    if sample is not None:
        (root / "sample.csv").write_text(sample, newline="", encoding="utf-8")
        values["sample"] = "sample.csv"
    rng = np.random.default_rng(5)
    targets = (
        rng.integers(0, len(classes), ROWS) if kind.exclusive else rng.integers(0, 2, (ROWS, len(classes)))
    )
    truth = kind.one_hot(targets, len(classes)).astype(np.float64)
    probs = _draw_probs(rng, truth, kind, skill)
    train = (
        {"layout": "class_folders"}
        if kind.exclusive
        else {"layout": "csv", "file": "train.csv", "id": "id", "label": list(classes)}
    )
    competition = {"name": "made", "data": "made", "task": task, "metric": metric, "train": train}
    competition |= {"classes": list(classes), "test": {"folder": "test", "ids": "stem"}, "case": "distinct"}
    run = write_run(
        workspace,
        task,
        metric,
        targets,
        probs,
        classes,
        name=name,
        competition=competition,
        submission=values,
        decide=list(decide),
    )
    oof = load_oof(run)
    test_probs = _draw_probs(rng, truth[rng.integers(0, ROWS, len(test))], kind, skill)
    origin = replace(oof.origin, kind="test")
    replace(oof, ids=tuple(test), probs=kind.normalized(test_probs), origin=origin).save(run.test)
    return run


def _draw_probs(rng, truth, kind, skill):
    """Return random probabilities; the larger ``skill``, the closer they are to the labels."""
    logits = rng.normal(size=truth.shape) + skill * truth - (0 if kind.exclusive else skill / 2)
    if kind.exclusive:
        exponentials = np.exp(logits)
        return exponentials / exponentials.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-logits))


def _draw_images(root, kind, classes, test) -> None:
    for number, name in enumerate(test):
        draw(root / "test" / f"{name}.png", (200, 30, 30), number)
    for number, name in enumerate(classes):
        path = root / "train" / (f"{name}/{number}.png" if kind.exclusive else f"{number}.png")
        draw(path, (30, 200, 30), 1000 + number)
    if not kind.exclusive:
        table = pd.DataFrame(np.eye(len(classes), dtype=int), columns=list(classes))
        table.insert(0, "id", [f"{number}.png" for number in range(len(classes))])
        table.to_csv(root / "train.csv", index=False)
