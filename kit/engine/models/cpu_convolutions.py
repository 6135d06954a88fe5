"""Replace convolutions that are slow or crash on a CPU by equivalent ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEW_CHANNELS = 16


def replace_cpu_convolutions(network: nn.Module) -> None:
    """Change the convolutions of a network in place; names and weights stay the same."""
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if _has_faulty_gradient(module):
            subsample_before(module)
        if 1 < module.groups == module.in_channels:
            module.__class__ = _fp32_subclass(type(module))


# --- faulty


def _has_faulty_gradient(layer: nn.Conv2d) -> bool:
    """Return whether the fp32 channels-last gradient of a convolution crashes the process on some CPUs.

    Observed with torch 2.15: the weight gradient of strided 1 x 1 convolutions of 3 to 8 channels, as in the
    stems of FastViT, MobileOne and RepVGG, writes out of bounds.
    """
    pointwise = layer.kernel_size == (1, 1) and layer.padding in ((0, 0), 0, "valid")
    return pointwise and max(layer.stride) > 1 and layer.in_channels < FEW_CHANNELS


def subsample_before(layer: nn.Conv2d) -> None:
    """Subsample the input of a strided 1 x 1 convolution and remove its stride, which is equivalent."""
    down, right = layer.stride
    layer.stride = (1, 1)
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, :, ::down, ::right],))


# --- slow


class TrainedInFp32(nn.Conv2d):
    """A depthwise convolution that uses fp32 in mixed-precision training on a CPU.

    Its bf16 gradient is slow: with fp32, a training step of MobileNetV2 takes 0.82 and of EfficientNet-B0
    0.61 of the time. Without gradients bf16 is faster.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H', W'), in the autocast dtype if autocast is on."""
        if not (self.training and input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(torch.get_autocast_dtype("cpu"))


def _fp32_subclass(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """Return a subclass of ``kind``, which may be a library's own class, that trains in fp32."""
    return type(f"{TrainedInFp32.__name__}{kind.__name__}", (TrainedInFp32, kind), {})
