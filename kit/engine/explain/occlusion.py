"""Occlusion: how much the class loses when a part of the image is covered."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.engine.explain.registry import explainers, scaled

PARTS = 8  # steps along each side
COVER = 2  # steps that a cover is wide: neighbors overlap


@explainers.register("occlusion")
def occlusion(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """From what covering each part of the image takes from the class; without gradients, for any network.

    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks". A cover has the mean color
    of its image. What a position loses is the mean over the covers that contain it.
    """
    height, width = images.shape[2:]
    mean = images.mean(dim=(2, 3), keepdim=True)
    lost = torch.zeros(len(images), PARTS, PARTS, device=images.device)
    covers = torch.zeros(PARTS, PARTS, device=images.device)
    with torch.inference_mode():
        whole = _logits(model, images, classes)
        for row in range(1 - COVER, PARTS):
            for column in range(1 - COVER, PARTS):
                rows = slice(max(0, row), min(PARTS, row + COVER))
                columns = slice(max(0, column), min(PARTS, column + COVER))
                covered = images.clone()
                y, x = _pixels(rows, height), _pixels(columns, width)
                covered[:, :, y, x] = mean
                loss = whole - _logits(model, covered, classes)
                lost[:, rows, columns] += loss[:, None, None]
                covers[rows, columns] += 1
    maps = functional.interpolate((lost / covers)[:, None], (height, width), mode="bilinear")
    return scaled(maps[:, 0])


def _pixels(parts: slice, side: int) -> slice:
    return slice(parts.start * side // PARTS, parts.stop * side // PARTS)


def _logits(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return the logit of each image's class, (B,)."""
    logits: Tensor = model(images)
    return logits.float().gather(1, classes[:, None])[:, 0]
