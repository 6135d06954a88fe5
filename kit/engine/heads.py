"""The last layer of a network and the first: found, replaced, and begun quietly."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def find_head(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Return the last layer that gives one value per class, and its name."""
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return layers[-1]


def head_layers(backbone: nn.Module) -> list[nn.Module]:
    """Return the layers that give one value per class: one, or two where a network distils."""
    own: Callable[[], Any] = getattr(backbone, "get_classifier", lambda: find_head(backbone)[1])
    classifier = own()
    return list(classifier) if isinstance(classifier, tuple | list) else [classifier]


def head_parameters(backbone: nn.Module) -> set[nn.Parameter]:
    """Return the parameters of the layers that give one value per class."""
    return {parameter for layer in head_layers(backbone) for parameter in layer.parameters()}


def quiet_head(backbone: nn.Module) -> None:
    """Start the new head of a pretrained network at zero (Kolesnikov et al. 2020, "Big Transfer").

    Libraries draw it at scales of their own; with few images per class a large draw is never unlearned, and
    its gradients spoil the pretrained features meanwhile. A convolution as head is drawn small instead of
    zeroed: SqueezeNet puts a ReLU behind it, which passes no gradient at zero.
    """
    for layer in head_layers(backbone):
        for parameter in layer.parameters():
            if isinstance(layer, nn.Conv2d) and parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)


def replace_head(model: nn.Module, num_classes: int) -> None:
    """Give a network a head of ``num_classes`` in place of its own."""
    name, old = find_head(model)
    parent, _, last = name.rpartition(".")
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes)
    else:
        new = nn.Conv2d(old.in_channels, num_classes, kernel_size=1)
    setattr(model.get_submodule(parent), last, new)


def grey_stem(model: nn.Module) -> None:
    """Let the first convolution take one channel, its weights summed as if grey came three times."""
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, last = name.rpartition(".")
    geometry = {"stride": old.stride, "padding": old.padding, "bias": old.bias is not None}
    new = nn.Conv2d(1, old.out_channels, old.kernel_size, **geometry)  # type: ignore[arg-type]
    with torch.no_grad():
        new.weight.copy_(old.weight.sum(dim=1, keepdim=True))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    setattr(model.get_submodule(parent), last, new)
