"""Grad-CAM: the channels of the last map, weighted by how much the class depends on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.engine.explain.layers import find_layer, positions_of, recorded
from kit.engine.explain.registry import explainers, scaled


@explainers.register("grad_cam")
def grad_cam(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """From the gradient of the class at the last layer with positions; fast, and coarse.

    Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization".
    """
    layer = find_layer(model, images[:1], int(classes[0]))
    module = model.get_submodule(layer.name)
    with torch.enable_grad(), recorded({layer.name: module}) as outputs:
        logits = model(images.detach().requires_grad_())
        _, output = outputs[-1]
        chosen = logits.gather(1, classes[:, None]).sum()  # images do not depend on each other
        (gradient,) = torch.autograd.grad(chosen, [output])
    values, slopes = positions_of(output.detach(), images), positions_of(gradient, images)
    assert values is not None, "the layer was found by its positions"
    assert slopes is not None, "a gradient has the shape of its values"
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    maps = functional.interpolate(
        (weights * values).sum(dim=1, keepdim=True), images.shape[2:], mode="bilinear", align_corners=False
    )
    return scaled(maps[:, 0].float())
