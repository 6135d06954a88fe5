"""What grows with the number of images: ``python -m tests.benchmarks.stages STAGE WORKSPACE`` does it once.

Each stage prepares, and returns the work that is timed. It leaves in the workspace what the next one needs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kit import pipeline
from kit.competition.audit import audit
from kit.competition.opened import open_competition
from kit.competition.samples import load_competition
from kit.competition.scan import scan_images
from kit.config import Component, Config
from kit.config.load import load_config
from kit.engine.augment.pipelines import training_transform
from kit.engine.data.datasets import EpochBatches, ImageDataset, ImageSet, SizedTransform, make_loader
from kit.engine.device.amp import Amp
from kit.engine.models.build import build_model
from kit.engine.tta.merge import merges
from kit.engine.tta.predict import Predictor, SourceDataset, TTAPlan, source_loader
from kit.engine.tta.predict import predict as predict_views
from kit.engine.tta.views import ModelInput
from kit.evaluation.evaluate import evaluate
from kit.folds.make import make_folds
from kit.predictions import Kind, Origin, Predictions
from kit.storage.workspace import RunFolder, Workspace
from kit.submission.submit import submit
from kit.training.data import TrainingData, image_set, image_store, population_of, prepare
from kit.training.run_state import claim as claim_run
from tests.benchmarks.growth import CLASSES, NAME
from tests.benchmarks.memory import PeakOwn

CPU = torch.device("cpu")
ENOUGH_SECONDS = 0.5  # of a short stage, repeated, whose quickest time counts
OVERRIDES = [
    "model={name: simple_cnn, pretrained: false, options: {widths: [8, 16]}}",
    "image.size=64",
    "augment.preset=medium",
    "train.precision=fp32",
]

Work = Callable[[], object]


@dataclass(frozen=True)
class Place:
    """A workspace with one competition of links."""

    workspace: Workspace

    def config(self) -> Config:
        """Return its experiment: a small network, since what grows is to be seen, not what computes."""
        return load_config(self.workspace.config(NAME), OVERRIDES)

    def training_data(self) -> TrainingData:
        """Return what the experiment works on."""
        return prepare(self.config(), self.workspace)


def init(place: Place) -> Work:
    """Recognise the folder, and write a config."""
    return lambda: pipeline.init(NAME, workspace=place.workspace, force=True)


def inspect(place: Place) -> Work:
    """Read and decode every image once, and audit them."""
    config = place.config()
    competition = load_competition(config.competition, place.workspace)

    def inspected() -> object:
        scan = scan_images(competition, place.workspace.image_table(NAME))
        return audit(competition, scan, config.competition.near)

    return inspected


def audit_again(place: Place) -> Work:
    """Audit what was read before: duplicates exact and near, sizes, classes."""
    config = place.config()
    opened = open_competition(config, place.workspace)
    return lambda: audit(opened.loaded, opened.scan, config.competition.near)


def folds(place: Place) -> Work:
    """Split a prepared population."""
    config = place.config()
    population = population_of(open_competition(config, place.workspace), config)
    return lambda: make_folds(population, config.folds)


def reopen(place: Place) -> Work:
    """Look whether anything has changed, and read the tables: what every later command begins with."""
    config = place.config()
    prepare(config, place.workspace)
    return lambda: prepare(config, place.workspace)


def load(place: Place) -> Work:
    """Show every training image once: decoded, varied, in batches."""
    config, data = place.config(), place.training_data()
    model, _ = build_model(config.model, config.image, CLASSES)
    images = image_set(data, np.ones(len(data.samples), dtype=bool))
    store = image_store(config, place.workspace, data)
    own = model.preprocessing
    views = {1: SizedTransform(training_transform(config.augment, own), (own.channels, own.size))}
    dataset = ImageDataset(images, store, views, seed=0)
    batches = EpochBatches(len(images), config.train.batch_size, seed=0)
    batches.epoch = 1

    def epoch() -> None:
        for batch in make_loader(dataset, batches, 0, CPU):
            assert not batch.problems

    return epoch


def predict(place: Place) -> Work:
    """Ask an untrained network about every test image."""
    config, data = place.config(), place.training_data()
    competition = data.competition
    model, _ = build_model(config.model, config.image, CLASSES)
    images = ImageSet.of(competition.test)
    store = image_store(config, place.workspace, data)
    tta_plan = TTAPlan.of([(Component(name="identity"),)], ModelInput.of(model))
    predictor = Predictor(model, competition.task, CPU, Amp(torch.device("cpu"), "fp32").autocast)

    def answers() -> None:
        dataset = SourceDataset(images, store, tta_plan.sources, model.preprocessing, seed=0)
        predict_views(predictor, source_loader(dataset, 64, 0, CPU), tta_plan, merges.get("mean"))

    return answers


def evaluation(place: Place) -> Work:
    """Score out-of-fold predictions."""
    run = _predicted(place)
    return lambda: evaluate(run, place.workspace)


def submission(place: Place) -> Work:
    """Prove, write and check the submission of test predictions."""
    run = _predicted(place)
    return lambda: submit(run, place.workspace)


def _predicted(place: Place) -> RunFolder:
    """Return a run whose predictions were drawn, and are somewhat right."""
    run = place.workspace.run(NAME, "drawn")
    if run.test.exists():
        return run
    config, data = place.config(), place.training_data()
    claim_run(run, config.model_copy(update={"name": run.name}), data)
    rng = np.random.default_rng(0)
    competition, validated = data.competition, data.validated()
    truth = competition.task.targets(validated, competition.classes)
    kinds: list[tuple[Kind, Path, Sequence[str], np.ndarray | None]] = [
        ("oof", run.oof, list(validated["id"]), truth),
        ("test", run.test, list(competition.test["id"]), None),
    ]
    for kind, path, ids, known in kinds:
        probs = rng.random((len(ids), CLASSES), dtype=np.float32)
        if known is not None:
            probs[np.arange(len(ids)), known] += 0.5
        probs /= probs.sum(axis=1, keepdims=True)
        images = data.train_images if kind == "oof" else data.other_images[""]
        origin = Origin(
            kind, competition.task.name, run.label, data.folds.fingerprint, ("identity",), "drawn", images
        )
        Predictions(tuple(ids), competition.classes, probs, origin).save(path)
    return run


STAGES: dict[str, Callable[[Place], Work]] = {
    "init": init,
    "inspect": inspect,
    "audit alone": audit_again,
    "folds": folds,
    "reopen": reopen,
    "load": load,
    "predict": predict,
    "evaluate": evaluation,
    "submit": submission,
}
ONCE = {"inspect", "load", "predict"}  # the second time, they find what the first has left


def cost_of(stage: str, root: Path) -> tuple[float, int]:
    """Return the seconds that a stage takes, and the most bytes that it holds beside its imports."""
    place = Place(Workspace.open(root))
    if stage in ("evaluate", "submit"):
        _predicted(place)
    with PeakOwn() as memory:
        work = STAGES[stage](place)
        times = list(_times(work, once=stage in ONCE))
    return min(times), memory.bytes


def _times(work: Work, once: bool) -> Iterator[float]:
    spent = 0.0
    while spent < ENOUGH_SECONDS:
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        yield seconds
        spent += ENOUGH_SECONDS if once else seconds


def main() -> None:
    """Print what a stage takes, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("workspace", type=Path)
    given = parser.parse_args()
    seconds, memory = cost_of(given.stage, given.workspace)
    print(json.dumps({"seconds": seconds, "memory": memory}))


if __name__ == "__main__":
    main()
