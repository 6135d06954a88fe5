"""Return augmented training images of the first epochs, for ``kit augment``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.competition.images.pixels import three_channel_view
from kit.config import Config
from kit.errors import KitError
from kit.runtime.progress import SILENT, Progress
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData, image_store, prepare
from kit.training.fold import FoldRunner, fold_seed, sized_prediction_transform

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from kit.engine.data.datasets import ImageSet, Item


@dataclass(frozen=True)
class Examples:
    """Some training images of fold 0.

    Attributes:
        captions: Id and label of each image.
        columns: Title of each column, such as ``as predicted`` or ``epoch 3``.
        tiles: One list per image, one (H, W, 3) uint8 array per column.
    """

    captions: list[str]
    columns: list[str]
    tiles: list[list[np.ndarray]]


def training_examples(
    config: Config, workspace: Workspace, images: int, epochs: int, progress: Progress = SILENT
) -> Examples:
    """Return some training images, transformed as in prediction and as in the first ``epochs`` epochs.

    The images are spread over the training set and augmented as in training, including MixUp and CutMix.
    Nothing is trained, and no folds CSV is written.

    Raises:
        KitError: The config or the data is wrong, or an image cannot be read.
    """
    from kit.engine.data.datasets import ImageDataset
    from kit.engine.fit.validate_config import check_recipe
    from kit.engine.models.build import preprocessing_of

    check_recipe(config, workspace)
    data = prepare(config, workspace, progress, write_folds=False)
    store = image_store(config, workspace, data, progress)
    run = workspace.run(config.competition.name, config.name)
    runner = FoldRunner(config, workspace, data, run, store, progress)
    own, _ = preprocessing_of(config.model, config.image)
    fold_images = runner.fold_images(0, own)
    chosen = (
        np.linspace(0, len(fold_images.train) - 1, min(images, len(fold_images.train))).astype(int).tolist()
    )
    plain = ImageDataset(fold_images.train, store, {0: sized_prediction_transform(own)}, config.seed)
    columns = {"as predicted": _batch(plain, fold_images.train, chosen, 0)}
    for epoch in range(1, epochs + 1):
        augmented = _batch(fold_images.train_dataset, fold_images.train, chosen, epoch)
        columns[f"epoch {epoch}"] = _mixed(augmented, epoch, config)
    tiles = [[_tile(image) for image in column.numpy()] for column in columns.values()]
    return Examples(
        captions=_captions(fold_images.train, chosen, data),
        columns=list(columns),
        tiles=[list(row) for row in zip(*tiles, strict=True)],
    )


def _batch(dataset: Dataset[Item], images: ImageSet, chosen: list[int], epoch: int) -> Tensor:
    """Return some images (B, C, H, W) of 0..255, transformed as in an epoch."""
    from kit.engine.data.datasets import SampleKey, collate

    batch = collate([dataset[SampleKey(epoch, position)] for position in chosen])
    for position, problem in batch.problems.items():
        raise KitError(images.pictures[position].path, problem, code="image_unreadable")
    return batch.images.float()


def _mixed(images: Tensor, epoch: int, config: Config) -> Tensor:
    """Return the images mixed (MixUp, CutMix) as in a training batch of that epoch."""
    import torch

    from kit.engine.augment.mixup import build_mixing
    from kit.engine.fit.train_step import seed_step

    mixing = build_mixing(config.augment, len(images), config.train.epochs)
    if mixing is None:
        return images
    seed_step(fold_seed(config, 0), epoch, 0, images.device)
    return mixing(images, torch.eye(len(images)), epoch)[0]


def _captions(images: ImageSet, chosen: list[int], data: TrainingData) -> list[str]:
    """Return id and labels of each image."""
    from kit.engine.fit.components import targets_of

    competition = data.competition
    truth = competition.task.one_hot(targets_of(images), len(competition.classes))[chosen]
    if competition.task.numeric:
        labels = [f"{row[0]:g}" for row in truth]
    else:
        named = ([c for c, has in zip(competition.classes, row, strict=True) if has] for row in truth)
        labels = [", ".join(names) for names in named]
    return [f"{images.ids[position]}  {label}" for position, label in zip(chosen, labels, strict=True)]


def _tile(image: np.ndarray) -> np.ndarray:
    """Return an image (C, H, W) of 0..255 as people are shown it, (H, W, 3) uint8."""
    return three_channel_view(image.transpose(1, 2, 0).clip(0, 255).astype(np.uint8))
