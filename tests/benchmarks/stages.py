"""Run one stage of the growth benchmark: ``python -m tests.benchmarks.stages STAGE WORKSPACE``.

A stage prepares its input and returns the function to time. The function leaves the input of the next stage
in the workspace.
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
from tests.benchmarks.memory import PeakMemory

CPU = torch.device("cpu")
MIN_SECONDS = 0.5  # a shorter stage is repeated, and its minimum time counts
OVERRIDES = [
    "model={name: simple_cnn, pretrained: false, options: {widths: [8, 16]}}",
    "image.size=64",
    "augment.preset=medium",
    "train.precision=fp32",
]

Work = Callable[[], object]


@dataclass(frozen=True)
class Place:
    """A workspace with one competition of linked images."""

    workspace: Workspace

    def config(self) -> Config:
        """Return the experiment: a small network, so that computation does not hide other costs."""
        return load_config(self.workspace.config(NAME), OVERRIDES)

    def training_data(self) -> TrainingData:
        """Return the training data of the experiment."""
        return prepare(self.config(), self.workspace)


def init(place: Place) -> Work:
    """Detect the layout of the folder, and write a config."""
    return lambda: pipeline.init(NAME, workspace=place.workspace, force=True)


def inspect(place: Place) -> Work:
    """Decode and audit all images."""
    config = place.config()
    competition = load_competition(config.competition, place.workspace)

    def inspected() -> object:
        scan = scan_images(competition, place.workspace.image_table(NAME))
        return audit(competition, scan, config.competition.near)

    return inspected


def audit_again(place: Place) -> Work:
    """Audit scanned images: exact and near duplicates, sizes, classes."""
    config = place.config()
    opened = open_competition(config, place.workspace)
    return lambda: audit(opened.loaded, opened.scan, config.competition.near)


def folds(place: Place) -> Work:
    """Split the samples into folds."""
    config = place.config()
    population = population_of(open_competition(config, place.workspace), config)
    return lambda: make_folds(population, config.folds)


def prepare_again(place: Place) -> Work:
    """Check files for changes and read the tables, as every later command does first."""
    config = place.config()
    prepare(config, place.workspace)
    return lambda: prepare(config, place.workspace)


def load(place: Place) -> Work:
    """Load every training image once: decoded, augmented, in batches."""
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
    """Predict every test image with an untrained network."""
    config, data = place.config(), place.training_data()
    competition = data.competition
    model, _ = build_model(config.model, config.image, CLASSES)
    images = ImageSet.of(competition.test)
    store = image_store(config, place.workspace, data)
    tta_plan = TTAPlan.of([(Component(name="identity"),)], ModelInput.of(model))
    predictor = Predictor(model, competition.task, CPU, Amp(torch.device("cpu"), "fp32").autocast)

    def predicted() -> None:
        dataset = SourceDataset(images, store, tta_plan.sources, model.preprocessing, seed=0)
        predict_views(predictor, source_loader(dataset, 64, 0, CPU), tta_plan, merges.get("mean"))

    return predicted


def evaluation(place: Place) -> Work:
    """Score out-of-fold predictions."""
    run = _predicted(place)
    return lambda: evaluate(run, place.workspace)


def submission(place: Place) -> Work:
    """Write and check the submission of test predictions."""
    run = _predicted(place)
    return lambda: submit(run, place.workspace)


def _predicted(place: Place) -> RunFolder:
    """Return a run with random predictions, better than chance."""
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
    "audit": audit_again,
    "folds": folds,
    "prepare": prepare_again,
    "load": load,
    "predict": predict,
    "evaluate": evaluation,
    "submit": submission,
}
ONCE = {"inspect", "load", "predict"}  # a second run would use the cache of the first


def cost_of(stage: str, root: Path) -> tuple[float, int]:
    """Return the seconds of a stage, and its peak memory in bytes without imports."""
    place = Place(Workspace.open(root))
    if stage in ("evaluate", "submit"):
        _predicted(place)
    with PeakMemory() as memory:
        work = STAGES[stage](place)
        times = list(_times(work, once=stage in ONCE))
    return min(times), memory.bytes


def _times(work: Work, once: bool) -> Iterator[float]:
    spent = 0.0
    while spent < MIN_SECONDS:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        yield seconds
        spent += MIN_SECONDS if once else seconds


def main() -> None:
    """Print the cost of a stage as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("workspace", type=Path)
    args = parser.parse_args()
    seconds, memory = cost_of(args.stage, args.workspace)
    print(json.dumps({"seconds": seconds, "memory": memory}))


if __name__ == "__main__":
    main()
