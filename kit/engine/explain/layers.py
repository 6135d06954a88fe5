"""Find, in any architecture, the last layer whose output still has positions that decide a class.

Convolutional networks end in a map, transformers in tokens, some of which may not reach the head any more:
behind the last attention, a head that reads the class token ignores all others. So the layer is not looked
up by name. It is the last one whose output has a gradient at most of its positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from kit.errors import KitError

MOST_PREFIX_TOKENS = 8  # class, distillation and register tokens, before those of positions
FEWEST_POSITIONS = 4  # 2 x 2
REACHED = 0.5  # share of the positions with a gradient
WITHOUT_POSITIONS = (nn.Linear, nn.Identity, nn.Dropout)  # parts of attention and of heads, not maps


@dataclass(frozen=True)
class Layer:
    """A layer with positions: the name of its module, as ``named_modules`` returns it."""

    name: str


def positions_of(output: Any, images: Tensor) -> Tensor | None:
    """Return a layer's output as a map (B, C, h, w); None if it has no square of positions.

    Args:
        output: (B, C, h, w), (B, h, w, C), or (B, tokens, C) with class tokens first.
        images: The model's input, (B, C, H, W).
    """
    if not isinstance(output, Tensor) or output.shape[0] != images.shape[0]:
        return None
    if output.ndim == 4:
        _, a, b, c = output.shape
        mapped = output if b == c else output.permute(0, 3, 1, 2) if a == b else None
    elif output.ndim == 3:
        side = isqrt(output.shape[1])
        prefix = output.shape[1] - side * side
        if prefix > MOST_PREFIX_TOKENS:
            return None
        mapped = output[:, prefix:].transpose(1, 2).reshape(output.shape[0], output.shape[2], side, side)
    else:
        return None
    if mapped is None or mapped.shape[2] * mapped.shape[3] < FEWEST_POSITIONS:
        return None
    return mapped if mapped.shape[2] <= images.shape[2] // 2 else None  # larger: attention, or early layers


@contextmanager
def recorded(modules: dict[str, nn.Module]) -> Iterator[list[tuple[str, Any]]]:
    """Yield the outputs of modules in the order in which they are computed: (name, output)."""
    outputs: list[tuple[str, Any]] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.append((name, out)))
        for name, module in modules.items()
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def find_layer(model: nn.Module, image: Tensor, class_index: int) -> Layer:
    """Return the last layer whose output has positions that decide the class.

    Args:
        image: One image of the model's input, (1, C, H, W).

    Raises:
        KitError: No layer has.
    """
    modules = {
        name: module
        for name, module in model.named_modules()
        if name and not isinstance(module, WITHOUT_POSITIONS)
    }
    with torch.enable_grad(), recorded(modules) as outputs:
        logits = model(image.detach().requires_grad_())
        found = [(name, out) for name, out in outputs if positions_of(out, image) is not None]
        outs = [out for _, out in found]
        gradients = torch.autograd.grad(logits[0, class_index], outs, allow_unused=True) if outs else ()
    for (name, _), gradient in zip(reversed(found), reversed(gradients), strict=True):
        if gradient is not None and _reached(positions_of(gradient, image)) > REACHED:
            return Layer(name)
    raise KitError(
        type(getattr(model, "backbone", model)).__name__,
        "has no layer whose positions decide the class",
        "Grad-CAM needs a map, or tokens of positions",
        "Use --method occlusion, which looks at the input alone.",
        code="explain_no_layer",
    )


def _reached(gradient: Tensor | None) -> float:
    """Return the share of positions with a gradient."""
    return 0.0 if gradient is None else float((gradient != 0).any(dim=1).float().mean())
