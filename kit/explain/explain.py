"""Compute which pixels the predictions of an experiment rest on.

A training image is explained by the models that did not train on it, any other image by the models of all
folds; maps of several models are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.competition.images.files import check_extras, list_images
from kit.competition.images.pixels import three_channel_view
from kit.competition.layouts.base import images_table
from kit.config import Config
from kit.errors import KitError, counted
from kit.evaluation.oof_with_labels import LabeledPredictions, config_of, load_labeled_oof
from kit.explain.explained import Explained, Explanation
from kit.explain.pictures import write_pictures
from kit.inference.experiment_models import open_models
from kit.inference.fold_models import FoldModels, load_fold_model
from kit.inference.new_images import NewImages, open_new_models
from kit.registry import unknown_name
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import EXPLANATION, RunFolder, Workspace
from kit.tasks import Task
from kit.training.data import prepare
from kit.training.fold import sized_prediction_transform

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kit.engine.data.datasets import ImageSet

DEFAULT_METHOD = "grad_cam"
MISTAKES = 20
MOST_OF_CLASS = 20
MOST_CLASSES = 3  # explained of one image
MOST_IMAGES = 100  # on a sheet that people look at


@dataclass(frozen=True)
class Chosen:
    """The images to explain, and the models that may be asked.

    Attributes:
        models: Of all folds.
        asked: For each image the folds whose models did not train on it.
        probs: (N, C).
        truth: For each image its class indices; empty if unknown.
        predicted_by: The digest of the models of the experiment's predictions; empty: they were not used.
    """

    models: FoldModels
    images: ImageSet
    asked: list[tuple[int, ...]]
    probs: np.ndarray
    truth: list[tuple[int, ...]]
    predicted_by: str = ""


def explain(
    run: RunFolder,
    workspace: Workspace,
    *,
    images: Sequence[Path] = (),
    mistakes: int | None = None,
    class_name: str | None = None,
    method: str = DEFAULT_METHOD,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Explanation:
    """Explain predictions of an experiment; without a choice, its most confident mistakes.

    Args:
        images: Image files, or folders of them.
        mistakes: How many of the training images whose prediction is wrong, the most confident ones first.
        class_name: Training images of this class.
        method: An entry of the registry of methods.
        out: The folder to write; None: ``explain`` of the experiment.

    Raises:
        KitError: The run is a blend, the class or the method is unknown, no image is left, or the folder
            holds something else.
    """
    from kit.engine.explain.methods import explainers

    _refuse_blend(run)
    folder = out or run.explanation.parent
    _refuse_other_folder(folder)
    explainer = explainers.get(method, "--method")
    config = config_of(run)
    progress.stage("explain", f"{run.label} by {method}")
    if images:
        chosen = _new_images(config, run, list(images), progress)
    else:
        chosen = _training_images(config, run, workspace, mistakes, class_name, progress)
    explained = _explained(chosen, explainer, progress)
    return write_pictures(Explanation(run, method, explained, folder, chosen.predicted_by))


def _refuse_blend(run: RunFolder) -> None:
    if not run.config.exists():
        raise KitError(
            run.label,
            "is a blend",
            "A map belongs to a network",
            "Explain one of its members.",
            code="is_blend",
        )


def _refuse_other_folder(folder: Path) -> None:
    """Refuse a folder that is not an earlier explanation, since the new one replaces it."""
    if folder.exists() and not (folder / EXPLANATION).exists() and any(folder.iterdir()):
        raise KitError(
            folder,
            f"has no {EXPLANATION}",
            "An explanation replaces an earlier one, nothing else",
            "Choose an empty folder.",
            code="folder_not_empty",
        )


# --- which images


def _training_images(
    config: Config,
    run: RunFolder,
    workspace: Workspace,
    mistakes: int | None,
    class_name: str | None,
    progress: Progress,
) -> Chosen:
    labeled = load_labeled_oof(run, workspace)
    one_hot = np.asarray(labeled.task.one_hot(labeled.targets, len(labeled.oof.classes)))
    if class_name is not None:
        rows = _of_class(labeled, one_hot, class_name)
    else:
        rows = _most_confident_mistakes(labeled, one_hot, MISTAKES if mistakes is None else mistakes)
    ids = [labeled.oof.ids[row] for row in rows]
    data = prepare(config, workspace, progress)
    models = open_models(config, run, workspace, data, progress)
    from kit.engine.data.datasets import ImageSet

    samples = data.samples.set_index("id", drop=False).loc[ids].reset_index(drop=True)
    asked = [tuple(k for k, mask in enumerate(labeled.validated) if mask[row]) for row in rows]
    truth = [tuple(np.flatnonzero(one_hot[row] > 0).tolist()) for row in rows]
    probs, predicted_by = labeled.oof.probs[rows], labeled.oof.origin.models
    return Chosen(models, ImageSet.of(samples), asked, probs, truth, predicted_by)


def _of_class(labeled: LabeledPredictions, one_hot: np.ndarray, name: str) -> np.ndarray:
    """Return rows of a class, those with the highest probability first."""
    classes = labeled.oof.classes
    if name not in classes:
        raise unknown_name("--class", "class", name, classes)
    index = classes.index(name)
    rows = np.flatnonzero(one_hot[:, index] > 0)
    return rows[np.argsort(-labeled.oof.probs[rows, index], kind="stable")][:MOST_OF_CLASS]


def _most_confident_mistakes(labeled: LabeledPredictions, one_hot: np.ndarray, count: int) -> np.ndarray:
    """Return rows whose decision is wrong, those decided with the highest probability first."""
    task, probs = labeled.task, labeled.oof.probs
    if task.numeric:
        wrong, confidence = np.ones(len(probs), dtype=bool), np.abs(probs - one_hot)
    else:
        decided = np.asarray(task.one_hot(task.decide(probs), probs.shape[1])) > 0
        differs = decided != (one_hot > 0)
        counted_twice = (
            ~decided if task.exclusive else np.zeros_like(decided)
        )  # the true class that was missed
        wrong = differs.any(axis=1)
        confidence = np.where(differs & ~counted_twice, np.where(decided, probs, 1 - probs), 0.0)
    rows = np.flatnonzero(wrong)
    if not len(rows):
        raise KitError(
            labeled.oof.origin.experiment,
            "has no mistake on its out-of-fold rows",
            "--mistakes explains wrong predictions",
            "Choose images with --images or --class.",
            code="explain_no_mistake",
        )
    return rows[np.argsort(-confidence[rows].max(axis=1), kind="stable")][:count]


def _new_images(config: Config, run: RunFolder, paths: Sequence[Path], progress: Progress) -> Chosen:
    """Return images that need not belong to the competition, with the mean prediction of all models."""
    from kit.engine.data.datasets import ImageSet

    files = _files_of(paths)
    samples = images_table({str(file): str(file) for file in files})
    new = NewImages(Path("/"), samples, run.explanation.parent / ".partial", progress=progress)
    models, _ = open_new_models(config, run, new)
    images = ImageSet.of(samples)
    try:
        mean = models.predict_mean(images, new.digest)
    finally:
        new.remove_partial()
    for row, problem in mean.problems.items():
        raise KitError(files[row], f"cannot be read: {problem}", code="image_unreadable")
    folds = tuple(range(models.num_models))
    return Chosen(models, images, [folds] * len(files), models.task.normalized(mean.probs), [()] * len(files))


def _files_of(paths: Sequence[Path]) -> list[Path]:
    """Return image files: those given, and those in given folders."""
    files: list[Path] = []
    for path in paths:
        found = [path / name for name in list_images(path)] if path.is_dir() else [path]
        if not found or not all(file.is_file() for file in found):
            problem = "has no image" if path.is_dir() else "there is no such file"
            raise KitError(path, problem, "--images takes image files and folders", code="no_images")
        files += [file.absolute() for file in found]
    if len(files) > MOST_IMAGES:
        raise KitError(
            "--images",
            f"names {counted(len(files), 'image')}",
            f"A sheet holds at most {MOST_IMAGES}",
            "Name some of them.",
            code="explain_too_many",
        )
    check_extras(Path("/"), [str(file) for file in files])
    return files


# --- their maps


def _explained(chosen: Chosen, explainer: Any, progress: Progress) -> list[Explained]:
    task, classes = chosen.models.task, chosen.models.classes
    shown = [_classes_of(task, row, truth) for row, truth in zip(chosen.probs, chosen.truth, strict=True)]
    maps: list[list[np.ndarray]] = [[] for _ in shown]  # per image one (K, H, W) of each model
    inputs: dict[int, np.ndarray] = {}
    for k in progress.track(range(chosen.models.num_models), chosen.models.num_models, "models"):
        rows = [row for row, asked in enumerate(chosen.asked) if k in asked]
        if not rows:
            continue
        model = load_fold_model(chosen.models.run, k, classes).to(chosen.models.amp.device).eval()
        tensors = _model_inputs(chosen, model, rows)
        for row, tensor in zip(rows, tensors, strict=True):
            inputs.setdefault(row, tensor.numpy())
            asked = _with_metadata(chosen, model, k, row)
            maps[row].append(_maps_of(asked, explainer, tensor, shown[row], chosen.models.amp.device))
    return [
        Explained(
            id=chosen.images.ids[row],
            truth=tuple(classes[index] for index in chosen.truth[row]),
            classes=tuple(classes[index] for index in shown[row]),
            probs=tuple(float(chosen.probs[row, index]) for index in shown[row]),
            models=chosen.asked[row],
            pixels=three_channel_view(inputs[row].transpose(1, 2, 0).clip(0, 255).astype(np.uint8)),
            maps=np.mean(maps[row], axis=0),
        )
        for row in range(len(shown))
    ]


def _classes_of(task: Task, probs: np.ndarray, truth: Sequence[int]) -> list[int]:
    """Return the classes to explain: those decided, or the most probable one; then the true ones."""
    decided = np.flatnonzero(task.one_hot(task.decide(probs[None]), len(probs))[0]).tolist()
    decided = [0] if task.numeric else decided or [int(probs.argmax())]
    decided.sort(key=lambda index: -probs[index])
    return list(dict.fromkeys([*decided, *truth]))[:MOST_CLASSES]


def _model_inputs(chosen: Chosen, model: nn.Module, rows: Sequence[int]) -> Tensor:
    """Return images as the model sees them in prediction, (N, C, H, W) of 0..255, float32."""
    from kit.engine.data.datasets import ImageDataset, SampleKey, collate

    transform = sized_prediction_transform(model.preprocessing)  # type: ignore[arg-type]
    dataset = ImageDataset(chosen.images, chosen.models.store, {0: transform}, seed=0)
    batch = collate([dataset[SampleKey(0, row)] for row in rows])
    for position, problem in batch.problems.items():
        raise KitError(chosen.images.pictures[position].path, problem, code="image_unreadable")
    return batch.images.float()


def _with_metadata(chosen: Chosen, model: nn.Module, k: int, row: int) -> nn.Module:
    """Return the model of fold ``k`` with the metadata of an image, if it reads any."""
    import torch

    from kit.engine.models.tabular import WithRows

    for rows in chosen.models.rows([k], chosen.images):
        return WithRows(model, rows[torch.tensor([row])].to(chosen.models.amp.device)).eval()
    return model


def _maps_of(
    model: nn.Module, explainer: Any, image: Tensor, classes: Sequence[int], device: Any
) -> np.ndarray:
    """Return the maps of one image for some classes, (K, H, W)."""
    import torch

    images = image.to(device).expand(len(classes), -1, -1, -1).contiguous()
    maps: np.ndarray = explainer(model, images, torch.tensor(classes, device=device)).cpu().numpy()
    return maps
