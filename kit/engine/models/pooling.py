"""Replace the global pooling of a network (average, maximum, both, GeM)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from kit.errors import KitError

MIN_VALUE = 1e-6  # GeM clamps its input before the root
Dims = tuple[int, ...]

PLAIN: dict[str, Callable[[Tensor, Dims], Tensor]] = {
    "avg": lambda x, dims: x.mean(dims, keepdim=True),
    "max": lambda x, dims: x.amax(dims, keepdim=True),
    "avgmax": lambda x, dims: (x.mean(dims, keepdim=True) + x.amax(dims, keepdim=True)) / 2,
}


class GlobalPool(nn.Module):
    """Average pooling, max pooling, or the mean of both, over the image.

    Args:
        kind: ``avg``, ``max`` or ``avgmax``.
        dims: The dimensions of height and width.
        flatten: Remove these dimensions instead of keeping them with size 1.
    """

    def __init__(self, kind: str, dims: Dims, flatten: bool) -> None:
        super().__init__()
        self.kind, self.dims, self.flatten = kind, dims, flatten

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C) or (B, C, 1, 1); also for channels-last layouts."""
        return self._flattened(PLAIN[self.kind](x, self.dims))

    def _flattened(self, pooled: Tensor) -> Tensor:
        return pooled.squeeze(self.dims) if self.flatten else pooled

    def extra_repr(self) -> str:
        """Return the text for ``print``."""
        return f"{self.kind}, dims={self.dims}, flatten={self.flatten}"


class GeM(GlobalPool):
    """Generalized mean pooling (Radenović et al. 2018) with learned p: 1 is the mean, infinity the maximum.

    Computed in float32: the third power of a large activation overflows float16.
    """

    def __init__(self, dims: Dims, flatten: bool) -> None:
        super().__init__("gem", dims, flatten)
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C) or (B, C, 1, 1); also for channels-last layouts."""
        with torch.autocast(x.device.type, enabled=False):
            p = self.p.float()
            mean = x.float().clamp(min=MIN_VALUE).pow(p).mean(self.dims, keepdim=True)
            pooled = mean.pow(1 / p)
        return self._flattened(pooled).to(x.dtype)


def replace_pool(backbone: nn.Module, kind: str, name: str) -> None:
    """Replace the global pooling of a network.

    Raises:
        KitError: It does not have exactly one global pooling module.
    """
    found = _global_pools(backbone)
    if len(found) != 1:
        raise KitError(
            "model.pool",
            f"{name} has {len(found) or 'no'} replaceable global pooling modules",
            "model.pool needs exactly one",
            "Remove model.pool.",
            code="pool_not_replaceable",
        )
    ((where, (dims, flatten)),) = found.items()
    new = GeM(dims, flatten) if kind == "gem" else GlobalPool(kind, dims, flatten)
    backbone.set_submodule(where, new)


def _global_pools(backbone: nn.Module) -> dict[str, tuple[Dims, bool]]:
    """Return name -> (pooled dimensions, whether it flattens) of every global pooling."""
    gates = tuple(n for n, m in backbone.named_modules() if isinstance(m, SqueezeExcitation))
    found = {}
    for name, module in backbone.named_modules():
        if isinstance(module, SelectAdaptivePool2d):
            if not module.is_identity() and module.feat_mult() == 1:
                found[name] = _timm_dims(module)
        elif _is_global(module) and not name.startswith(tuple(f"{gate}." for gate in gates)):
            found[name] = ((2, 3), False)
    own = {n for n, m in backbone.named_modules() if isinstance(m, SelectAdaptivePool2d)}
    return {n: form for n, form in found.items() if n in own} if own else found


def _is_global(module: nn.Module) -> bool:
    return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def _timm_dims(module: SelectAdaptivePool2d) -> tuple[Dims, bool]:
    """Return the pooled dimensions and whether it flattens; timm's fast poolings store both themselves."""
    dims = tuple(getattr(module.pool, "dim", getattr(module.pool, "dim_reduce", (2, 3))))
    inner = getattr(module.pool, "flatten", False)
    return dims, bool(inner) or isinstance(module.flatten, nn.Flatten)
