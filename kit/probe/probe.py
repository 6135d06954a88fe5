"""Compare backbones by a cross-validated linear classifier on their features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.config import Config, ModelConfig
from kit.errors import KitError, counted, first_few, raise_mistakes
from kit.inference.experiment_models import assemble_oof
from kit.runtime.displayed import Displayed
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, image_store, prepare
from kit.training.fold import FoldRunner, sized_prediction_transform
from kit.training.linear import best_strength, fitted_probs
from kit.training.precision import settled_precision
from kit.training.scorable import check_scorable

if TYPE_CHECKING:
    from kit.engine.fit.frozen_features import FeatureExtractor
    from kit.engine.models.build import Classifier

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
TIMED_BATCHES = 3


@dataclass(frozen=True)
class Probed:
    """The result of one backbone.

    Attributes:
        oof: Metric of the out-of-fold predictions.
        folds: Metric of each fold.
        images_per_second: Speed of the backbone with images in memory.
        parameters: Number of parameters without the head.
        megabytes: Their size in float32.
        features: Number of features per image.
        licence: License of the weights; empty if unknown.
        strength: Inverse regularization strength (C), median over the folds.
        seconds: Total duration.
    """

    model: str
    weights: str | None
    oof: float
    folds: tuple[float, ...]
    images_per_second: float
    parameters: int
    megabytes: float
    size: int
    features: int
    licence: str
    strength: float
    seconds: float


@dataclass(frozen=True)
class Probes(Displayed):
    """Results of several backbones, best first."""

    metric: str
    higher_is_better: bool
    images: int
    models: tuple[Probed, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def probe(config: Config, workspace: Workspace, models: Sequence[str], progress: Progress = SILENT) -> Probes:
    """Return the cross-validated score of a linear classifier on the features of each model.

    Features are cached and shared with experiments that train only the head.

    Args:
        models: ``NAME`` (weights from the weights folders, else downloaded) or ``NAME=FILE``.

    Raises:
        KitError: Lists every model that is unknown, cannot be built, or whose weights are unavailable or do
            not fit; or the data is wrong, or the metric cannot be computed on a fold.
    """
    candidates = _candidates(config, workspace, models)
    data = prepare(config, workspace, progress)
    check_scorable(data, range(data.folds.models), progress)
    found = [_probed(candidate, workspace, data, progress) for candidate in candidates]
    metric = data.competition.metric
    sign = -1 if metric.higher_is_better else 1
    ranked = sorted(found, key=lambda each: sign * each.oof)
    return Probes(metric.name, metric.higher_is_better, len(data.samples), tuple(ranked))


# --- models and weights


def _candidates(config: Config, workspace: Workspace, models: Sequence[str]) -> list[Config]:
    """Return the config with each model."""
    from kit.engine.device.device import find_device
    from kit.engine.models.build import build_model, check_model, check_weights

    find_device()  # refuses a GPU that torch has no code for
    if not models:
        raise KitError(
            "--models",
            "names no model",
            next="For example: --models mobilenetv2_100,resnet50.",
            code="no_models",
        )
    found, mistakes = [], []
    for spec in models:
        name, _, file = spec.partition("=")
        try:
            check_model(ModelConfig(name=name))
            weights = file or weights_of(name, workspace)
            model = ModelConfig(name=name, weights=weights, trains={1: 0})
            check_weights(model)
            weights_path = workspace.weights(weights) if weights else None
            build_model(model, config.image, 2, weights_path)  # fail before any features are computed
            found.append(config.model_copy(update={"model": model}))
        except KitError as error:
            mistakes.append(error)
    raise_mistakes("--models", mistakes, f"{len(mistakes)} of {len(models)} cannot be probed")
    return found


def weights_of(name: str, workspace: Workspace) -> str | None:
    """Return the weights file with the name of a model, or None."""
    plain = name.removeprefix("torchvision:").partition("@")[0]
    files = [path for root in workspace.weights_roots if root.is_dir() for path in root.iterdir()]
    # A file name that is in several folders counts once; the first folder is used.
    fitting = sorted({path.name for path in files if path.suffix in ENDINGS and _is_of(path, plain)})
    if len(fitting) > 1:
        raise KitError(
            f"--models {name}",
            f"{counted(len(fitting), 'weights file has', 'weights files have')} this name "
            f"({first_few(fitting)})",
            next=f"Choose one: --models {name}={fitting[0]}",
            code="weights_ambiguous",
        )
    return fitting[0] if fitting else None


def _is_of(path: Path, name: str) -> bool:
    """Return whether a file name is that of a model, and not of a model with a longer name."""
    from kit.engine.models.build import longer_names

    return starts_with_name(path, name) and not any(
        starts_with_name(path, longer) for longer in longer_names(name)
    )


def starts_with_name(path: Path, name: str) -> bool:
    """Return whether a weights file is named after a model, or after one with a longer name."""
    return path.stem == name or path.name.startswith(tuple(f"{name}{mark}" for mark in "._-"))


# --- one model


def _probed(config: Config, workspace: Workspace, data: TrainingData, progress: Progress) -> Probed:
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device, prepare_process
    from kit.engine.models.heads import head_parameters
    from kit.engine.models.timm_models import license_of

    began = time.perf_counter()
    name, weights = config.model.name, config.model.weights
    progress.stage(name, f"weights {weights or 'downloaded'}")
    run = workspace.run(data.competition.name, config.name)
    store = image_store(config, workspace, data, progress)
    runner = FoldRunner(config, workspace, data, run, store, progress)
    prepare_process()
    amp = Amp(find_device(), settled_precision(config, workspace, len(data.competition.classes)).name)
    model = runner.model(0).to(amp.device)
    files = runner.feature_files(model, amp, [sized_prediction_transform(model.preprocessing)])
    features = np.asarray(files.read().plain)
    oof, folds, strength = _cross_validated(features, data, progress)
    head = head_parameters(model.backbone)
    parameters = sum(p.numel() for p in model.backbone.parameters() if p not in head)
    return Probed(
        model=name,
        weights=weights,
        oof=oof,
        folds=folds,
        images_per_second=_pace(model, files.extractor, progress),
        parameters=parameters,
        megabytes=parameters * 4 / 1e6,
        size=model.preprocessing.predicting,
        features=features.shape[1],
        licence=license_of(name, weights),
        strength=strength,
        seconds=time.perf_counter() - began,
    )


def _pace(model: Classifier, extractor: FeatureExtractor, progress: Progress) -> float:
    """Return the images per second of the network."""
    import torch

    from kit.engine.data.datasets import inference_batch_size
    from kit.engine.device.memory import halve_until_it_fits

    own, device = model.preprocessing, extractor.amp.device

    def measure(batch: int) -> float:
        images = torch.zeros(batch, own.channels, own.predicting, own.predicting, device=device)
        seconds = []
        with torch.inference_mode(), extractor.amp.autocast():
            for _ in range(1 + TIMED_BATCHES):
                began = time.perf_counter()
                model.eval()(images).sum().item()
                seconds.append(time.perf_counter() - began)
        return batch / min(seconds[1:])

    batch_size = inference_batch_size(extractor.batch_size, device, own.predicting)
    return halve_until_it_fits(batch_size, measure, progress.warn)


def _cross_validated(
    features: np.ndarray, data: TrainingData, progress: Progress
) -> tuple[float, tuple[float, ...], float]:
    """Return the metric of all out-of-fold rows, the metric of each fold, and the median C.

    Each fold chooses C on its own training rows, never on its validation rows.
    """
    competition, folds, samples = data.competition, data.folds, data.samples
    task, classes, targets = competition.task, len(competition.classes), data.targets()
    truth = task.one_hot(targets, classes)
    fold_probs, scores, strengths = {}, [], []
    for k in progress.track(range(folds.models), folds.models, "linear classifiers"):
        training, validation = folds.training(samples, k), folds.validation(samples, k)
        train_features, train_truth = features[training], truth[training]
        strengths.append(best_strength(train_features, train_truth, task.target))
        probs = fitted_probs(train_features, train_truth, features[validation], task.target, strengths[-1])
        fold_probs[k] = probs
        metric = competition.metric.for_rows(targets[validation], classes, task)
        scores.append(metric(targets[validation], task.normalized(probs), task))
    validated = data.validated()
    oof = assemble_oof({k: folds.validation(validated, k) for k in fold_probs}, fold_probs)
    rows = competition.task.targets(validated, competition.classes)
    return (
        competition.metric.for_rows(rows, classes, task)(rows, task.normalized(oof), task),
        tuple(scores),
        sorted(strengths)[len(strengths) // 2],
    )
